"""Answers kept for requests that are repeated under the same Idempotency-Key."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("idempotency")

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a request was answered; `fingerprint` is the hash of what it said."""

    fingerprint: bytes
    status: int
    media_type: str
    body: str


def try_begin(conn: Connection, request_hash: bytes) -> bool:
    """Become the one who answers this request until the caller's commit; false while another does. Never waits."""
    lock = int.from_bytes(request_hash[:8], signed=True)
    row = conn.execute(_SQL["try_begin"], {"lock": lock}).fetchone()
    return row is not None and bool(row[0])


def answer(conn: Connection, request_hash: bytes, *, now: datetime) -> KeptAnswer | None:
    """Return what this request was answered within the last 24 hours."""
    with conn.cursor(row_factory=class_row(KeptAnswer)) as cursor:
        return cursor.execute(_SQL["answer"], {"request_hash": request_hash, "since": now - KEPT}).fetchone()


def keep(conn: Connection, request_hash: bytes, answer: KeptAnswer, *, now: datetime) -> None:
    """Keep an answer in the transaction of its effect."""
    conn.execute(_SQL["keep"], asdict(answer) | {"request_hash": request_hash, "answered_at": now})
