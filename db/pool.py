"""Connections: one of a worker's own, or a pool for an API process."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

Connection = psycopg.Connection[TupleRow]
Pool = ConnectionPool[Connection]
_Result = TypeVar("_Result")

ANSWER_WITHIN_S = 30
"""How long a statement may take; then the database ends it."""
PROMPT_WITHIN_S = 12
"""The same for those who ask little and must go on soon: the worker, whoever numbers or reads events, heartbeats."""
_GRACE_S = 3
"""What the answer may need longer than the statement; then the connection is taken for hung."""
_CHECK_WITHIN_S = 2
_TRIES_AGAIN_FOR_S = 2
"""Then the pool leaves it to the next request to try anew. It would try ever more seldom otherwise (1, 2, 4 … 128 s
later), and after an outage of two minutes have no connection for two more."""
# A client that dies inside a transaction must not hold the incidents' lock for long, nor one that has given up.
_SESSION = " ".join(
    f"-c {setting}"
    for setting in (
        "idle_in_transaction_session_timeout=15s",
        "lock_timeout=10s",
        "client_connection_check_interval=2s",
        "timezone=UTC",
    )
)
# A cut network without a reset is noticed after about 15 s instead of two hours.
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}


class Impatient(Connection):
    """A connection that ends itself where an answer does not come in time.

    The time-outs of TCP notice a peer that is gone. One that is frozen, or a proxy that no longer forwards, still
    acknowledges every packet, and the database's own time-outs are frozen with it.
    """

    answer_within_s: float = ANSWER_WITHIN_S + _GRACE_S

    def wait(self, gen: PQGen[_Result], interval: float = 0.1, timeout: float | None = None) -> _Result:
        """Do as psycopg does. Raises OperationalError, and the connection is closed, where it takes too long."""
        return super().wait(self._until_late(gen), interval, timeout)

    @contextmanager
    def asked_for(self, answer_within_s: float) -> Iterator[None]:
        """Wait for answers at most so long inside the block."""
        before, self.answer_within_s = self.answer_within_s, answer_within_s
        try:
            yield
        finally:
            self.answer_within_s = before

    def _until_late(self, gen: PQGen[_Result]) -> Generator[Any, Any, _Result]:
        late_s = time.monotonic() + self.answer_within_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > late_s:
                    # Closed here: a rollback would wait as long once more.
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the database did not answer within {self.answer_within_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            result: _Result = done.value
            return result


def connect(url: str, *, name: str, autocommit: bool = False, answer_within_s: float = ANSWER_WITHIN_S) -> Connection:
    """Open one connection, shown to operators under this application name. Raises psycopg.OperationalError."""
    conn = Impatient.connect(url, autocommit=autocommit, **_parameters(name, answer_within_s))
    conn.answer_within_s = answer_within_s + _GRACE_S
    return conn


def open_pool(url: str, *, name: str, max_size: int) -> Pool:
    """Open a pool whose connections are checked before use; a request waits at most 5 s for one."""
    pool: Any = ConnectionPool(
        url,
        connection_class=Impatient,
        kwargs=_parameters(name, ANSWER_WITHIN_S),
        min_size=2,
        max_size=max_size,
        timeout=5,
        reconnect_timeout=_TRIES_AGAIN_FOR_S,
        check=_check,
        open=False,
        name=name,
    )
    pool.open()
    opened: Pool = pool  # whoever uses a connection need not know that it is impatient
    return opened


class PoolUse(NamedTuple):
    """How many connections are in use, how many there may be, and how many requests wait for one."""

    in_use: int
    most: int
    waiting: int


def use_of(pool: Pool) -> PoolUse:
    """Return how much of a pool is in use now."""
    stats = pool.get_stats()
    in_use = stats["pool_size"] - stats["pool_available"]
    return PoolUse(in_use, stats["pool_max"], stats.get("requests_waiting", 0))


def _parameters(name: str, answer_within_s: float) -> dict[str, Any]:
    options = f"{_SESSION} -c statement_timeout={round(answer_within_s * 1000)}"
    return {"application_name": name, "options": options, "connect_timeout": 5, **_KEEPALIVE}


def _check(conn: Impatient) -> None:
    with conn.asked_for(_CHECK_WITHIN_S):
        ConnectionPool.check_connection(conn)
