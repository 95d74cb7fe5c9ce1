"""Who did what to whose data."""

from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What somebody does; `request` is method and route, or a command of the operator's."""

    who: str
    role: str | None = None
    action: str
    request: str
    request_id: str | None = None
    vin: str | None = None
    cid: str | None = None
    agent_id: str | None = None
    partner: str | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """An entry as it was written; `label` and `prefix` name an API key."""

    at: datetime
    who: str
    label: str | None
    prefix: str | None
    role: str | None
    action: str
    request: str
    request_id: str | None
    vin: str | None
    cid: str | None
    agent_id: str | None
    partner: str | None


def append(conn: Connection, entry: Entry, *, only_reads: bool = False) -> None:
    """Note what the caller's transaction does: both or neither; one that only reads does not wait for the disk."""
    conn.execute(_SQL["append_reading" if only_reads else "append"], asdict(entry))


def latest(
    conn: Connection,
    *,
    since: datetime,
    limit: int,
    vin: str | None = None,
    cid: str | None = None,
    who: str | None = None,
) -> list[Noted]:
    """Return what was noted since then, newest first."""
    with conn.cursor(row_factory=class_row(Noted)) as cursor:
        values = {"since": since, "limit": limit, "vin": vin, "cid": cid, "who": who}
        return cursor.execute(_SQL["latest"], values).fetchall()
