"""Dispatch companies."""

from dataclasses import dataclass

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("partners")


@dataclass(frozen=True, slots=True)
class Partner:
    """A dispatch company."""

    partner: str
    name: str
    phone: str | None


def put(conn: Connection, partner: str, *, name: str, phone: str | None = None) -> None:
    """Add a dispatch company or change its name."""
    conn.execute(_SQL["put"], {"partner": partner, "name": name, "phone": phone})


def get(conn: Connection, partner: str) -> Partner | None:
    """Return one dispatch company."""
    with conn.cursor(row_factory=class_row(Partner)) as cursor:
        return cursor.execute(_SQL["get"], {"partner": partner}).fetchone()


def list_all(conn: Connection) -> list[Partner]:
    """Return all dispatch companies by id."""
    with conn.cursor(row_factory=class_row(Partner)) as cursor:
        return cursor.execute(_SQL["list_all"]).fetchall()
