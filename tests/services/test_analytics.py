"""What analysts read is what was sent: views against pandas, and against literal days and hours."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import agents, vehicles
from db.pool import Connection, connect
from ingest.inbox import Received
from ingest.pipeline import store
from schemas.topics import Uplink, uplink_topic
from tests import driven
from tests.services.test_telemetry import same

SINCE = datetime(2026, 3, 2, 5, tzinfo=UTC)
DELIVERED = SINCE + timedelta(days=5)
VINS = ["KMHSH81C7LU000001", "KMHSH81C7LU000002"]


BY_UNIT = "SELECT * FROM analytics.status_by_{} WHERE vin = %s ORDER BY bucket"
TRIP = {
    "distance_km": "distanceKm",
    "max_speed_kph": "maximumSpeedKph",
    "ended_by": "endedBy",
    "fuel_used_percent": "fuelUsedPercent",
    "duration_s": "durationSeconds",
}


@pytest.fixture(scope="module")
def sent() -> driven.Driven:
    return driven.drive(VINS, since=SINCE, hours=20, seed=5)


@pytest.fixture
def filled(database_url: str, sent: driven.Driven) -> Iterator[Connection]:
    with connect(database_url, name="tests", autocommit=True) as conn:
        sent.deliver(conn, seed=6, at=DELIVERED)
        yield conn


def rows(conn: Connection, query: str, *values: Any) -> list[dict[str, Any]]:
    cursor = conn.execute(query.encode(), values)
    return [dict(zip([c.name for c in cursor.description or []], row, strict=True)) for row in cursor.fetchall()]


def test_aggregates_and_trips_are_what_pandas_makes_of_the_messages(filled: Connection, sent: driven.Driven) -> None:
    for vin in VINS:
        frame = sent.frame(Uplink.STATUS, vin).set_index("timestamp")
        for unit, width in (("minute", "1min"), ("hour", "1h"), ("day", "1D")):
            grouped = frame.groupby(frame.index.floor(width))
            found = rows(filled, BY_UNIT.format(unit), vin)
            assert [row["bucket"] for row in found] == list(grouped.groups)
            expected = {
                "samples": grouped.size(),
                "late_samples": grouped.size(),  # days late, all of them
                "engine_on_samples": grouped["engineStatus"].apply(
                    lambda status: status.isin(["ON", "CRANKING"]).sum()
                ),
                "speed_kph_min": grouped["speedKph"].min(),
                "speed_kph_max": grouped["speedKph"].max(),
                "speed_kph_average": grouped["speedKph"].mean(),
                "odometer_km_first": grouped["odometerKm"].first(),
                "odometer_km_last": grouped["odometerKm"].last(),
                "battery_voltage_average": grouped["batteryVoltage"].mean(),
                "fuel_level_last": grouped["fuelLevel"].last(),
            }
            for name, values in expected.items():
                assert same([row[name] for row in found], values.astype(object).where(values.notna(), None)), (
                    unit,
                    name,
                )
        trips = driven.trips(sent, vin)
        for query in (
            "SELECT * FROM analytics.trips WHERE vin = %s ORDER BY started_at",
            "SELECT * FROM analytics.trips_between('2026-03-01', '2026-03-09') WHERE vin = %s ORDER BY started_at",
        ):
            told = rows(filled, query, vin)
            assert [trip["started_at"] for trip in told] == [trip["startedAt"] for trip in trips]
            for name, other in TRIP.items():
                assert same([trip[name] for trip in told], [trip[other] for trip in trips]), name


def test_data_quality_counts_what_was_late_came_again_or_was_quarantined(
    filled: Connection, sent: driven.Driven
) -> None:
    def hear(vin: str, payload: bytes, at: datetime, kind: Uplink = Uplink.STATUS) -> None:
        store(filled, [Received(uplink_topic(vin, kind), payload, at)], known_vins=set(), now=at)

    for at in (DELIVERED, DELIVERED + timedelta(hours=1)):  # the same bytes, twice
        hear(VINS[0], b'{"speedKph": "fast"}', at)
    hear(VINS[0], b"?", DELIVERED, Uplink.ENGINE)
    future = (DELIVERED + timedelta(days=9)).isoformat()
    hear(VINS[0], f'{{"messageId": "{"0" * 31}1", "timestamp": "{future}"}}'.encode(), DELIVERED)
    totals = rows(
        filled,
        "SELECT vin, sum(stored)::int stored, sum(late)::int late, sum(clock_suspect)::int suspect,"
        " sum(duplicates)::int again, sum(quarantined)::int bad FROM analytics.data_quality GROUP BY vin ORDER BY vin",
    )
    mine = [sum(of == vin for _, of, _ in sent.messages) for vin in VINS]
    again = len(sent.messages) // 20
    assert [(t["stored"], t["late"], t["suspect"], t["bad"]) for t in totals] == [
        (mine[0] + 1, mine[0], 1, 2),
        (mine[1], mine[1], 0, 0),
    ]
    assert sum(t["again"] for t in totals) == again
    assert min(t["again"] for t in totals) > 0
    assert rows(filled, "SELECT vin, kind, reason, times_received FROM analytics.quarantined ORDER BY kind") == [
        {"vin": VINS[0], "kind": "engine", "reason": "NOT_JSON", "times_received": 1},
        {"vin": VINS[0], "kind": "status", "reason": "INVALID_FIELD", "times_received": 2},
    ]


def test_violations_are_counted_on_the_wall_clock_of_their_policy(conn: Connection) -> None:
    vehicles.register(conn, VINS)
    for vin, zone in zip(VINS, ("Asia/Seoul", "America/New_York"), strict=True):
        conn.execute(
            "INSERT INTO curfew_policies (vin, valid_from, set_by, enabled, timezone, windows, actions)"
            " VALUES (%s, '2026-01-01', 'GUARDIAN', true, %s, '[]', '{}')",
            (vin, zone),
        )
    for vin, started, minutes, severity in (
        (VINS[0], "2026-03-06T14:30Z", 20, "MEDIUM"),  # Friday 23:30 in Seoul
        (VINS[0], "2026-03-06T14:59Z", 10, "LOW"),
        (VINS[0], "2026-03-06T15:30Z", None, "HIGH"),  # Saturday 00:30
        (VINS[1], "2026-03-09T03:30Z", 70, "HIGH"),  # Sunday 23:30 in New York, after the clock change
    ):
        ended = None if minutes is None else datetime.fromisoformat(started) + timedelta(minutes=minutes)
        conn.execute(
            "INSERT INTO curfew_violations"
            " (vin, started_at, ended_at, resolution, severity, detected_late, detected_at)"
            " VALUES (%s, %s, %s, %s, %s, false, now())",
            (vin, started, ended, None if ended is None else "ENGINE_STOP", severity),
        )
    found = rows(conn, "SELECT * FROM analytics.violations_by_hour ORDER BY weekday, hour")
    assert [tuple(row.values()) for row in found] == [
        (5, 23, 2, 1, 30.0, 1, 1, 0),
        (6, 0, 1, 1, None, 0, 0, 1),
        (7, 23, 1, 1, 70.0, 0, 0, 1),
    ]


def test_incidents_have_all_their_times(conn: Connection) -> None:
    vehicles.register(conn, VINS)
    agents.put(conn, "AGENT_001", name="Kim Counselor", extension="801")
    at = {step: SINCE + timedelta(minutes=step) for step in range(10)}
    conn.execute(
        "INSERT INTO sos_incidents (cid, vin, status, emergency_type, urgency, source, test_call, occurred_at, "
        " received_at, anomalies, latitude, longitude, agent_id, assigned_at, connected_at, dispatched_at, closed_at,"
        " updated_at) VALUES ('SOS_20260302_001', %s, 'CLOSED', 'FIRE', 'HIGH', 'TCU', false, %s, %s, '{}', 37.5678,"
        " 127.1234, 'AGENT_001', %s, %s, %s, %s, %s)",
        (VINS[0], *(at[n] for n in (0, 1, 2, 3, 4, 6, 6))),
    )
    conn.execute(
        "INSERT INTO sos_timeline (cid, status, occurred_at, actor, description)"
        " VALUES ('SOS_20260302_001', 'RESOLVED', %s, 'AGENT_001', 'x')",
        (at[5],),
    )
    conn.execute(
        "INSERT INTO rsa_incidents (cid, vin, status, service_type, priority, source, occurred_at, received_at,"
        " anomalies, symptoms, dtc_codes, dispatched_at, completed_at, updated_at)"
        " VALUES ('RSA_20260302_001', %s, 'COMPLETED', 'TOWING', 'NORMAL', 'APP', %s, %s, '{}', '{}', '{}', %s,"
        " %s, %s)",
        (VINS[1], *(at[n] for n in (0, 1, 2, 8, 8))),
    )
    # Declined by a first partner, taken by a second.
    for status, step in (("REJECTED", 3), ("CONFIRMED", 4), ("EN_ROUTE", 5), ("EN_ROUTE", 6), ("ARRIVED", 7)):
        conn.execute(
            "INSERT INTO rsa_timeline (cid, status, occurred_at, actor, description)"
            " VALUES ('RSA_20260302_001', %s, %s, 'P', 'x')",
            (status, at[step]),
        )
    rsa, sos = rows(conn, "SELECT * FROM analytics.incidents ORDER BY service")
    names = (
        "occurred",
        "received",
        "assigned",
        "connected",
        "dispatched",
        "rejected",
        "confirmed",
        "en_route",
        "arrived",
        "resolved",
        "completed",
    )
    times = [[one[f"{name}_at"] for name in (*names, "closed")] for one in (sos, rsa)]
    assert times == [
        [*(at[n] for n in (0, 1, 2, 3, 4)), *[None] * 4, at[5], None, at[6]],
        [at[0], at[1], None, None, at[2], at[3], at[4], at[5], at[7], None, at[8], None],
    ]
    assert (sos["response_s"], sos["duration_s"], rsa["response_s"], rsa["duration_s"]) == (180, 360, 120, None)
    assert (sos["latitude"], sos["longitude"]) == (37.57, 127.12)
