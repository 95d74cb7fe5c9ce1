"""Voice calls of incidents."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("calls")


@dataclass(frozen=True, slots=True)
class VoiceCall:
    """One attempt to talk; duration in seconds, battery in volts, both as the vehicle reported them."""

    session_id: str
    cid: str
    status: str
    started_at: datetime
    connected_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: int | None = None
    battery_voltage: float | None = None


def insert(conn: Connection, call: VoiceCall) -> bool:
    """Add a call; false where its session id is taken."""
    return conn.execute(_SQL["insert"], asdict(call)).fetchone() is not None


def update(conn: Connection, call: VoiceCall) -> None:
    """Save what changes during a call."""
    conn.execute(_SQL["update"], asdict(call))


def of_incident(conn: Connection, cid: str) -> list[VoiceCall]:
    """Return the calls of one incident, oldest first."""
    with conn.cursor(row_factory=class_row(VoiceCall)) as cursor:
        return cursor.execute(_SQL["of_incident"], {"cid": cid}).fetchall()


def of_incidents(conn: Connection, cids: Sequence[str]) -> dict[str, list[VoiceCall]]:
    """Return the calls of several incidents by cid, oldest first."""
    calls: dict[str, list[VoiceCall]] = {cid: [] for cid in cids}
    with conn.cursor(row_factory=class_row(VoiceCall)) as cursor:
        for call in cursor.execute(_SQL["of_incidents"], {"cids": list(cids)}):
            calls[call.cid].append(call)
    return calls


def count_active(conn: Connection) -> int:
    """Return how many calls are connected now."""
    row = conn.execute(_SQL["count_active"]).fetchone()
    return int(row[0]) if row else 0
