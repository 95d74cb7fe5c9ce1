"""Fleet, faults and scenarios on the whole product: it passes them all, and where it errs they fail and say where."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import pytest

from db.pool import Connection, connect
from mosquitto import pki
from schemas.demo import DEMO_VINS, fleet_vin
from simulator.faults import CORRECTED, Fault
from simulator.scenario import BUNDLED
from stack.broker import Broker
from stack.server import Server, ServerCommand
from tests.fleet_accounts import reported, stored_in_the_end
from tests.processes import CHECKOUT, is_ready, worker_environment

pytestmark = pytest.mark.usefixtures("worker", "sequencer")

FLEET = "fleet --vehicles 12 --rate 5 --seconds 3 --presses-per-minute 200 --traffic constant --seed 1"
FAULTS = "faults --vehicles 2 --seed 5"

WRONG_VIOLATIONS: LiteralString = """
CREATE FUNCTION wrongly_resolved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.resolution := replace(NEW.resolution, 'ENGINE_STOP', 'WINDOW_END'); RETURN NEW; END $$;
CREATE TRIGGER wrongly_resolved BEFORE UPDATE ON curfew_violations FOR EACH ROW EXECUTE FUNCTION wrongly_resolved();
"""

LOST_SAMPLES: LiteralString = """
CREATE FUNCTION lost_sample() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.engine_status = 'CRANKING' THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER lost_sample BEFORE INSERT ON vehicle_status FOR EACH ROW EXECUTE FUNCTION lost_sample();
"""
"""Of each drive the first."""

WITHOUT_RECEIPTS = """
import runpy
import ingest.lane
real = ingest.lane.receipt
ingest.lane.receipt = lambda outcome, **now: None if outcome.cid is None else real(outcome, **now)
runpy.run_module("ingest", run_name="__main__")
"""
"""A worker that forgets the receipts of all that is no emergency."""


def simulated(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "simulator", *arguments, "--json"]
    return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)


def lines(process: subprocess.Popen[str], *kinds: str) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        if told["kind"] in kinds:
            yield told


def ended(environment: dict[str, str], *arguments: str) -> tuple[int, dict[str, str | None]]:
    """Return the exit status, and the failure of each scenario."""
    with simulated(environment, "check", *arguments) as process:
        failures = {told["scenario"]: told["failure"] for told in lines(process, "scenario")}
    return process.returncode, failures


def the_documented_one(folder: Path) -> str:
    """Return a file with the scenario that the documentation shows."""
    text = (CHECKOUT / "docs" / "simulator.md").read_text(encoding="utf-8")
    (folder / "documented.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    return str(folder / "documented.yaml")


@pytest.mark.timeout(180)
def test_a_fleet_is_accounted_for_while_every_bundled_scenario_passes_and_then_every_fault_is_borne(
    environment: dict[str, str], pki_dir: Path, conn: Connection, tmp_path: Path
) -> None:
    vins = [fleet_vin(number) for number in range(1, 13)]
    for vin in vins:
        pki.issue_vehicle(pki_dir, vin)
    since = datetime.now(UTC)
    scenarios = ("check", "all", the_documented_one(tmp_path), "--seed", "1")
    with simulated(environment, *FLEET.split()) as fleet, simulated(environment, *scenarios) as check:
        report = list(lines(fleet, "fleet"))[-1]
        assert stored_in_the_end(conn, vins, since, reported(report)) == reported(report)
        conn.rollback()  # idle in a transaction it would be ended
        with simulated(environment, *FAULTS.split()) as faults:  # some take a minute
            failures = {told["scenario"]: told["failure"] for told in lines(check, "scenario")}
            faults_are_borne(faults)
    assert failures == dict.fromkeys([f"{name}.yaml" for name in BUNDLED] + ["documented.yaml"])
    assert len(BUNDLED) == 7
    assert (fleet.returncode, check.returncode, faults.returncode) == (0, 0, 0)
    assert report["statusDue"] == report["statusSent"] >= 12 * 5 * 3 * 0.9
    assert report["urgentSent"]["engine"] >= 12
    assert report["incidents"].keys() == {"SOS", "RSA"}
    assert report["receipts"] == {"STORED": sum(report["urgentSent"].values())}
    assert (report["unreceipted"], report["statusUnconfirmed"], report["incidentsLeftOpen"]) == (0, 0, 0)
    assert report["receiptMs"]["p50"] <= report["receiptMs"]["p99"]


def faults_are_borne(process: subprocess.Popen[str]) -> None:
    told = list(lines(process, "fault"))
    assert {one["fault"]: one["failure"] for one in told} == dict.fromkeys(Fault)
    assert [one["failure"] for one in told] == [None] * len(told)
    suffered = Counter(one["fault"] for one in told)
    assert all(suffered[fault] == 2 for fault in set(Fault) - CORRECTED)
    receipts = {one["fault"]: one["receipts"] for one in told}
    assert receipts["duplicates"] == {"STORED": 1, "DUPLICATE": 3}
    assert receipts["reordering"] == receipts["offline"] == {"STORED": 2}
    assert receipts["bounce"] == {"STORED": 5}


def test_where_the_backend_errs_a_scenario_fails_and_says_where(
    environment: dict[str, str],
    owners_url: str,
    sequencer: Server,
    worker: Server,
    forgetful_worker: Server,
) -> None:
    os.kill(sequencer.pid, signal.SIGSTOP)
    with simulated(environment, "check", "sos") as process:
        told = lines(process, "step", "scenario")
        first = next(told)
        time.sleep(4)  # longer than the event may take
        os.kill(sequencer.pid, signal.SIGCONT)
        failure = [first, *told][-1]["failure"]
    assert failure.startswith("sos.yaml:5 event SOS_INITIATED: SOS_INITIATED on the stream of sos came after ")
    assert failure.endswith("expected within 3 s")
    assert process.returncode == 1

    with connect(owners_url, name="tests") as owner:
        owner.execute(WRONG_VIOLATIONS)
        owner.execute(LOST_SAMPLES)
    status, failures = ended(environment, "curfew-night")
    assert status == 1
    assert failures["curfew-night.yaml"] is not None
    assert failures["curfew-night.yaml"].startswith("curfew-night.yaml:39 rest GET ")
    assert "violations.0.resolution is 'WINDOW_END', expected 'ENGINE_STOP'" in failures["curfew-night.yaml"]

    status, failures = ended(environment, "offline")
    assert status == 1
    assert failures["offline.yaml"] is not None
    assert "every message is stored: the telemetry has " in failures["offline.yaml"]

    worker.kill()
    forgetful_worker.start()
    status, failures = ended(environment, "curfew-night")
    assert status == 1
    assert failures["curfew-night.yaml"] is not None
    assert failures["curfew-night.yaml"].startswith("curfew-night.yaml:4 engine STOP: receipts of ")
    assert failures["curfew-night.yaml"].endswith("within 10 s: none; expected 1 STORED")


def test_an_interrupted_scenario_leaves_no_curfew_behind(environment: dict[str, str], conn: Connection) -> None:
    with simulated(environment, "check", "curfew-night") as check:
        told = lines(check, "step")
        assert any(step["what"].startswith("the guardian sets a curfew") for step in told)
        check.send_signal(signal.SIGINT)
        afterwards = [step["what"] for step in told if step["line"] > 58]
    assert check.returncode == 130
    assert afterwards == ["rest PUT /api/v1/childcare/vehicles/{vin}/curfew/policy"]
    statement = "SELECT enabled FROM curfew_policies WHERE vin = %s ORDER BY policy_id DESC LIMIT 1"
    assert conn.execute(statement, (DEMO_VINS[0],)).fetchone() == (False,)


@pytest.fixture
def forgetful_worker(broker: Broker, pki_dir: Path, database_url: str, tmp_path: Path) -> Iterator[Server]:
    """A worker that sends no receipts but an emergency's, not started."""
    settings = [f"{name}={value}" for name, value in worker_environment(broker, pki_dir, database_url).items()]
    faulty = Server(
        ServerCommand("ingest", ["env", *settings, sys.executable, "-c", WITHOUT_RECEIPTS], CHECKOUT, signal.SIGTERM),
        log=tmp_path / "forgetful.log",
        ready=lambda: is_ready(database_url, "ingest", faulty.pid),
    )
    yield faulty
    faulty.kill()
