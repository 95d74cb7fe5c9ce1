"""A database that no longer answers, though its host still acknowledges every packet, is noticed."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from db.pool import Connection, connect, open_pool
from stack.postgres import Postgres
from tests.faults.proxy import Proxy

OUTAGE_S = 7.8
"""psycopg's pool tries again after 1, 3, 7 and 15 s by itself: the next request would wait longer than its 5 s."""


@pytest.fixture
def way(postgres_server: Postgres) -> Iterator[Proxy]:
    """A way to the database that can be cut without a reset."""
    with Proxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def far_url(postgres_server: Postgres, database_url: str, way: Proxy) -> str:
    """The database over that way."""
    return database_url.replace(f":{postgres_server.port}/", f":{way.port}/")


def test_a_statement_whose_answer_does_not_come_fails_and_closes_the_connection(way: Proxy, far_url: str) -> None:
    conn = connect(far_url, name="tests", answer_within_s=0.2)
    conn.execute("SELECT 1")
    way.cut()
    began_s = time.monotonic()
    with pytest.raises(psycopg.OperationalError, match=r"did not answer within 3\.2 s"), conn.transaction():
        conn.execute("SELECT 1")
    assert 3 < time.monotonic() - began_s < 6  # no second wait for the rollback
    assert conn.closed


def test_a_copy_that_hangs_fails_too(way: Proxy, far_url: str) -> None:
    with connect(far_url, name="tests", autocommit=True, answer_within_s=0.2) as conn:
        conn.execute("CREATE TEMPORARY TABLE filled (line text)")
        way.cut()
        with pytest.raises(psycopg.OperationalError), conn.transaction():
            _fill(conn)
        assert conn.closed


def _fill(conn: Connection) -> None:
    """Copy more than fits into the buffers on the way."""
    with conn.cursor() as cursor, cursor.copy("COPY filled FROM STDIN") as copy:
        for _ in range(20):
            copy.write_row(["x" * 1_000_000])


def test_a_new_connection_is_given_up_after_its_time_out(way: Proxy, far_url: str) -> None:
    way.cut()
    began_s = time.monotonic()
    with pytest.raises(psycopg.OperationalError, match="timeout"):
        connect(far_url, name="tests")
    assert time.monotonic() - began_s < 10


def test_a_slow_answer_that_comes_in_time_is_waited_for(far_url: str) -> None:
    with connect(far_url, name="tests", answer_within_s=1) as conn:
        assert conn.execute("SELECT pg_sleep(0.5), 7").fetchone() == ("", 7)
        with pytest.raises(psycopg.errors.QueryCanceled):  # the database's own time-out comes first
            conn.execute("SELECT pg_sleep(5)")


def test_a_pool_passes_over_connections_that_hang(way: Proxy, far_url: str) -> None:
    with open_pool(far_url, name="tests", max_size=4) as pool:
        pool.wait()
        way.cut()
        with pytest.raises(psycopg.OperationalError), pool.connection(timeout=1):
            pass
        way.heal(forget=True)  # the old connections stay silent
        began_s = time.monotonic()
        with pool.connection(timeout=10) as conn:
            assert conn.execute("SELECT 7").fetchone() == (7,)
        assert time.monotonic() - began_s < 8


def test_after_an_outage_the_next_request_has_a_connection(postgres_server: Postgres, database_url: str) -> None:
    """However long it lasted: a pool that tries again ever more seldom would let it wait as long once more."""
    name = database_url.rpartition("/")[2]
    with open_pool(database_url, name="tests", max_size=2) as pool:
        pool.wait()
        with connect(postgres_server.url, name="tests", autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            until_s = time.monotonic() + OUTAGE_S
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            with pytest.raises(PoolTimeout), pool.connection():
                pass
            time.sleep(max(0.0, until_s - time.monotonic()))
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        with pool.connection() as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
