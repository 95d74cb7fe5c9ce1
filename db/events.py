"""The event outbox: append in the transaction that makes the change, number after the commit, read in that order."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Json

from db.pool import Connection
from db.statements import statements

_SQL = statements("events")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be written. `data` is the guide's `data` object in its wire spelling."""

    service: str
    type: str
    priority: str
    vin: str
    occurred_at: datetime
    data: dict[str, Any]
    cid: str | None = None
    partner: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event that has its number."""

    sequence: int
    service: str
    type: str
    priority: str
    vin: str
    cid: str | None
    partner: str | None
    occurred_at: datetime
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KnownRange:
    """The first and the last number that can still be read; None where there is none."""

    first: int | None
    last: int | None


def append(conn: Connection, event: NewEvent) -> None:
    """Write an event in the caller's transaction and wake the sequencer when that commits."""
    values = {name: getattr(event, name) for name in NewEvent.__slots__}
    conn.execute(_SQL["append"], values | {"data": Json(event.data)})


def sequence(conn: Connection, *, limit: int = 1000) -> int:
    """Number the committed events that have none, in one transaction, and return how many there were.

    Only the elected sequencer may call this: a second one would give the same numbers, and fail.
    """
    with conn.transaction():
        row = conn.execute(_SQL["last_sequence"]).fetchone()
        count = conn.execute(_SQL["sequence_batch"], {"last": row[0] if row else 0, "limit": limit}).rowcount
        if count:
            conn.execute(_SQL["notify_sequenced"])
    return count


def after(conn: Connection, sequence: int, *, limit: int) -> list[Event]:
    """Return the events that follow a number, in order."""
    with conn.cursor(row_factory=class_row(Event)) as cursor:
        return cursor.execute(_SQL["after"], {"sequence": sequence, "limit": limit}).fetchall()


def known_range(conn: Connection) -> KnownRange:
    """Return which numbers can still be read."""
    with conn.cursor(row_factory=class_row(KnownRange)) as cursor:
        return cursor.execute(_SQL["known_range"]).fetchall()[0]


def cursor(conn: Connection, reader: str) -> int | None:
    """Return how far this durable reader has come, or None where it never read."""
    row = conn.execute(_SQL["cursor"], {"reader": reader}).fetchone()
    return None if row is None else row[0]


def move_cursor(conn: Connection, reader: str, sequence: int) -> None:
    """Note how far this durable reader has come."""
    conn.execute(_SQL["move_cursor"], {"reader": reader, "sequence": sequence})


def listen(conn: Connection, channel: str) -> None:
    """Subscribe an autocommit connection to `events_appended` or `events_sequenced`."""
    if channel not in {"events_appended", "events_sequenced"}:
        raise ValueError(f"expected events_appended or events_sequenced, not {channel!r}")
    conn.execute(f"LISTEN {channel}".encode())


def wait(conn: Connection, *, timeout_s: float) -> None:
    """Sleep until something was notified, or the time is over: the wake-up only makes polling prompt."""
    notifications: Iterator[object] = conn.notifies(timeout=timeout_s, stop_after=1)
    for _ in notifications:
        pass
