"""Figures of the last hours, for whoever operates the system."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from db.pool import Connection
from db.processes import STALE_AFTER
from db.statements import statements

_SQL = statements("operations")


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured at an instant; `processes` holds the figures of each living process by its name."""

    sampled_at: datetime
    processes: dict[str, dict[str, Any]]
    connected_vehicles: int
    quarantined: int


def sample(conn: Connection, *, at: datetime) -> None:
    """Keep what the processes have measured."""
    conn.execute(_SQL["sample"], {"at": at, "alive_since": at - STALE_AFTER})


def samples(conn: Connection, *, since: datetime) -> list[Sample]:
    """Return what was measured since an instant, oldest first."""
    with conn.cursor(row_factory=class_row(Sample)) as cursor:
        return cursor.execute(_SQL["samples"], {"since": since}).fetchall()
