"""Heartbeats of the processes, and the election of one among many."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from db.pool import Connection
from db.statements import statements
from schemas.topics import LaneName

_SQL = statements("processes")

WORKER = "ingest"
STALE_AFTER = timedelta(seconds=15)
"""A process whose last beat is older is taken for dead."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it last reported: `figures` are its own measurements."""

    name: str
    started_at: datetime
    beat_at: datetime
    ready: bool
    figures: dict[str, Any]

    @property
    def kind(self) -> str:
        """What it is, as `ingest`."""
        return kind_of(self.name)

    @property
    def lanes(self) -> frozenset[LaneName]:
        """The lanes that a worker serves or stands by for; none of another process."""
        kind, _, lane = self.name.partition("@")[0].partition("-")
        if kind != WORKER:
            return frozenset()
        return frozenset(one for one in LaneName if lane in ("", one))


def kind_of(name: str) -> str:
    """Return what a process is: `ingest` of the name ingest@host:123 or ingest-bulk@host:123."""
    return name.partition("@")[0].partition("-")[0]


def worker_name(lanes: Sequence[LaneName], place: str) -> str:
    """Return the name of a worker: with its lane where it serves but one."""
    return f"{'-'.join([WORKER, *(lanes if len(lanes) == 1 else ())])}@{place}"


def beat(conn: Connection, process: Process) -> None:
    """Report that a process lives."""
    conn.execute(
        _SQL["beat"],
        {
            "name": process.name,
            "started_at": process.started_at,
            "beat_at": process.beat_at,
            "ready": process.ready,
            "figures": Jsonb(process.figures),
        },
    )


def list_all(conn: Connection) -> list[Process]:
    """Return the processes by name."""
    with conn.cursor(row_factory=class_row(Process)) as cursor:
        return cursor.execute(_SQL["list_all"]).fetchall()


def count_connections(conn: Connection) -> int:
    """Return how many clients are connected to this database."""
    row = conn.execute(_SQL["connections"]).fetchone()
    return int(row[0]) if row else 0


def try_lead(conn: Connection, role: str, *, frozen_after_s: int = 15) -> bool:
    """Become the one that leads in this role, until this connection ends; false while another does.

    The leader has to use the connection at least every `frozen_after_s`: the database ends it otherwise.
    """
    row = conn.execute(_SQL["try_lead"], {"role": role}).fetchone()
    leads = row is not None and bool(row[0])
    if leads:
        conn.execute(_SQL["end_when_frozen"], {"timeout": f"{frozen_after_s}s"})
    return leads


def still_leads(conn: Connection) -> None:
    """Use the connection that leads. Raises psycopg.OperationalError where it has ended, and the lead with it."""
    conn.execute(_SQL["still_leads"])
