"""Tests of the whole path and what they measured."""

from datetime import datetime
from typing import Any

from psycopg.types.json import Json

from db.pool import Connection
from db.statements import statements

_SQL = statements("system_tests")


def try_begin(conn: Connection) -> bool:
    """Become the one who tests until the caller's commit; false while another does. Never waits."""
    row = conn.execute(_SQL["try_begin"]).fetchone()
    return row is not None and bool(row[0])


def store(
    conn: Connection,
    *,
    test_id: str,
    test_type: str,
    requested_by: str,
    cid: str | None,
    started_at: datetime,
    finished_at: datetime,
    result: str,
    answer: dict[str, Any],
) -> None:
    """Keep what a test was answered, as it is told."""
    conn.execute(
        _SQL["store"],
        {
            "test_id": test_id,
            "test_type": test_type,
            "requested_by": requested_by,
            "cid": cid,
            "started_at": started_at,
            "finished_at": finished_at,
            "result": result,
            "answer": Json(answer),
        },
    )
