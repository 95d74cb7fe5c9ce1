"""Connections: one of a worker's own, or a pool for an API process."""

from typing import Any

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

Connection = psycopg.Connection[TupleRow]
Pool = ConnectionPool[Connection]

# A client that dies inside a transaction must not hold the incidents' lock for long.
_SESSION = "-c idle_in_transaction_session_timeout=15s -c statement_timeout=30s -c lock_timeout=10s -c timezone=UTC"
# A cut network without a reset is noticed after about 15 s instead of two hours.
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}


def connect(url: str, *, name: str, autocommit: bool = False) -> Connection:
    """Open one connection, shown to operators under this application name. Raises psycopg.OperationalError."""
    kwargs: dict[str, Any] = {"application_name": name, "options": _SESSION, "connect_timeout": 5, **_KEEPALIVE}
    return psycopg.connect(url, autocommit=autocommit, **kwargs)


def open_pool(url: str, *, name: str, max_size: int) -> Pool:
    """Open a pool whose connections are checked before use; a request waits at most 5 s for one."""
    pool: Pool = ConnectionPool(
        url,
        kwargs={"application_name": name, "options": _SESSION, "connect_timeout": 5, **_KEEPALIVE},
        min_size=2,
        max_size=max_size,
        timeout=5,
        check=ConnectionPool.check_connection,
        open=False,
        name=name,
    )
    pool.open()
    return pool
