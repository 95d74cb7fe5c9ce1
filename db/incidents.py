"""What SOS and RSA incidents share: the lock that orders their writers, and the ids they get."""

from dataclasses import dataclass
from datetime import UTC, datetime

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


def lock(conn: Connection) -> None:
    """Wait until no other transaction is opening or moving an incident; held until the caller's commit."""
    conn.execute(_SQL["lock"])


def mint(conn: Connection, *, prefix: str, separator: str, now: datetime) -> str:
    """Return the next id of the UTC day, as SOS_20260307_001; it grows past 999."""
    day = now.astimezone(UTC).date()
    row = conn.execute(_SQL["mint"], {"prefix": prefix, "day": day}).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING always returns
    return f"{prefix}{separator}{day:%Y%m%d}{separator}{row[0]:03d}"
