"""How much each caller asks for, over all api processes."""

from collections.abc import Sequence

from db.pool import Connection
from db.statements import statements

_SQL = statements("limits")


def count(conn: Connection, who: str, *, policy: str) -> tuple[int, float]:
    """Count one request; return how many the caller's present minute has, and in how many seconds it ends."""
    row = conn.execute(_SQL["count"], {"who": who, "policy": policy}).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING always returns
    return row[0], row[1]


def open_stream(conn: Connection, who: str, *, process: str, most: int) -> int | None:
    """Note an open stream and return its number, None where the caller has as many as it may."""
    conn.execute(_SQL["one_at_a_time"], {"who": who})
    row = conn.execute(_SQL["open_stream"], {"who": who, "process": process, "most": most}).fetchone()
    return None if row is None else int(row[0])


def close_streams(conn: Connection, stream_ids: Sequence[int]) -> None:
    """Forget streams that have ended."""
    conn.execute(_SQL["close_streams"], {"stream_ids": list(stream_ids)})


def forget_process(conn: Connection, process: str) -> None:
    """Forget the streams of a process that was."""
    conn.execute(_SQL["forget_process"], {"process": process})
