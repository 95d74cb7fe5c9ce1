"""The outbox: numbered after the commit, by one at a time, so that no reader skips an event."""

import os
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from db import events, processes, retention
from db.events import NewEvent
from db.pool import Connection, connect
from stack.server import Server, wait_until
from tests.processes import product_process, stands_by

WRITERS = 8
EVENTS_EACH = 60


def event(number: int) -> NewEvent:
    return NewEvent(
        service="SOS",
        type="SOS_UPDATED",
        priority="HIGH",
        vin="KMHSH81C7LU123456",
        occurred_at=datetime.now(UTC),
        data={"number": number},
    )


def write(url: str, writer: int) -> None:
    """Append events, one or a few a transaction, with pauses between appending and committing; some are rolled back."""
    random = Random(writer)
    numbers = iter(range(writer * EVENTS_EACH, (writer + 1) * EVENTS_EACH))
    with connect(url, name=f"writer-{writer}") as conn:
        for number in numbers:
            events.append(conn, event(-1))
            conn.rollback()
            events.append(conn, event(number))
            time.sleep(random.choice([0, 0, 0.001, 0.02]))
            conn.commit()


def read_until(url: str, count: int) -> list[events.Event]:
    seen: list[events.Event] = []
    with connect(url, name="reader", autocommit=True) as conn:
        events.listen(conn, "events_sequenced")
        deadline = time.monotonic() + 60
        while len(seen) < count and time.monotonic() < deadline:
            page = events.after(conn, seen[-1].sequence if seen else 0, limit=7)
            seen += page
            if not page:
                events.wait(conn, timeout_s=0.2)
    return seen


def test_a_reader_sees_each_event_of_eight_writers_once_and_in_order(database_url: str, sequencer: Server) -> None:
    assert sequencer.pid
    writers = [threading.Thread(target=write, args=(database_url, n)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    seen = read_until(database_url, WRITERS * EVENTS_EACH)
    for writer in writers:
        writer.join()
    assert [e.sequence for e in seen] == list(range(1, WRITERS * EVENTS_EACH + 1))
    assert sorted(e.data["number"] for e in seen) == list(range(WRITERS * EVENTS_EACH))


def test_a_stand_by_takes_over_when_the_elected_one_is_killed(
    database_url: str, conn: Connection, sequencer: Server, tmp_path: Path
) -> None:
    def leads(pid: int) -> bool:
        conn.rollback()
        return any(p.name.endswith(f":{pid}") and p.ready for p in processes.list_all(conn))

    def numbered() -> bool:
        conn.rollback()
        return conn.execute("SELECT count(*) FROM events WHERE sequence IS NULL").fetchone() == (0,)

    wait_until(lambda: leads(sequencer.pid), wait_s=15)
    stand_by = product_process(
        "rules", {"TCU_DATABASE_URL": database_url}, log=tmp_path / "stand_by.log", ready=lambda: True
    )
    stand_by.start()
    try:
        events.append(conn, event(1))
        conn.commit()
        wait_until(numbered, wait_s=15)
        wait_until(lambda: stands_by(database_url, stand_by.pid), wait_s=15)
        assert not leads(stand_by.pid)
        sequencer.kill()
        events.append(conn, event(2))
        conn.commit()
        wait_until(numbered, wait_s=15)
        wait_until(lambda: leads(stand_by.pid), wait_s=15)
    finally:
        stand_by.kill()
    assert [e.data["number"] for e in events.after(conn, 0, limit=10)] == [1, 2]


def test_a_stand_by_takes_over_when_the_elected_one_is_frozen(
    database_url: str, conn: Connection, sequencer: Server, tmp_path: Path
) -> None:
    def numbered(count: int) -> bool:
        conn.rollback()
        return len(events.after(conn, 0, limit=10)) == count

    stand_by = product_process(
        "rules", {"TCU_DATABASE_URL": database_url}, log=tmp_path / "stand_by.log", ready=lambda: True
    )
    events.append(conn, event(1))
    conn.commit()
    wait_until(lambda: numbered(1), wait_s=15)  # the first one leads
    stand_by.start()
    os.kill(sequencer.pid, signal.SIGSTOP)
    try:
        events.append(conn, event(2))
        conn.commit()
        wait_until(lambda: numbered(2), wait_s=40)
        os.kill(sequencer.pid, signal.SIGCONT)
        events.append(conn, event(3))
        conn.commit()
        wait_until(lambda: numbered(3), wait_s=15)
    finally:
        os.kill(sequencer.pid, signal.SIGCONT)
        stand_by.kill()
    assert [(e.sequence, e.data["number"]) for e in events.after(conn, 0, limit=10)] == [(1, 1), (2, 2), (3, 3)]


def test_pruning_keeps_the_newest_so_that_numbers_never_begin_again(conn: Connection) -> None:
    for number in range(3):
        events.append(conn, event(number))
    events.sequence(conn)
    assert retention.delete_batch(conn, "events", before=datetime(2100, 1, 1, tzinfo=UTC), limit=10) == 2
    events.append(conn, event(3))
    events.sequence(conn)
    assert [e.sequence for e in events.after(conn, 0, limit=10)] == [3, 4]


def test_a_channel_that_does_not_exist_is_refused(conn: Connection) -> None:
    with pytest.raises(ValueError, match="events_appended or events_sequenced"):
        events.listen(conn, "events; DROP TABLE events")
