"""What has outlived its term goes, in small steps; what is younger, or belongs to something open, stays."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from pydantic import ValidationError

from db import vehicles
from db.pool import Connection, connect
from rules import retention
from rules.retention import Terms
from rules.settings import RulesSettings
from stack.server import wait_until
from tests.processes import is_ready, product_process

NOW = datetime.now(UTC)
VIN = "KMHSH81C7LU123456"
TERMS = Terms()
A_BIT = timedelta(minutes=1)

WRITTEN = {
    "vehicle_status": "INSERT INTO vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect)"
    " VALUES (%(vin)s, %(id)s, %(at)s, %(at)s, false)",
    "engine_events": "INSERT INTO engine_events (vin, message_id, occurred_at, received_at, clock_suspect, event)"
    " VALUES (%(vin)s, %(id)s, %(at)s, %(at)s, false, 'START')",
    "quarantine": "INSERT INTO quarantine (topic, payload, payload_hash, reason, detail, first_received_at,"
    " received_at) VALUES ('t', '{', sha256(%(id)s::text::bytea), 'MALFORMED', '', %(at)s, %(at)s)",
    "webhook_deliveries": "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, topic, payload, status,"
    " created_at, next_attempt_at, finished_at) SELECT %(id)s, endpoint_id, 't', '{}', 'DELIVERED', %(at)s,"
    " %(at)s, %(at)s FROM webhook_endpoints",
    "system_tests": "INSERT INTO system_tests VALUES ('TEST-20260101-' || lpad((random() * 1e9)::bigint::text, 9, '0'),"
    " 'full', 'x', NULL, %(at)s, %(at)s, 'PASSED', '{}')",
    "sos_incidents": "INSERT INTO sos_incidents (cid, vin, status, emergency_type, urgency, source, test_call,"
    " occurred_at, received_at, anomalies, updated_at) VALUES ('SOS_20200101_' || lpad((random() * 1e8)::bigint::text,"
    " 9, '0'), %(vin)s, 'CANCELLED', 'OTHER', 'HIGH', 'TCU', false, %(at)s, %(at)s, '{}', %(at)s)",
    "rsa_incidents": "INSERT INTO rsa_incidents (cid, vin, status, priority, source, occurred_at, received_at,"
    " anomalies, symptoms, dtc_codes, updated_at) VALUES ('RSA_20200101_' || lpad((random() * 1e8)::bigint::text, 9,"
    " '0'), %(vin)s, 'CLOSED', 'HIGH', 'TCU', %(at)s, %(at)s, '{}', '{}', '{}', %(at)s)",
    "audit": "INSERT INTO audit (at, who, action, request) VALUES (%(at)s, 'key:1', 'READ_VEHICLE', 'GET /')",
    "received_messages": "INSERT INTO received_messages (vin, message_id, kind, received_at)"
    " VALUES (%(vin)s, %(id)s, 'engine', %(at)s)",
    "second_deliveries": "INSERT INTO second_deliveries (vin, kind, received_at, messages)"
    " VALUES (%(vin)s, 'status', %(at)s, 1)",
    "events": "INSERT INTO events (sequence, service, type, priority, vin, occurred_at, data, appended_at)"
    " SELECT coalesce(max(sequence), 0) + 1, 'SOS', 'T', 'LOW', %(vin)s, %(at)s, '{}', %(at)s FROM events",
    "idempotent_answers": "INSERT INTO idempotent_answers (request_hash, fingerprint, status, media_type, body,"
    " answered_at) VALUES (sha256(%(id)s::text::bytea), '', 200, 't', '', %(at)s)",
    "operations_samples": "INSERT INTO operations_samples VALUES (%(at)s, '{}', 0, 0)",
    "request_counts": "INSERT INTO request_counts VALUES (%(id)s::text, 'requests', %(at)s, 1)",
    "stream_tickets": "INSERT INTO stream_tickets VALUES (sha256(%(id)s::text::bytea), '{}', %(at)s)",
    "open_streams": "INSERT INTO open_streams (who, process, opened_at) VALUES ('key:1', 'killed', %(at)s)",
    "processes": "INSERT INTO processes (name, started_at, beat_at, ready, figures)"
    " VALUES (%(id)s::text, %(at)s, %(at)s, true, '{}')",
}


@pytest.fixture
def kept(conn: Connection) -> Connection:
    """A vehicle and a partner's endpoint for what refers to them."""
    vehicles.register(conn, [VIN])
    conn.execute("INSERT INTO partners (partner, name) VALUES ('PARTNER', 'p')")
    conn.execute(
        "INSERT INTO webhook_endpoints (partner, url, secret, changed_at)"
        " VALUES ('PARTNER', 'https://p/', 'whsec_A', %s)",
        (NOW,),
    )
    conn.commit()
    return conn


def write(conn: Connection, table: str, *instants: datetime) -> None:
    for at in instants:
        conn.execute(WRITTEN[table].encode(), {"vin": VIN, "id": uuid4(), "at": at})
    conn.commit()


def count(conn: Connection, table: str) -> int:
    row = conn.execute(b"SELECT count(*) FROM " + table.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("table", WRITTEN)
def test_rows_older_than_their_term_go_and_younger_ones_stay(kept: Connection, table: str) -> None:
    term = getattr(TERMS, table)
    chunk = {"vehicle_status": timedelta(days=1), "engine_events": timedelta(days=7), "audit": timedelta(days=30)}.get(
        table, timedelta(0)
    )
    write(kept, table, NOW - 2 * term - chunk, NOW - term - chunk - A_BIT, NOW - term + A_BIT, NOW)
    others = {name: count(kept, name) for name in WRITTEN if name != table}
    retention.prune(kept, NOW, terms=TERMS)
    assert count(kept, table) == 2
    assert {name: count(kept, name) for name in others} == others
    retention.prune(kept, NOW, terms=TERMS)
    assert count(kept, table) == 2


def test_every_table_with_a_term_is_tested() -> None:
    assert {field.name for field in fields(Terms)} == set(WRITTEN)


def test_what_an_open_emergency_was_raised_from_stays_and_so_does_what_waits(kept: Connection) -> None:
    long_ago = NOW - timedelta(days=400)
    for cid, status in (("SOS_20250101_001", "INITIATED"), ("SOS_20250101_002", "CLOSED")):
        kept.execute(
            "INSERT INTO sos_incidents (cid, vin, status, emergency_type, urgency, source, test_call, occurred_at,"
            " received_at, anomalies, updated_at) VALUES (%s, %s, %s, 'OTHER', 'HIGH', 'TCU', false, %s, %s, '{}', %s)",
            (cid, VIN, status, long_ago, long_ago, long_ago),
        )
        kept.execute(
            "INSERT INTO sos_timeline (cid, status, occurred_at, actor, description)"
            " VALUES (%s, 'INITIATED', %s, 'T', '')",
            (cid, long_ago),
        )
        write(kept, "quarantine", long_ago)
        kept.execute("UPDATE quarantine SET cid = %s WHERE cid IS NULL", (cid,))
    write(kept, "quarantine", long_ago)
    kept.execute("UPDATE quarantine SET replay_requested_at = now() WHERE cid IS NULL")
    kept.execute(
        "INSERT INTO curfew_violations (vin, started_at, severity, detected_late, detected_at)"
        " VALUES (%s, %s, 'HIGH', false, %s)",
        (VIN, long_ago, long_ago),
    )
    write(kept, "webhook_deliveries", long_ago)
    kept.execute("UPDATE webhook_deliveries SET status = 'PENDING', finished_at = NULL")
    write(kept, "events", long_ago)
    kept.execute("UPDATE events SET sequence = NULL")
    kept.commit()
    retention.prune(kept, NOW, terms=TERMS)
    assert [row[0] for row in kept.execute("SELECT cid FROM quarantine ORDER BY cid")] == ["SOS_20250101_001", None]
    assert [count(kept, name) for name in ("sos_incidents", "sos_timeline", "curfew_violations")] == [2, 2, 1]
    assert [count(kept, name) for name in ("webhook_deliveries", "events")] == [1, 1]


def test_of_incidents_that_ended_long_ago_figures_stay_and_open_ones_stay_whole(kept: Connection) -> None:
    began = NOW - TERMS.sos_incidents - timedelta(days=200)
    for number, status in enumerate(("RESOLVED", "CLOSED", "CANCELLED"), start=1):
        cid = f"SOS_20200101_{number:03}"
        kept.execute(
            "INSERT INTO sos_incidents (cid, vin, status, emergency_type, urgency, source, test_call, occurred_at,"
            " received_at, anomalies, connected_at, closed_at, contact_number, updated_at) VALUES (%s, %s, %s, 'FIRE',"
            " 'CRITICAL', 'TCU', false, %s, %s, '{}', %s, %s, '+82-10-7531-9024', %s)",
            (cid, VIN, status, began, began, began + timedelta(seconds=9), began + timedelta(seconds=700), began),
        )
        kept.execute(
            "INSERT INTO sos_timeline (cid, status, occurred_at, actor, description)"
            " VALUES (%s, 'CLOSED', now(), 'T', '')",
            (cid,),
        )
        kept.execute(
            "INSERT INTO voice_calls (session_id, cid, status, started_at) VALUES (%s, %s, 'ENDED', now())",
            (f"CALL-{number}", cid),
        )
    kept.execute(
        "INSERT INTO rsa_incidents (cid, vin, status, priority, source, occurred_at, received_at, anomalies, symptoms,"
        " dtc_codes, service_type, dispatched_at, closed_at, updated_at) VALUES ('RSA_20200101_001', %s, 'CLOSED',"
        " 'LOW', 'APP', %s, %s, '{}', '{}', '{}', 'TOWING', %s, %s, %s)",
        (VIN, began, began, began + timedelta(seconds=60), began + timedelta(seconds=3600), began),
    )
    kept.execute(
        "INSERT INTO rsa_timeline (cid, status, occurred_at, actor, description)"
        " VALUES ('RSA_20200101_001', 'CLOSED', now(), 'T', '')"
    )
    kept.commit()
    retention.prune(kept, NOW, terms=TERMS)
    for table in ("sos_incidents", "sos_timeline", "voice_calls"):
        assert kept.execute(b"SELECT cid FROM " + table.encode()).fetchall() == [("SOS_20200101_001",)], table
    assert (count(kept, "rsa_incidents"), count(kept, "rsa_timeline")) == (0, 0)
    month = began.date().replace(day=1)
    assert kept.execute("SELECT * FROM erased_incidents ORDER BY service, status").fetchall() == [
        ("RSA", month, "TOWING", "LOW", "CLOSED", "APP", False, 60, 3600),
        ("SOS", month, "FIRE", "CRITICAL", "CANCELLED", "TCU", False, 9, 700),
        ("SOS", month, "FIRE", "CRITICAL", "CLOSED", "TCU", False, 9, 700),
    ]


def test_killed_half_way_it_goes_on_the_next_time(kept: Connection, owner: Connection, database_url: str) -> None:
    kept.execute(
        "INSERT INTO received_messages (vin, message_id, kind, received_at)"
        " SELECT %s, gen_random_uuid(), 'engine', %s FROM generate_series(1, 5000)",
        (VIN, NOW - timedelta(days=30)),
    )
    kept.commit()
    owner.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF (SELECT count(*) FROM received_messages) < 2000 THEN PERFORM pg_terminate_backend(pg_backend_pid());"
        " END IF; RETURN NULL; END $$"
    )
    owner.execute("CREATE TRIGGER die AFTER DELETE ON received_messages EXECUTE FUNCTION die()")
    owner.commit()
    with connect(database_url, name="killed") as killed, pytest.raises(psycopg.OperationalError):
        retention.prune(killed, NOW, terms=TERMS)
    assert count(kept, "received_messages") == 3000
    kept.commit()
    owner.execute("DROP TRIGGER die ON received_messages")
    owner.commit()
    retention.prune(kept, NOW, terms=TERMS)
    assert count(kept, "received_messages") == 0


def test_ingestion_goes_on_beside_it_and_a_reader_makes_it_wait_for_the_next_time(
    kept: Connection, database_url: str
) -> None:
    write(kept, "vehicle_status", NOW - timedelta(days=200), NOW - timedelta(days=201), NOW)
    with connect(database_url, name="worker") as worker, connect(database_url, name="analyst") as analyst:
        worker.execute(WRITTEN["vehicle_status"].encode(), {"vin": VIN, "id": uuid4(), "at": NOW})
        worker.execute(
            WRITTEN["received_messages"].encode(), {"vin": VIN, "id": uuid4(), "at": NOW - timedelta(days=9)}
        )
        analyst.execute("SELECT count(*) FROM vehicle_status")
        began = datetime.now(UTC)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            retention.prune(kept, NOW, terms=TERMS)
        assert datetime.now(UTC) - began < timedelta(seconds=2)
        kept.rollback()
        analyst.rollback()
        retention.prune(kept, NOW, terms=TERMS)
        worker.commit()
    assert (count(kept, "vehicle_status"), count(kept, "received_messages")) == (2, 1)


def test_the_job_runs_soon_after_the_start(kept: Connection, database_url: str, tmp_path: Path) -> None:
    write(kept, "quarantine", NOW - timedelta(days=31), NOW)
    process = product_process(
        "rules",
        {"TCU_DATABASE_URL": database_url},
        log=tmp_path / "rules.log",
        ready=lambda: is_ready(database_url, "rules", process.pid),
    )

    def is_pruned() -> bool:
        kept.rollback()
        return count(kept, "quarantine") == 1

    try:
        process.start()
        wait_until(is_pruned, wait_s=20)
    finally:
        process.kill()


def test_telemetry_is_kept_at_least_as_long_as_the_latest_message_is_judged_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TCU_DATABASE_URL", "postgresql://localhost/none")
    monkeypatch.setenv("TCU_KEEP_TELEMETRY_DAYS", "14")
    with pytest.raises(ValidationError, match="greater than or equal to 15"):
        RulesSettings()
    monkeypatch.setenv("TCU_KEEP_TELEMETRY_DAYS", "15")
    terms = RulesSettings().terms
    assert (terms.vehicle_status, terms.engine_events) == (timedelta(days=15), timedelta(days=15))
    assert (terms.quarantine, terms.events) == (timedelta(days=30), timedelta(days=7))
    assert (terms.sos_incidents, terms.rsa_incidents) == (timedelta(days=1095), timedelta(days=1095))
    monkeypatch.setenv("TCU_KEEP_INCIDENTS_DAYS", "89")
    with pytest.raises(ValidationError, match="greater than or equal to 90"):
        RulesSettings()
    monkeypatch.setenv("TCU_KEEP_INCIDENTS_DAYS", "90")
    assert RulesSettings().terms.rsa_incidents == timedelta(days=90)
