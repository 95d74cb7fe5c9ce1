"""The whole product for tests of the command line: broker, worker, database, sequencer and API, all real."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mosquitto import pki
from schemas.demo import DEMO_CURFEW_CARS, DEMO_TOKEN, DEMO_VINS
from stack.broker import Broker
from stack.places import free_port
from tests.api import KEY_SECRET
from tests.processes import CHECKOUT, drop_session, product_process


@pytest.fixture
def environment(broker: Broker, pki_dir: Path, database_url: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What `.run/env` says of a seeded demo whose API is ready. Ask for `worker` and `sequencer` beside it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    values = {
        "TCU_ENVIRONMENT": "demo",
        "TCU_API_URL": url,
        "TCU_MQTT_HOST": broker.host,
        "TCU_MQTT_PORT": str(broker.port),
        "TCU_MQTT_SERVICES_PORT": str(broker.services_port),
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
        for vin in (*DEMO_VINS, *DEMO_CURFEW_CARS[0].vins):
            drop_session(broker, pki.issue_vehicle(pki_dir, vin), vin)  # with the commands that wait in it


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
