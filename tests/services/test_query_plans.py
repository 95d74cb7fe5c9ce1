"""The hottest queries use their index, and touch only the chunks they need."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.pool import Connection
from db.statements import statements

NOW = datetime(2026, 3, 7, 12, tzinfo=UTC)
VIN = "KMHSH81C7LU000007"


@pytest.fixture
def filled(owner: Connection) -> Connection:
    """Ten days of twenty vehicles, every ten minutes, and a thousand incidents and events."""
    owner.execute(
        "INSERT INTO vehicles (vin) SELECT 'KMHSH81C7LU' || lpad(n::text, 6, '0') FROM generate_series(0, 19) n"
    )
    owner.execute(
        "INSERT INTO vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect, speed_kph)"
        " SELECT v.vin, gen_random_uuid(), t, t, false, 50 FROM vehicles v,"
        " generate_series(%s::timestamptz, %s::timestamptz, '10 minutes') t",
        (NOW - timedelta(days=10), NOW),
    )
    owner.execute(
        "INSERT INTO sos_incidents (cid, vin, status, emergency_type, urgency, source, test_call, occurred_at,"
        " received_at, anomalies, updated_at)"
        " SELECT 'SOS_20260307_' || lpad(n::text, 4, '0'), 'KMHSH81C7LU' || lpad((n %% 20)::text, 6, '0'),"
        " CASE WHEN n %% 20 = 7 THEN 'RESOLVED' ELSE 'CLOSED' END,"
        " 'OTHER', 'HIGH', 'TCU', false, t, t, '{}', t"
        " FROM generate_series(1, 2000) n, LATERAL (SELECT %s::timestamptz - n * interval '1 minute' AS t) AS at",
        (NOW,),
    )
    owner.execute(
        "INSERT INTO events (sequence, service, type, priority, vin, occurred_at, data)"
        " SELECT n, 'SOS', 'SOS_UPDATED', 'HIGH', 'KMHSH81C7LU000001', %s, '{}' FROM generate_series(1, 5000) n",
        (NOW,),
    )
    owner.execute("ANALYZE")
    return owner


def plan(conn: Connection, service: str, name: str, **values: object) -> str:
    """Return the executed plan as JSON text, chunks that were never read left out."""
    row = conn.execute(
        b"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, FORMAT JSON) " + statements(service)[name], values
    ).fetchone()
    assert row is not None
    return json.dumps(_executed(row[0][0]["Plan"]))


def _executed(node: dict[str, Any]) -> dict[str, Any]:
    children = [_executed(child) for child in node.get("Plans", []) if child["Actual Loops"] > 0]
    return node | {"Plans": children}


def test_the_latest_state_reads_one_chunk_by_its_index(filled: Connection) -> None:
    executed = plan(filled, "vehicles", "state", vin=VIN)
    assert "vehicle_status_latest" in executed
    assert len(set(re.findall(r'"Relation Name": "(_hyper_1_\w+)"', executed))) == 1
    assert not re.search(r"Seq Scan[^{}]*_hyper_1", executed)


def test_the_history_of_a_vehicle_reads_its_index_in_order(filled: Connection) -> None:
    executed = plan(filled, "sos", "history", vin=VIN, limit=10, offset=0)
    assert "sos_incidents_history" in executed
    assert '"Node Type": "Sort"' not in executed


def test_the_stream_reads_what_follows_by_its_number(filled: Connection) -> None:
    assert "events_sequence" in plan(filled, "events", "after", sequence=4990, limit=100)


def test_the_queue_and_the_open_incident_are_found_without_the_closed_ones(filled: Connection) -> None:
    assert "sos_incidents_queue" in plan(filled, "sos", "head_of_queue")
    assert "sos_incidents_open" in plan(filled, "sos", "open_of_vehicle", vin=VIN, test_call=False)


def test_the_sequencer_finds_what_has_no_number_by_its_index(filled: Connection) -> None:
    assert "events_unsequenced" in plan(filled, "events", "sequence_batch", last=5000, limit=1000)


def test_a_second_delivery_is_found_by_its_key(filled: Connection) -> None:
    filled.execute(
        "INSERT INTO received_messages SELECT vin, message_id, 'engine', received_at FROM vehicle_status LIMIT 20000"
    )
    filled.execute("ANALYZE received_messages")
    executed = plan(filled, "messages", "get_cid", vin=VIN, message_id="6f1e1d9c-8f4e-4f68-9d1e-0d4b9a3f1c55")
    assert "received_messages_pkey" in executed


def test_what_is_due_is_found_without_what_is_over_and_without_sorting_what_waits(filled: Connection) -> None:
    filled.execute("INSERT INTO partners SELECT 'PARTNER_' || n, 'p' FROM generate_series(1, 3) n")
    filled.execute(
        "INSERT INTO webhook_endpoints (partner, url, secret, changed_at)"
        " SELECT partner, 'https://p.example/', 'whsec_AAAA', %s FROM partners",
        (NOW,),
    )
    filled.execute(
        "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, topic, cid, payload, status, created_at,"
        " next_attempt_at, finished_at) SELECT gen_random_uuid(), endpoint_id, 'rsa.dispatch', 'RSA_' || n, '{}',"
        " CASE WHEN n > 4800 THEN 'PENDING' ELSE 'DELIVERED' END, %s, %s - n * interval '1 second', %s"
        " FROM webhook_endpoints, generate_series(1, 5000) n",
        (NOW, NOW, NOW),
    )
    filled.execute("ANALYZE webhook_deliveries, webhook_endpoints")
    executed = plan(filled, "webhooks", "claim", now=NOW, leased_until=NOW, parallel=4, limit=500)
    assert "webhook_deliveries_due" in executed
    assert "webhook_deliveries_leased" in executed
    assert not re.search(r'"Seq Scan"[^{}]*webhook_deliveries', executed)
    shown = {"cid": "RSA_5000", "partner": "PARTNER_1", "topic": "rsa.dispatch"}
    assert "webhook_deliveries_cid" in plan(filled, "webhooks", "latest_of_incident", **shown)


def test_an_engine_that_ran_for_ten_days_is_judged_from_a_few_rows_of_it(filled: Connection) -> None:
    filled.execute("UPDATE vehicle_status SET engine_status = 'ON'")
    filled.execute("ANALYZE vehicle_status")
    instants = {"begin": NOW - timedelta(days=12), "since": NOW - timedelta(days=5), "until": NOW - timedelta(days=5)}
    edges = plan(filled, "curfew", "edges", vin=VIN, end=NOW, **instants)
    assert "vehicle_status_latest" in edges
    assert max(map(int, re.findall(r'"Actual Rows": (\d+)', edges))) <= 6
    whole = {"vin": VIN, "since": NOW - timedelta(days=12), "until": NOW}
    assert len(filled.execute(statements("curfew")["observations"], whole).fetchall()) == 2


def test_the_open_list_reads_what_is_open_and_not_the_history(filled: Connection) -> None:
    filled.execute("UPDATE sos_incidents SET status = 'INITIATED' WHERE cid = 'SOS_20260307_0007'")
    read = plan(filled, "incidents", "unclosed", vins=None, with_tests=False, after="", limit=200)
    assert "sos_incidents_unclosed" in read


def test_a_page_of_the_fleet_reads_the_state_of_its_vehicles_only(filled: Connection) -> None:
    filled.execute(
        "INSERT INTO vehicles (vin) SELECT 'KMHFLEET' || lpad(n::text, 9, '0') FROM generate_series(1, 5000) n"
    )
    filled.execute("ANALYZE vehicles")
    read = json.loads(plan(filled, "vehicles", "fleet", vins=None, online=None, limit=10, offset=0))
    assert _most_loops(read) <= 11


def _most_loops(node: dict[str, Any]) -> int:
    return max([int(node["Actual Loops"]), *(_most_loops(child) for child in node.get("Plans", []))])
