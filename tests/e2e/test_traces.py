"""What vehicles said, recorded at the broker and played again by others on the whole product."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import httpx
import pytest

from db.pool import Connection
from mosquitto import pki
from schemas.base import format_instant, parse_instant
from schemas.demo import DEMO_CURFEW_CARS, DEMO_FLEET_VINS, DEMO_TOKEN, NIGHT_ZONES
from schemas.topics import Uplink
from simulator import driving, messages
from stack.server import wait_until
from tests.processes import CHECKOUT
from tests.tcu import Tcu

pytestmark = pytest.mark.usefixtures("worker", "sequencer")

NOW = datetime.now(UTC)
STARTED = NOW - timedelta(hours=2)
SIMULATOR = [sys.executable, "-u", "-m", "simulator"]
BROKER_ONLY = {"TCU_MQTT_HOST", "TCU_MQTT_PORT", "TCU_MQTT_SERVICES_PORT", "TCU_MQTT_CA", "TCU_PKI_DIR", "PATH"}
"""What recording and replaying need of the environment."""


def at_night() -> tuple[str, str]:
    """Return two vehicles that have had the same night curfew for long, in a zone where it was night two hours ago."""
    local = [STARTED.astimezone(ZoneInfo(zone)) for zone in NIGHT_ZONES]
    place = next(place for place, at in enumerate(local) if at.hour >= 21 or at.hour < 6)
    return DEMO_CURFEW_CARS[0].offline[place], DEMO_CURFEW_CARS[1].offline[place]


def drive_and_press(vehicle: Tcu) -> None:
    """Tell of a drive two hours ago, late, twice and in no order; then press SOS, talk, and press RSA."""
    rng = Random(NOW.isoformat())
    moments = list(driving.trip(rng, driving.parked_somewhere(rng), duration_s=60))
    told = []
    for moment in moments:
        at = STARTED + timedelta(seconds=moment.elapsed_s)
        told.append((Uplink.STATUS, messages.status(rng, moment.state, at)))
        if moment.event is not None:
            told.append((Uplink.ENGINE, messages.engine(rng, moment.event, moment.state, at)))
    told += rng.sample(told, 5)
    rng.shuffle(told)
    for kind, message in told:
        vehicle.publish_soon(kind, messages.payload_of(message))
    vehicle.publish(Uplink.STATUS, b'{"no": "status"}')
    press = messages.sos_press(rng, NOW)
    vehicle.publish(Uplink.SOS, messages.payload_of(press))
    cid = vehicle.receipt_of(press.message_id)["cid"]
    vehicle.receipt_of(vehicle.send(Uplink.CALL, status="CONNECTED", cid=cid))
    vehicle.receipt_of(vehicle.send(Uplink.RSA, serviceType="TOWING", timestamp=format_instant(NOW)))


def trips(environment: dict[str, str], vin: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
    answer = httpx.get(
        f"{environment['TCU_API_URL']}/api/v1/vehicles/{vin}/trips",
        params={"from": format_instant(since), "to": format_instant(until)},
        headers={"Authorization": f"Bearer {DEMO_TOKEN}"},
    )
    rows: list[dict[str, Any]] = answer.raise_for_status().json()["rows"]
    return rows


def replayed(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Return what a replay has counted; it ended well and was told of nothing but the broker."""
    run = subprocess.run(
        [*SIMULATOR, "replay", *arguments, "--json"], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True,
        env={name: value for name, value in environment.items() if name in BROKER_ONLY},
    )  # fmt: skip
    counted: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return counted


def outcome(environment: dict[str, str], conn: Connection, vin: str) -> dict[str, Any]:
    """Return the trips, incidents and violations of a vehicle, without what names them."""

    def rows(statement: LiteralString) -> list[Any]:
        return conn.execute(statement, (vin,)).fetchall()

    conn.rollback()
    return {
        "trips": trips(environment, vin, STARTED - timedelta(minutes=1), NOW),
        "sos": rows("SELECT occurred_at, emergency_type, urgency, status, latitude, description, anomalies"
                    " FROM sos_incidents WHERE vin = %s"),
        "calls": rows("SELECT v.status FROM voice_calls v JOIN sos_incidents USING (cid) WHERE vin = %s"),
        "rsa": rows("SELECT occurred_at, service_type, status FROM rsa_incidents WHERE vin = %s"),
        "violations": rows("SELECT started_at, ended_at, severity, resolution, detected_late FROM curfew_violations"
                           " WHERE vin = %s AND retracted_at IS NULL"),
        "status": rows("SELECT occurred_at, speed_kph, odometer_km FROM vehicle_status WHERE vin = %s ORDER BY 1"),
        "engine": rows("SELECT occurred_at, event FROM engine_events WHERE vin = %s ORDER BY 1"),
        "quarantine": rows("SELECT kind, reason FROM quarantine WHERE vin = %s"),
    }  # fmt: skip


def test_a_trace_recorded_and_replayed_gives_the_same_trips_incidents_and_violations(
    environment: dict[str, str], pki_dir: Path, tcu: Callable[[str], Tcu], conn: Connection, tmp_path: Path
) -> None:
    vin, other = at_night()
    trace = tmp_path / "trace.jsonl"
    with subprocess.Popen(
        [*SIMULATOR, "record", str(trace), "--vin", vin, "--json"],
        cwd=CHECKOUT, env={name: value for name, value in environment.items() if name in BROKER_ONLY},
        stdout=subprocess.PIPE, text=True,
    ) as recording:  # fmt: skip
        assert recording.stdout is not None
        assert "records what 1 vehicles say" in json.loads(recording.stdout.readline())["text"]
        drive_and_press(tcu(vin))
        wait_until(lambda: '"rsa"' in trace.read_text(), wait_s=30)
        recording.send_signal(signal.SIGINT)
        told = json.loads(recording.stdout.read().splitlines()[-1])
    assert recording.returncode == 0
    assert (told["kind"], told["vehicles"], told["onUnknownTopics"]) == ("record", 1, 0)
    assert told["messages"]["call"] == 1
    assert 2 <= told["messages"]["engine"] <= 4

    def settled() -> bool:
        found = outcome(environment, conn, vin)
        return len(found["status"]) >= 60 and all(
            found[name] for name in ("trips", "violations", "calls", "quarantine")
        )

    wait_until(settled, wait_s=30)
    first = outcome(environment, conn, vin)
    assert len(first["trips"]) == len(first["violations"]) == len(first["sos"]) == len(first["rsa"]) == 1
    assert first["violations"][0][:2] == tuple(
        parse_instant(first["trips"][0][name]) for name in ("startedAt", "endedAt")
    )

    pki.issue_vehicle(pki_dir, other)
    report = replayed(environment, str(trace), "--as", f"{vin}={other}", "--speed", "100")
    assert (report["unreceipted"], report["statusUnconfirmed"]) == ([], 0)
    wait_until(lambda: outcome(environment, conn, other) == first, wait_s=30)
    assert outcome(environment, conn, other) == first


def test_an_old_track_replayed_with_shifted_times_is_a_trip_of_its_length_that_has_just_ended(
    environment: dict[str, str], pki_dir: Path, tmp_path: Path
) -> None:
    vin, began = DEMO_FLEET_VINS[0], datetime(2020, 5, 3, 14, tzinfo=UTC)
    points = "".join(
        f'<trkpt lat="{37.5 + second / 10_000:.4f}" lon="127.0">'
        f"<time>{format_instant(began + timedelta(seconds=second))}</time></trkpt>"
        for second in range(61)
    )
    (tmp_path / "sunday.gpx").write_text(
        '<gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1">'
        f"<trk><trkseg>{points}</trkseg></trk></gpx>"
    )
    pki.issue_vehicle(pki_dir, vin)
    since = datetime.now(UTC)
    track = str(tmp_path / "sunday.gpx")
    report = replayed(environment, track, "--as", vin, "--times", "shifted", "--speed", "60", "--seed", "1")
    until = datetime.now(UTC)
    assert report["sent"] == {"engine": 2, "status": 61}
    assert report["receipts"] == {"STORED": 2}
    assert (report["unreceipted"], report["statusUnconfirmed"]) == ([], 0)

    def found() -> list[dict[str, Any]]:
        return trips(environment, vin, since - timedelta(minutes=2), until)

    wait_until(lambda: [trip["distanceKm"] for trip in found()] == pytest.approx([0.667], rel=0.01), wait_s=30)
    [trip] = found()
    assert (trip["endedBy"], trip["clockSuspect"]) == ("ENGINE_OFF", False)
    assert trip["durationSeconds"] == pytest.approx(60, abs=0.01)
    assert since < parse_instant(trip["endedAt"]) < until
    assert trip["endLatitude"] == pytest.approx(37.506)
