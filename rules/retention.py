"""How long each table keeps what was written, and the job that forgets what is older.

What is not named here stays until somebody takes it away: open incidents, violations, policies, consents, vehicles.
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from db import idempotency, retention
from db.pool import Connection
from rules.clock import JUDGED_BACK, LATE_MAX

TELEMETRY_LEAST = LATE_MAX + JUDGED_BACK
"""What a message that is as late as can be is judged from."""

REPLAY_SPAN = timedelta(days=7)
"""How far back `Last-Event-ID` reaches (design, section 6)."""

INCIDENTS_KEPT = timedelta(days=3 * 365)
"""An ended incident: for claims, complaints and bills. Figures stay (docs/privacy.md)."""

_BATCH = 2000
_BATCHES_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long rows are kept, by table; counted from when they were written, or from their end where they have one."""

    quarantine: timedelta = timedelta(days=30)
    webhook_deliveries: timedelta = timedelta(days=30)
    system_tests: timedelta = timedelta(days=90)
    sos_incidents: timedelta = INCIDENTS_KEPT
    rsa_incidents: timedelta = INCIDENTS_KEPT
    received_messages: timedelta = LATE_MAX + timedelta(days=1)
    second_deliveries: timedelta = timedelta(days=90)
    events: timedelta = REPLAY_SPAN
    idempotent_answers: timedelta = idempotency.KEPT
    operations_samples: timedelta = timedelta(days=1)
    request_counts: timedelta = timedelta(hours=1)
    stream_tickets: timedelta = timedelta(minutes=1)
    processes: timedelta = timedelta(hours=1)
    open_streams: timedelta = timedelta(hours=1)
    vehicle_status: timedelta = timedelta(days=90)
    engine_events: timedelta = timedelta(days=90)
    audit: timedelta = timedelta(days=365)


CHUNKED = ("vehicle_status", "engine_events", "audit")
"""Hypertables: dropped by whole chunks, so up to a chunk's interval later. Last, for somebody may be reading one."""


def prune(conn: Connection, now: datetime, *, terms: Terms) -> None:
    """Forget what is older than its term, in small transactions of its own: killed between two, the next run goes on.

    Of a table at most 20,000 rows a run, so that a long backlog neither fills the write-ahead log nor keeps the process
    from stopping. Raises psycopg.errors.LockNotAvailable where somebody reads a chunk that is due.
    """
    for field in fields(terms):
        before = now - getattr(terms, field.name)
        if field.name in CHUNKED:
            for end in retention.chunks_before(conn, field.name, before=before):
                retention.drop_chunks(conn, field.name, ending=end)
                conn.commit()
        else:
            for _ in range(_BATCHES_MOST):
                deleted = retention.delete_batch(conn, field.name, before=before, limit=_BATCH)
                conn.commit()
                if deleted < _BATCH:
                    break
