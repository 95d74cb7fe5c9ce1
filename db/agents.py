"""Counselors of the call center and whether they are free."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("agents")


@dataclass(frozen=True, slots=True)
class Agent:
    """A counselor; `changed_at` says since when the availability holds."""

    agent_id: str
    name: str
    extension: str | None
    availability: str
    changed_at: datetime


def put(conn: Connection, agent_id: str, *, name: str, extension: str | None = None) -> None:
    """Add a counselor, OFFLINE at first, or change the name of one."""
    conn.execute(_SQL["put"], {"agent_id": agent_id, "name": name, "extension": extension})


def get(conn: Connection, agent_id: str) -> Agent | None:
    """Return one counselor."""
    with conn.cursor(row_factory=class_row(Agent)) as cursor:
        return cursor.execute(_SQL["get"], {"agent_id": agent_id}).fetchone()


def list_all(conn: Connection) -> list[Agent]:
    """Return all counselors by id."""
    with conn.cursor(row_factory=class_row(Agent)) as cursor:
        return cursor.execute(_SQL["list_all"]).fetchall()


def longest_idle(conn: Connection) -> Agent | None:
    """Return the AVAILABLE counselor who has been so for longest. Needs the incidents' lock."""
    with conn.cursor(row_factory=class_row(Agent)) as cursor:
        return cursor.execute(_SQL["longest_idle"]).fetchone()


def set_availability(conn: Connection, agent_id: str, availability: str, *, at: datetime) -> None:
    """Note that a counselor is AVAILABLE, BUSY or OFFLINE from now on. Needs the incidents' lock."""
    conn.execute(_SQL["set_availability"], {"agent_id": agent_id, "availability": availability, "changed_at": at})


def count_on_duty(conn: Connection) -> int:
    """Return how many counselors are AVAILABLE or BUSY."""
    row = conn.execute(_SQL["count_on_duty"]).fetchone()
    return int(row[0]) if row else 0
