"""The simulator's command line on the whole product: broker, worker, database, sequencer and API, all real."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any, LiteralString

import httpx
import pytest

from db import webhooks
from db.pool import Connection, connect
from schemas.demo import DEMO_CURFEW_CARS, DEMO_TOKEN, DEMO_VINS
from stack.server import Server
from tests.processes import CHECKOUT

ENDS_WITHIN_S = 110
"""All stories: a start block is void only after 60 s."""

PARTS = {
    "exception",
    "clock change",
    "offline",
    "wrong clock",
    "block taken",
    "block refused",
    "block expired",
}
CARS = DEMO_CURFEW_CARS[0]

DEFECTS: LiteralString = """
CREATE FUNCTION never_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.detected_late := false; RETURN NEW; END $$;
CREATE TRIGGER never_late BEFORE INSERT OR UPDATE ON curfew_violations FOR EACH ROW EXECUTE FUNCTION never_late();

CREATE FUNCTION no_clock_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.timezone := replace(NEW.timezone, 'America/New_York', 'America/Phoenix'); RETURN NEW; END $$;
CREATE TRIGGER no_clock_change BEFORE INSERT ON curfew_policies FOR EACH ROW EXECUTE FUNCTION no_clock_change();

CREATE FUNCTION answers_lost() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.outcome := replace(NEW.outcome, 'EXECUTED', 'FAILED'); RETURN NEW; END $$;
CREATE TRIGGER answers_lost BEFORE UPDATE ON vehicle_commands FOR EACH ROW EXECUTE FUNCTION answers_lost();

CREATE FUNCTION blocks_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.type = 'ENGINE_START_BLOCK' THEN NEW.outcome := 'FAILED'; END IF; RETURN NEW; END $$;
CREATE TRIGGER blocks_over BEFORE INSERT ON vehicle_commands FOR EACH ROW EXECUTE FUNCTION blocks_over();
"""
"""Errors of the backend that each part of the curfew's story has to notice."""

pytestmark = pytest.mark.usefixtures("worker", "sequencer")


def consents(environment: dict[str, str]) -> list[bool]:
    """Tell whether the drivers of the demo's vehicles consent to the curfew."""
    url = f"{environment['TCU_API_URL']}/api/v1/childcare/vehicles"
    headers = {"Authorization": f"Bearer {DEMO_TOKEN}"}
    answers = [httpx.get(f"{url}/{vin}/consents", headers=headers).json() for vin in DEMO_VINS]
    return [answer["consents"][0]["granted"] for answer in answers]


def simulated(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "simulator", *arguments]
    return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)


def told_until(process: subprocess.Popen[str], what: str) -> list[dict[str, Any]]:
    """Return the lines up to the first that says this."""
    told: list[dict[str, Any]] = []
    assert process.stdout is not None
    for line in process.stdout:
        told.append(json.loads(line))
        if what in told[-1].get("what", ""):
            return told
    pytest.fail(f"nothing says {what!r}: {told}")


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit status and the lines that are left."""
    output, _ = process.communicate(timeout=ENDS_WITHIN_S)
    return process.returncode, [json.loads(line) for line in output.splitlines()]


@pytest.mark.timeout(180)
def test_every_story_reaches_its_end_and_shows_what_was_sent_stored_and_seen(
    environment: dict[str, str], conn: Connection
) -> None:
    for vin in (DEMO_VINS[0], *CARS.offline):
        secret = "whsec_" + "c2VjcmV0" * 4
        webhooks.put_guardian_endpoint(conn, vin, url="http://127.0.0.1:9/", secret=secret, at=datetime.now(UTC))
    conn.commit()
    assert consents(environment) == [True, True]  # the seeded drivers have agreed to the curfew
    status, told = ended(simulated(environment, "story", "all", "--json"))
    outcomes = {line["story"]: line["failure"] for line in told if line["kind"] == "outcome"}
    assert outcomes == {"trip": None, "sos": None, "rsa": None, "curfew": None}, outcomes
    assert status == 0

    def seen(story: str) -> list[str]:
        steps = [line for line in told if line["kind"] == "step" and line["story"] == story]
        assert {"sent", "stored"} <= {step["verb"] for step in steps}
        return [step["what"].split(" ")[0] for step in steps if step["verb"] == "seen by SSE"]

    assert seen("trip") == []
    assert [what for what in seen("curfew") if what.startswith("CURFEW_")] == [
        "CURFEW_VIOLATION",
        "CURFEW_VIOLATION_RESOLVED",
    ]
    assert seen("sos") == ["SOS_INITIATED", "SOS_CONNECTED", "SOS_CLOSED"]
    assert seen("rsa") == [
        "RSA_REQUESTED",
        "RSA_DISPATCHED",
        "RSA_CONFIRMED",
        "RSA_EN_ROUTE",
        "RSA_ARRIVED",
        "RSA_COMPLETED",
        "RSA_CLOSED",
    ]

    parts = {line["part"] for line in told if line["kind"] == "step" and "reached its end" in line["what"]}
    assert parts == PARTS
    what_the_curfew_left(conn)


def what_the_curfew_left(conn: Connection) -> None:
    """The database holds what each part of the curfew's story is about."""

    def rows(statement: LiteralString, *vins: str) -> list[Any]:
        return conn.execute(statement, [list(vins)]).fetchall()

    violations: LiteralString = (
        "SELECT resolution, detected_late, ended_at - started_at < interval '3 min 1 s' FROM curfew_violations"
        " WHERE vin = ANY(%s) AND retracted_at IS NULL ORDER BY started_at"
    )
    assert rows(violations, DEMO_VINS[0]) == [("EXCEPTION", False, True)]
    assert rows(violations, *CARS.offline) == [("ENGINE_STOP", True, True)] * 2
    assert rows(violations, CARS.wrong_clock) == [("ENGINE_STOP", False, True)]
    assert rows(violations, CARS.block_taken) == []
    assert rows(violations, CARS.block_refused) == [("ENGINE_STOP", False, True)]
    assert rows(violations, CARS.block_expired) == [("ENGINE_STOP", False, True)]

    alerts: LiteralString = "SELECT topic FROM webhook_deliveries WHERE payload->>'vin' = ANY(%s) ORDER BY created_at"
    assert rows(alerts, *CARS.offline) == []
    assert rows(alerts, DEMO_VINS[0]) == [("curfew.violation.opened",), ("curfew.violation.ended",)]

    suspect: LiteralString = (
        "SELECT event, clock_suspect, occurred_at = received_at FROM engine_events WHERE vin = ANY(%s)"
        " ORDER BY received_at OFFSET 1"  # after the one that makes it stand
    )
    assert rows(suspect, CARS.wrong_clock) == [("START", True, True), ("STOP", True, True), ("STOP", True, True)]

    commands: LiteralString = (
        "SELECT type, outcome FROM vehicle_commands WHERE vin = ANY(%s) AND outcome <> 'EXPIRED' ORDER BY issued_at"
    )
    assert rows(commands, CARS.wrong_clock) == [("TIME_SYNC", "EXECUTED")] * 3
    block, release = "ENGINE_START_BLOCK", "ENGINE_START_RELEASE"
    assert rows(commands, CARS.block_taken) == [(block, "EXECUTED"), (release, "EXECUTED")]
    assert rows(commands, CARS.block_refused) == [(block, "REJECTED")]
    assert rows(commands, CARS.block_expired) == [(block, "WITHDRAWN"), (release, "EXECUTED")]


def test_where_the_backend_errs_each_part_of_the_curfew_s_story_fails_and_says_so(
    environment: dict[str, str], owners_url: str
) -> None:
    with connect(owners_url, name="tests") as owner:
        owner.execute(DEFECTS)
    status, told = ended(simulated(environment, "story", "curfew", "--json"))
    assert status == 1
    failed = {line["part"]: line["what"] for line in told if line["kind"] == "step" and line["verb"] == "FAILED"}
    assert set(failed) == PARTS
    assert all(f"{part}: {what}" in told[-1]["failure"] for part, what in failed.items())
    assert "detectedLate" in failed["offline"]
    assert "curfew/explain" in failed["clock change"]
    assert all("ENGINE_START_BLOCK" in failed[part] for part in PARTS if part.startswith("block"))


def test_an_interrupted_story_hangs_up_and_the_next_one_closes_what_it_left_open(environment: dict[str, str]) -> None:
    interrupted = simulated(environment, "story", "sos", "--json")
    told_until(interrupted, "call CONNECTED")
    interrupted.send_signal(signal.SIGINT)
    assert ended(interrupted)[0] == 130

    status, told = ended(simulated(environment, "story", "sos", "--json"))
    assert status == 0
    assert any("of an earlier run closed" in line.get("what", "") for line in told)


def test_an_interrupted_curfew_story_leaves_no_curfew_behind(environment: dict[str, str], conn: Connection) -> None:
    interrupted = simulated(environment, "story", "curfew", "--json")
    told_until(interrupted, "out of coverage until")
    interrupted.send_signal(signal.SIGINT)
    assert ended(interrupted)[0] == 130
    left = conn.execute("SELECT DISTINCT ON (vin) vin, enabled FROM curfew_policies ORDER BY vin, policy_id DESC")
    assert {vin for vin, enabled in left if enabled} == {vin for cars in DEMO_CURFEW_CARS for vin in cars.offline}


def test_a_worker_that_is_killed_delays_a_story_and_loses_nothing(environment: dict[str, str], worker: Server) -> None:
    playing = simulated(environment, "story", "sos", "--json")
    told_until(playing, "SOS_INITIATED")
    worker.kill()
    worker.start()
    status, told = ended(playing)
    assert (status, told[-1]["failure"]) == (0, None)
