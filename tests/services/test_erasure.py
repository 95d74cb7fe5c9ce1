"""A vehicle is erased beside whoever writes of it: they wait for each other, and never in a circle."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Thread
from uuid import uuid4

import pytest

from db import vehicles
from db.errors import DatabaseError
from db.pool import Connection, connect
from ingest import pipeline
from ingest.inbox import Received
from ingest.pipeline import store
from rules import erasure, jobs
from rules.apply import curfew
from schemas.base import format_instant
from schemas.curfew import CurfewExceptionRequest
from schemas.topics import Uplink, uplink_topic
from stack.server import wait_until
from tests.faults.fleet import ALL_DAY

VIN = "KMHSH81C7LU123456"
NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def car(conn: Connection) -> Connection:
    """A vehicle with a curfew."""
    conn.autocommit = True
    vehicles.register(conn, [VIN])
    curfew.set_policy(conn, VIN, ALL_DAY, actor="guardian", if_match=None, now=NOW)
    return conn


def begin_to_erase(database_url: str, conn: Connection) -> tuple[Thread, list[DatabaseError]]:
    """Erase the vehicle in a thread, and return once that waits for a lock."""
    failed: list[DatabaseError] = []

    def erase() -> None:
        try:
            with connect(database_url, name="erasure") as operator:
                erasure.erase(operator, VIN, now=NOW)
        except DatabaseError as error:
            failed.append(error)

    def waits() -> bool:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'erasure' AND wait_event_type = 'Lock'"
        ).fetchone()
        return row is not None and row[0] > 0

    thread = Thread(target=erase)
    thread.start()
    wait_until(waits, wait_s=5)
    return thread, failed


def check_erased(conn: Connection, thread: Thread, failed: list[DatabaseError]) -> None:
    thread.join()
    assert failed == []
    assert vehicles.get(conn, VIN) is None


@pytest.mark.parametrize("known", [True, False])
def test_a_car_that_starts_is_stored_and_then_erased(
    car: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    def message(kind: Uplink, **fields: object) -> Received:
        body = {"messageId": str(uuid4()), "timestamp": format_instant(NOW), **fields}
        return Received(uplink_topic(VIN, kind), json.dumps(body).encode(), NOW)

    if known:
        store(car, [message(Uplink.PRESENCE, online=False)], known_vins=set(), now=NOW)
    erasing: list[tuple[Thread, list[DatabaseError]]] = []
    judge = pipeline.judge_curfews

    def judge_late(*args: object, **options: object) -> None:
        erasing.append(begin_to_erase(database_url, car))
        judge(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "judge_curfews", judge_late)
    with connect(database_url, name="lane", autocommit=True) as lane:
        batch = [message(Uplink.PRESENCE, online=True), message(Uplink.ENGINE, event="START")]
        store(lane, batch, known_vins=set(), now=NOW)
    check_erased(car, *erasing[0])


def grant(conn: Connection) -> None:
    request = CurfewExceptionRequest(start_time=NOW, end_time=LATER, reason="x")
    curfew.grant_exception(conn, VIN, request, actor="guardian", now=NOW)


def cancel(conn: Connection) -> None:
    row = conn.execute("SELECT exception_number FROM curfew_exceptions").fetchone()
    assert row is not None
    curfew.cancel_exception(conn, VIN, row[0], now=NOW)


def announce(conn: Connection) -> None:
    jobs.announce_exceptions(conn, LATER)


def consent(conn: Connection) -> None:
    curfew.record_consent(conn, VIN, granted=True, actor="driver", at=NOW, now=NOW)


@pytest.mark.parametrize(("change", "released"), [(grant, False), (cancel, True), (announce, True), (consent, False)])
def test_what_is_changed_about_a_curfew_is_judged_and_then_erased(
    car: Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Connection], None],
    *,
    released: bool,
) -> None:
    if released:
        grant(car)
    erasing: list[tuple[Thread, list[DatabaseError]]] = []
    judge = curfew.judge

    def judge_late(*args: object, **options: object) -> None:
        if not erasing:
            erasing.append(begin_to_erase(database_url, car))
        judge(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(curfew, "judge", judge_late)
    with connect(database_url, name="guardian") as guardian:
        change(guardian)
        guardian.commit()
    check_erased(car, *erasing[0])
