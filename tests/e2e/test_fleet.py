"""A fleet on the whole product: every message accounted for."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.pool import Connection
from mosquitto import pki
from schemas.demo import fleet_vin
from tests.fleet_accounts import reported, stored_in_the_end
from tests.processes import CHECKOUT

pytestmark = pytest.mark.usefixtures("worker", "sequencer")

FLEET = "--vehicles 12 --rate 5 --seconds 6 --presses-per-minute 80 --traffic constant --json"


def test_what_a_fleet_reports_is_in_the_database_to_the_message(
    environment: dict[str, str], pki_dir: Path, conn: Connection
) -> None:
    vins = [fleet_vin(number) for number in range(1, 13)]
    for vin in vins:
        pki.issue_vehicle(pki_dir, vin)
    since = datetime.now(UTC)
    run = subprocess.run(
        [sys.executable, "-m", "simulator", "fleet", *FLEET.split()],
        cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["kind"] == "fleet"
    assert report["statusDue"] == report["statusSent"] >= 12 * 5 * 6 * 0.9
    assert report["urgentSent"]["engine"] >= 12
    assert report["incidents"].keys() == {"SOS", "RSA"}
    urgent = sum(report["urgentSent"].values())
    assert report["receipts"] == {"STORED": urgent}
    assert (report["unreceipted"], report["incidentsLeftOpen"]) == (0, 0)
    assert report["receiptMs"]["p50"] <= report["receiptMs"]["p99"]
    assert stored_in_the_end(conn, vins, since, reported(report)) == reported(report)
