"""The simulator's command line on the whole product: broker, worker, database, sequencer and API, all real."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.demo import DEMO_TOKEN, DEMO_VINS
from stack.broker import Broker
from stack.places import free_port
from stack.server import Server
from tests.api import KEY_SECRET
from tests.processes import CHECKOUT, product_process

ENDS_WITHIN_S = 90

pytestmark = pytest.mark.usefixtures("worker", "sequencer")


@pytest.fixture
def environment(broker: Broker, pki_dir: Path, database_url: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What `.run/env` says of a seeded demo whose API is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    values = {
        "TCU_API_URL": url,
        "TCU_MQTT_HOST": broker.host,
        "TCU_MQTT_PORT": str(broker.port),
        "TCU_MQTT_CA": str(broker.ca),
        "TCU_PKI_DIR": str(pki_dir),
        "TCU_DATABASE_URL": database_url,
        "TCU_KEY_SECRET": KEY_SECRET,
        "TCU_DEMO_TOKEN": DEMO_TOKEN,
        "PATH": os.environ["PATH"],
    }
    subprocess.run([sys.executable, "-m", "admin", "demo", "seed"], cwd=CHECKOUT, env=values, check=True)
    api = product_process(
        "api",
        {name: values[name] for name in ("TCU_DATABASE_URL", "TCU_KEY_SECRET")}
        | {"TCU_API_PORT": str(port), "TCU_ENVIRONMENT": "demo"},
        log=tmp_path / "api.log",
        ready=lambda: is_ready(url),
    )
    try:
        api.start()
        yield values
    finally:
        api.kill()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


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


def test_every_story_reaches_its_end_and_shows_what_was_sent_stored_and_seen(environment: dict[str, str]) -> None:
    assert consents(environment) == [True, True]  # the seeded drivers have agreed to the curfew
    status, told = ended(simulated(environment, "story", "all", "--json"))
    outcomes = {line["story"]: line["failure"] for line in told if line["kind"] == "outcome"}
    assert (status, outcomes) == (0, {"trip": None, "sos": None, "rsa": None, "curfew": None})

    def seen(story: str) -> list[str]:
        steps = [line for line in told if line["kind"] == "step" and line["story"] == story]
        assert {"sent", "stored"} <= {step["verb"] for step in steps}
        return [step["what"].split(" ")[0] for step in steps if step["verb"] == "seen by SSE"]

    assert seen("trip") == []
    assert seen("curfew") == ["CURFEW_VIOLATION", "CURFEW_VIOLATION_RESOLVED"]
    assert seen("sos") == ["SOS_INITIATED", "SOS_CONNECTED", "SOS_CLOSED"]
    assert seen("rsa") == ["RSA_REQUESTED", "RSA_DISPATCHED", "RSA_CONFIRMED", "RSA_COMPLETED", "RSA_CLOSED"]


def test_an_interrupted_story_hangs_up_and_the_next_one_closes_what_it_left_open(environment: dict[str, str]) -> None:
    interrupted = simulated(environment, "story", "sos", "--json")
    told_until(interrupted, "call CONNECTED")
    interrupted.send_signal(signal.SIGINT)
    assert ended(interrupted)[0] == 130

    status, told = ended(simulated(environment, "story", "sos", "--json"))
    assert status == 0
    assert any("of an earlier run closed" in line.get("what", "") for line in told)


def test_a_worker_that_is_killed_delays_a_story_and_loses_nothing(environment: dict[str, str], worker: Server) -> None:
    playing = simulated(environment, "story", "sos", "--json")
    told_until(playing, "SOS_INITIATED")
    worker.kill()
    worker.start()
    status, told = ended(playing)
    assert (status, told[-1]["failure"]) == (0, None)
