"""What SOS and RSA incidents share: the lock that orders their writers, and the ids they get."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("incidents")


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of an incident's timeline, in the order written."""

    status: str
    occurred_at: datetime
    actor: str
    description: str


@dataclass(frozen=True, slots=True)
class Overview:
    """An incident of either service in one line. `kind` is an SOS's emergency type or an RSA's service type."""

    service: str
    cid: str
    vin: str
    status: str
    kind: str | None
    urgency: str | None
    priority: str | None
    occurred_at: datetime
    received_at: datetime
    latitude: float | None
    longitude: float | None
    address: str | None
    agent_id: str | None
    assigned_at: datetime | None
    connected_at: datetime | None
    dispatched_at: datetime | None
    partner: str | None
    estimated_arrival: datetime | None
    promised_arrival: datetime | None
    customer_name: str | None
    anomalies: list[str]
    updated_at: datetime


def lock(conn: Connection) -> None:
    """Wait until no other transaction is opening or moving an incident; held until the caller's commit."""
    conn.execute(_SQL["lock"])


def mint(conn: Connection, *, prefix: str, separator: str, now: datetime) -> str:
    """Return the next id of the UTC day, as SOS_20260307_001; it grows past 999."""
    day = now.astimezone(UTC).date()
    row = conn.execute(_SQL["mint"], {"prefix": prefix, "day": day}).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING always returns
    return f"{prefix}{separator}{day:%Y%m%d}{separator}{row[0]:03d}"


def unclosed(
    conn: Connection, *, vins: Sequence[str] | None, with_tests: bool, after: str, limit: int
) -> list[Overview]:
    """Return a page of what is not closed or cancelled, by cid, of these vehicles; of every vehicle for None."""
    values = {"vins": _list(vins), "with_tests": with_tests, "after": after, "limit": limit}
    with conn.cursor(row_factory=class_row(Overview)) as cursor:
        return cursor.execute(_SQL["unclosed"], values).fetchall()


def named(conn: Connection, cids: Sequence[str], *, vins: Sequence[str] | None, with_tests: bool) -> list[Overview]:
    """Return these incidents, whatever their status, by cid; those of other vehicles are left out."""
    values = {"cids": list(cids), "vins": _list(vins), "with_tests": with_tests}
    with conn.cursor(row_factory=class_row(Overview)) as cursor:
        return cursor.execute(_SQL["named"], values).fetchall()


def _list(vins: Sequence[str] | None) -> list[str] | None:
    return None if vins is None else list(vins)
