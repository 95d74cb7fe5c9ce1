"""A vehicle that fell silent is shown with its age and as offline, never as live."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from db import telemetry, vehicles
from db.pool import Connection
from db.telemetry import StatusRow
from rules import jobs
from rules.apply.presence import SILENT_AFTER
from schemas.topics import Uplink
from tests.api import OTHER_VIN, VIN, Api, serving, streaming
from tests.services.test_worker import eventually
from tests.tcu import Tcu

LONG = SILENT_AFTER + timedelta(minutes=1)


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def report(conn: Connection, vin: str, *, ago: timedelta, received_ago: timedelta | None = None) -> None:
    """Store a status of so long ago, received then unless told otherwise."""
    now = datetime.now(UTC)
    at, received_at = now - ago, now - (ago if received_ago is None else received_ago)
    row = StatusRow(
        vin, uuid4(), at, received_at, clock_suspect=False, latitude=None, longitude=None, accuracy_m=None,
        heading_deg=None, speed_kph=80, odometer_km=None, battery_voltage=12.6, fuel_level=None, engine_status="ON",
        transmission_status="DRIVE", drivable=True, dtc_codes=None,
    )  # fmt: skip
    assert telemetry.store_status(conn, [row]) == 1
    conn.commit()


def connect(conn: Connection, vin: str, *, ago: timedelta, online: bool = True) -> None:
    vehicles.set_presence(conn, vin, online=online, changed_at=datetime.now(UTC) - ago)
    conn.commit()


def run(conn: Connection) -> None:
    jobs.follow_presence(conn, datetime.now(UTC))
    conn.commit()


def told(conn: Connection) -> list[tuple[str, str, str]]:
    query = b"SELECT service, type, vin FROM events WHERE type LIKE 'VEHICLE%' ORDER BY event_id"
    return [(row[0], row[1], row[2]) for row in conn.execute(query)]


def online(conn: Connection, vin: str = VIN) -> bool | None:
    state = vehicles.state(conn, vin)
    assert state is not None
    return state.online


def shown(api: Api) -> dict[str, Any]:
    status: dict[str, Any] = api.call("GET", f"/vehicles/{VIN}/sos/status").json()["vehicleStatus"]
    return status


def test_the_status_of_a_silent_vehicle_is_shown_with_its_age_and_offline_also_before_the_job_runs(
    api: Api, conn: Connection
) -> None:
    assert api.call("POST", f"/vehicles/{VIN}/sos", {}).status_code == 201
    connect(conn, VIN, ago=timedelta(hours=2))
    report(conn, VIN, ago=LONG)
    status = shown(api)
    assert (status["online"], status["stale"], status["batteryVoltage"]) == (False, True, 12.6)
    assert 660 <= status["ageSeconds"] < 720
    report(conn, VIN, ago=timedelta(seconds=3))
    status = shown(api)
    assert (status["online"], status["stale"], 3 <= status["ageSeconds"] < 30) == (True, False, True)
    connect(conn, VIN, ago=timedelta(), online=False)
    assert shown(api)["online"] is False


def test_a_vehicle_that_never_told_its_presence_is_neither_online_nor_offline(api: Api, conn: Connection) -> None:
    assert api.call("POST", f"/vehicles/{VIN}/sos", {}).status_code == 201
    report(conn, VIN, ago=timedelta())
    assert shown(api)["online"] is None


@pytest.mark.parametrize(
    ("connected_ago", "reported_ago", "silent"),
    [
        (LONG, LONG, True),
        (LONG, None, True),
        (LONG, timedelta(minutes=9), False),
        (timedelta(minutes=9), LONG, False),
        (timedelta(minutes=9), None, False),
    ],
)
@pytest.mark.usefixtures("api")
def test_silence_is_that_nothing_came_for_long(
    conn: Connection, connected_ago: timedelta, reported_ago: timedelta | None, *, silent: bool
) -> None:
    connect(conn, VIN, ago=connected_ago)
    if reported_ago is not None:
        report(conn, VIN, ago=reported_ago)
    run(conn)
    assert online(conn) is not silent


@pytest.mark.usefixtures("api")
def test_late_data_is_a_sign_of_life_however_old_it_is(conn: Connection) -> None:
    connect(conn, VIN, ago=timedelta(hours=5))
    report(conn, VIN, ago=timedelta(hours=3), received_ago=timedelta(minutes=1))
    run(conn)
    assert online(conn) is True


def test_going_offline_and_coming_back_are_each_told_once(api: Api, conn: Connection) -> None:
    connect(conn, VIN, ago=LONG)
    connect(conn, OTHER_VIN, ago=LONG)
    assert api.call("POST", f"/vehicles/{OTHER_VIN}/sos", {}).status_code == 201
    assert api.call("POST", f"/vehicles/{OTHER_VIN}/rsa/request", {}).status_code == 201
    api.sequence()
    with streaming(api, params={"vin": OTHER_VIN}) as stream:
        for _ in range(3):
            run(conn)
        offline = [("VEHICLE", "VEHICLE_OFFLINE", VIN)]
        offline += [(service, "VEHICLE_OFFLINE", OTHER_VIN) for service in ("SOS", "RSA")]
        assert told(conn) == offline
        api.sequence()
        (message,) = stream.take(1)
        assert (message.data["type"], message.data["data"]["status"]) == ("VEHICLE_OFFLINE", "INITIATED")
    report(conn, VIN, ago=timedelta(seconds=-1))
    for _ in range(3):
        run(conn)
    assert told(conn) == [*offline, ("VEHICLE", "VEHICLE_ONLINE", VIN)]
    assert (online(conn), online(conn, OTHER_VIN)) == (True, False)


@pytest.mark.usefixtures("api")
def test_a_will_is_not_undone_by_what_came_before_it(conn: Connection) -> None:
    connect(conn, VIN, ago=timedelta(), online=False)
    report(conn, VIN, ago=timedelta(seconds=-1))
    run(conn)
    assert (online(conn), told(conn)) == (False, [])


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("last", [True, False])
def test_what_was_received_before_the_last_word_changes_nothing(conn: Connection, *, last: bool) -> None:
    """A worker that was frozen stores late what its successor has stored already, and more since."""
    connect(conn, VIN, ago=timedelta(minutes=2), online=not last)
    connect(conn, VIN, ago=timedelta(minutes=1), online=last)
    connect(conn, VIN, ago=timedelta(minutes=2), online=not last)
    assert online(conn) is last
    connect(conn, VIN, ago=timedelta(minutes=1), online=not last)  # read at once with the last: later in its order
    assert online(conn) is not last


@pytest.mark.usefixtures("api")
def test_a_clock_that_was_set_back_freezes_no_presence(conn: Connection) -> None:
    connect(conn, VIN, ago=-timedelta(minutes=1))
    connect(conn, VIN, ago=timedelta(), online=False)
    assert online(conn) is False


@pytest.mark.usefixtures("api")
def test_a_word_counts_though_the_job_noticed_silence_before_it_was_stored(conn: Connection) -> None:
    connect(conn, VIN, ago=LONG)
    run(conn)
    assert online(conn) is False
    connect(conn, VIN, ago=timedelta(seconds=5))
    assert online(conn) is True


@pytest.mark.usefixtures("api")
def test_a_will_counts_though_the_job_heard_the_vehicle_before_it_was_stored(conn: Connection) -> None:
    connect(conn, VIN, ago=LONG)
    run(conn)
    conn.execute("UPDATE vehicle_presence SET silent_since = silent_since - interval '1 minute'")
    report(conn, VIN, ago=timedelta(seconds=10))
    run(conn)
    assert online(conn) is True
    connect(conn, VIN, ago=timedelta(seconds=5), online=False)
    assert online(conn) is False


@pytest.mark.usefixtures("worker")
def test_a_vehicle_that_connects_again_is_online_at_once(tcu: Callable[[str], Tcu], conn: Connection) -> None:
    vehicle = tcu(VIN)
    vehicle.send(Uplink.PRESENCE, online=True)
    eventually(conn, "SELECT online FROM vehicle_presence", [(True,)])
    conn.execute("UPDATE vehicle_presence SET changed_at = changed_at - interval '1 hour'")
    conn.commit()
    run(conn)
    assert online(conn) is False
    vehicle.send(Uplink.PRESENCE, online=True)
    eventually(conn, "SELECT online, silent_since FROM vehicle_presence", [(True, None)])


def test_ten_thousand_connected_vehicles_are_looked_through_quickly(conn: Connection) -> None:
    conn.execute(
        "INSERT INTO vehicles (vin) SELECT 'KMHSH81C7LU' || lpad(n::text, 6, '0') FROM generate_series(1, 10000) n"
    )
    conn.execute("INSERT INTO vehicle_presence SELECT vin, true, now() - interval '1 day' FROM vehicles")
    conn.execute(
        "INSERT INTO vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect)"
        " SELECT vin, gen_random_uuid(), t, t, false FROM vehicles,"
        " generate_series(now() - interval '9 minutes', now(), '3 minutes') t"
    )
    conn.execute("ANALYZE")
    conn.execute("SET LOCAL statement_timeout = '3s'")
    jobs.follow_presence(conn, datetime.now(UTC))
    assert told(conn) == []
