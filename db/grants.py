"""What the subjects of tokens may do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("grants")


@dataclass(frozen=True, slots=True)
class Grant:
    """One role of a subject: with a vehicle, with every vehicle, or with none."""

    grant_id: int
    subject: str
    role: str
    vin: str | None
    every_vehicle: bool
    agent_id: str | None
    partner: str | None
    granted_at: datetime
    revoked_at: datetime | None


def add(
    conn: Connection,
    subject: str,
    *,
    role: str,
    vin: str | None = None,
    every_vehicle: bool = False,
    agent_id: str | None = None,
    partner: str | None = None,
    granted_at: datetime,
) -> int:
    """Store a grant and return its number; the same again changes nothing but whom it speaks for."""
    row = conn.execute(
        _SQL["add"],
        {
            "subject": subject,
            "role": role,
            "vin": vin,
            "every_vehicle": every_vehicle,
            "agent_id": agent_id,
            "partner": partner,
            "granted_at": granted_at,
        },
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING always returns
    return int(row[0])


def of_subjects(conn: Connection, subjects: Sequence[str]) -> list[Grant]:
    """Return what these subjects may do now, oldest first."""
    with conn.cursor(row_factory=class_row(Grant)) as cursor:
        return cursor.execute(_SQL["of_subjects"], {"subjects": list(subjects)}).fetchall()


def list_all(conn: Connection, *, subject: str | None = None) -> list[Grant]:
    """Return all grants, or those of one subject, by number; revoked ones too."""
    with conn.cursor(row_factory=class_row(Grant)) as cursor:
        return cursor.execute(_SQL["list_all"], {"subject": subject}).fetchall()


def revoke(conn: Connection, grant_id: int, *, at: datetime) -> bool:
    """End a grant; false where there is no such valid grant."""
    return conn.execute(_SQL["revoke"], {"grant_id": grant_id, "revoked_at": at}).fetchone() is not None
