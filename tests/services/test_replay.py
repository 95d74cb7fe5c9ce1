"""Replays from the quarantine: each by itself, in the order of locks that presses keep, and never for long."""

import json
import time
from datetime import UTC, datetime
from threading import Thread
from uuid import uuid4

import pytest

from db import curfew as db_curfew
from db import incidents, messages, telemetry, vehicles
from db.pool import Connection, connect
from ingest.inbox import Received
from ingest.pipeline import Outcome, store
from ingest.replay import replay
from rules.apply import curfew
from schemas.base import format_instant
from schemas.receipt import ReceiptResult
from schemas.topics import Uplink, uplink_topic
from stack.server import wait_until
from tests.faults.fleet import ALL_DAY

VIN, OTHER_VIN = "KMHSH81C7LU123456", "KMHSH81C7LU123457"
NOW = datetime.now(UTC)


def waits(conn: Connection) -> bool:
    """Whether the replay waits for a lock that somebody else holds."""
    row = conn.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'replay' AND wait_event_type = 'Lock'"
    ).fetchone()
    return row is not None and row[0] > 0


def ask_for(conn: Connection, kind: Uplink, *, vin: str = VIN, **fields: object) -> Received:
    """Quarantine a message that can be stored, and ask for its replay."""
    body = {"messageId": str(uuid4()), "timestamp": format_instant(NOW), **fields}
    received = Received(uplink_topic(vin, kind), json.dumps(body).encode(), NOW)
    quarantine(conn, received)
    conn.execute("UPDATE quarantine SET replay_requested_at = coalesce(replay_requested_at, now())")
    return received


def quarantine(conn: Connection, received: Received) -> None:
    topic, payload = received.topic, received.payload
    messages.quarantine(
        conn, topic=topic, payload=payload, vin=VIN, kind=None, reason="X", detail="", cid=None, received_at=NOW
    )


@pytest.fixture
def watched(conn: Connection) -> Connection:
    """Two vehicles with a curfew."""
    conn.autocommit = True
    vehicles.register(conn, [VIN, OTHER_VIN])
    for vin in (VIN, OTHER_VIN):
        curfew.set_policy(conn, vin, ALL_DAY, actor="guardian", if_match=None, now=NOW)
    return conn


def test_a_replay_holds_nothing_that_presses_want_while_it_waits_for_them(
    watched: Connection, database_url: str
) -> None:
    press_id = str(uuid4())
    press = {"messageId": press_id, "timestamp": format_instant(NOW)}
    store(
        watched, [Received(uplink_topic(VIN, Uplink.SOS), json.dumps(press).encode(), NOW)], known_vins=set(), now=NOW
    )
    engine = ask_for(watched, Uplink.ENGINE, event="START")
    ask_for(watched, Uplink.CALL, status="CONNECTED", requestMessageId=press_id)
    outcomes: list[list[Outcome]] = []
    with (
        connect(database_url, name="replay", autocommit=True) as operator,
        connect(database_url, name="tests") as urgent,
    ):
        incidents.lock(urgent)
        replaying = Thread(target=lambda: outcomes.append(replay(operator, now=NOW)))
        began_s = time.monotonic()
        replaying.start()
        wait_until(lambda: waits(watched), wait_s=5)
        urgent.execute("SET lock_timeout = '100ms'")
        db_curfew.lock_watches(urgent, [VIN])
        quarantine(urgent, engine)  # the same bytes once more
        replaying.join()
        assert time.monotonic() - began_s < 2
        urgent.rollback()
        assert outcomes == [[]]
        assert [one.result for one in replay(operator, now=NOW)] == [ReceiptResult.STORED] * 2


def test_what_is_replayed_stays_so_though_the_next_has_to_wait(watched: Connection, database_url: str) -> None:
    for vin in (VIN, OTHER_VIN):
        ask_for(watched, Uplink.ENGINE, vin=vin, event="START")
    with connect(database_url, name="tests") as other:
        db_curfew.lock_watch(other, OTHER_VIN)
        assert [(one.vin, one.result) for one in replay(watched, now=NOW)] == [(VIN, ReceiptResult.STORED)]
    assert [one.vin for one in replay(watched, now=NOW)] == [OTHER_VIN]
    assert replay(watched, now=NOW) == []


def test_a_round_ends_before_the_lease_does(watched: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.replay.MOST_S", 0.05)
    for _ in range(200):
        ask_for(watched, Uplink.STATUS)
    done = [len(replay(watched, now=NOW)) for _ in range(2)]
    assert all(0 < count < 200 for count in done)


def test_what_fails_by_an_error_of_ours_is_quarantined_again(
    watched: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a defect")

    ask_for(watched, Uplink.ENGINE, event="START")
    monkeypatch.setattr(telemetry, "store_engine_event", fail)
    assert [one.result for one in replay(watched, now=NOW)] == [ReceiptResult.QUARANTINED]
    (kept,) = messages.list_quarantine(watched, limit=10, offset=0, with_replayed=False)
    assert (kept.reason, kept.detail) == ("REFUSED_BY_DATABASE", "a defect")
