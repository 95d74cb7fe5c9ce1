"""Everything that is stored about a vehicle: found, handed out, and erased."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Json

from db.pool import Connection
from db.statements import statements

_SQL = statements("privacy")
_ERASE = statements("erasure")
_EXPORT = statements("export")

ERASED_TABLES = tuple(_ERASE)
"""In the order that foreign keys want."""

EXPORTED_TABLES = tuple(_EXPORT)

UNINDEXED = ("webhook_deliveries", "events", "idempotent_answers", "system_tests", "quarantine", "audit")
"""Searched as a whole for a vehicle: not while others wait for a lock."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A vehicle and what else leads to its people: its incidents, and the numbers that were given."""

    vin: str
    cids: list[str]
    phones: list[str]

    def values(self) -> dict[str, Any]:
        """Return this as the parameters of a statement; `words` are looked for in texts."""
        return {"vin": self.vin, "cids": self.cids, "words": [self.vin, *self.cids, *self.phones]}


def read_one_state(conn: Connection) -> None:
    """Let the transaction that begins see all tables as they are now, however long it reads."""
    conn.execute(_SQL["read_one_state"])
    take_time(conn)


def take_time(conn: Connection) -> None:
    """Let the statements of this connection take as long as they need."""
    conn.execute(_SQL["take_time"])


def subject(conn: Connection, vin: str) -> Subject:
    """Return what leads to this vehicle's data."""
    row = conn.execute(_SQL["subject"], {"vin": vin}).fetchone()
    cids, phones = row if row is not None else ([], [])
    return Subject(vin, cids, phones)


def unclosed(conn: Connection, vin: str) -> list[str]:
    """Return the vehicle's incidents that somebody still has to close."""
    return [row[0] for row in conn.execute(_SQL["unclosed"], {"vin": vin})]


def incidents_of_person(conn: Connection, *, phone: str | None, name: str | None) -> list[tuple[str, str]]:
    """Return the incidents, as (cid, VIN), of whoever has this number (digits only) or name."""
    rows = conn.execute(_SQL["incidents_of_person"], {"phone": phone, "name": name}).fetchall()
    return [(cid, vin) for cid, vin in rows]


def vehicles_of_person(conn: Connection, *, phone: str | None, name: str | None) -> list[str]:
    """Return the vehicles whose customer has this number (digits only) or name."""
    return [row[0] for row in conn.execute(_SQL["vehicles_of_person"], {"phone": phone, "name": name})]


def export(conn: Connection, table: str, subject: Subject) -> Iterator[dict[str, Any]]:
    """Give the subject's rows of a table one by one, without holding them all: read within one transaction."""
    with conn.cursor(name="export") as cursor:
        cursor.itersize = 500
        for (row,) in cursor.execute(_EXPORT[table], subject.values()):
            yield row


def erase_status(conn: Connection, vin: str) -> Iterator[int]:
    """Delete the vehicle's status a day at a time, and give how many rows each day had; the caller commits each."""
    row = conn.execute(_SQL["status_span"], {"vin": vin}).fetchone()
    since, last = row if row is not None else (None, None)
    while since is not None and since <= last:
        until = since + timedelta(days=1)
        yield conn.execute(_SQL["erase_status"], {"vin": vin, "since": since, "until": until}).rowcount
        since = until


def erase(conn: Connection, table: str, subject: Subject, *, now: datetime) -> int:
    """Take the subject out of one table, and return how many rows that was."""
    return conn.execute(_ERASE[table], subject.values() | {"now": now}).rowcount


def count_incidents(conn: Connection, vin: str) -> int:
    """Keep figures of the vehicle's incidents that name nobody, and return of how many."""
    return conn.execute(_SQL["count_incidents"], {"vin": vin}).rowcount


def keep_numbering(conn: Connection) -> None:
    """See to it that the next event's number follows the last one, even if that is deleted now."""
    conn.execute(_SQL["keep_numbering"])


def certify(
    conn: Connection, certificate_id: UUID, *, issued_at: datetime, subject_hash: bytes, report: dict[str, Any]
) -> None:
    """Keep what was done, in the transaction that does it."""
    conn.execute(
        _SQL["certify"],
        {
            "certificate_id": certificate_id,
            "issued_at": issued_at,
            "subject_hash": subject_hash,
            "report": Json(report),
        },
    )


def amend(conn: Connection, certificate_id: UUID, *, report: dict[str, Any]) -> None:
    """Replace what a certificate says, by what was done in the end."""
    conn.execute(_SQL["amend"], {"certificate_id": certificate_id, "report": Json(report)})
