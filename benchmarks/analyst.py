"""What an analyst asks, how long it takes, and what it costs the ingestion beside it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from statistics import median
from threading import Event, Thread

import psycopg
from psycopg.errors import QueryCanceled

from benchmarks import cookbook, fleet, live
from benchmarks.drain import Say, product
from benchmarks.measure import ratio
from benchmarks.report import TIMES, Figure
from benchmarks.servers import Servers
from db import sample

TRIES = 3
MORE = 3
"""A backlog that takes some seconds: a query over everything takes many."""
SLOWEST = 0.8
"""So much of its rate ingestion must keep beside an analyst."""
ROWS_OF_A_VEHICLE = 587
"""In the sample, about."""
EVERYTHING = (
    "SELECT vin, count(*), avg(speed_kph), percentile_cont(0.5) WITHIN GROUP (ORDER BY battery_voltage)"
    " FROM status GROUP BY vin"
)


def run(parts: Servers, say: Say, *, rows: int) -> list[Figure]:
    """Ask the cookbook's questions as the analysts' login, with its bounds."""
    past = parts.new_database()
    say(f"filling {rows:,} rows")
    stored = _fill(past, rows)
    asked = parts.analysts(past)
    figures = [Figure("status messages that are asked", stored, "")]
    with psycopg.connect(asked, autocommit=True) as conn:
        for question in cookbook.questions():
            say(question.name)
            took = tuple(_took(conn, question.query) for _ in range(TRIES))
            figures.append(Figure(question.name, median(took), "s", took))
    parts.drop_database(past)
    return figures


def beside(parts: Servers, say: Say, *, messages: int, seed: int, rounds: int, rows: int) -> list[Figure]:
    """Drain a backlog alone and beside an analyst's query over everything, in turns; then press SOS so."""
    past = parts.new_database()
    say(f"filling {rows:,} rows")
    figures = [Figure("status messages that are asked", _fill(past, rows), "")]
    asked = parts.analysts(past)
    backlog = fleet.traffic(MORE * messages, seed=seed, ends_at=datetime.now(UTC))
    alone: list[float] = []
    beside: list[float] = []
    times: list[float] = []
    for round_ in range(1, rounds + 1):
        say(f"round {round_} of {rounds}: ingestion alone")
        alone.append(_drain(parts, backlog))
        say(f"round {round_} of {rounds}: ingestion beside a query over everything")
        with _asking(asked) as found:
            beside.append(_drain(parts, backlog))
        times += found
    presses = live.beside(parts, say, past, "beside a query over everything", lambda: _asking(asked), seed=seed)
    parts.drop_database(past)
    each = tuple(a / b for a, b in zip(beside, alone, strict=True))
    return [
        *figures,
        Figure("ingestion alone", median(alone), "messages/s", tuple(alone)),
        Figure("ingestion beside a query over everything", median(beside), "messages/s", tuple(beside)),
        Figure("beside / alone", ratio(beside, alone), TIMES, each, bar=SLOWEST),
        Figure("queries over everything that ended meanwhile", len(times), ""),
        *presses,
    ]


def _fill(url: str, rows: int) -> int:
    """Load the sample's week of so many vehicles that it has about so many rows, and return how many it has."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET synchronous_commit = off")
        conn.execute("SET work_mem = '512MB'")
        conn.execute("SET maintenance_work_mem = '512MB'")
        # The index is built at the end, in a tenth of the time.
        index = conn.execute("SELECT pg_get_indexdef('vehicle_status_latest'::regclass)").fetchone()
        if index is None:
            raise ValueError("expected the index vehicle_status_latest")
        conn.execute("DROP INDEX vehicle_status_latest")
        with conn.transaction():
            sample.load(conn, vehicles=max(sample.VEHICLES, rows // ROWS_OF_A_VEHICLE))
        conn.execute(str(index[0]).encode())
        conn.execute("VACUUM ANALYZE")
        row = conn.execute("SELECT count(*) FROM vehicle_status").fetchone()
    if row is None:
        raise ValueError("expected a count")
    return int(row[0])


def _drain(parts: Servers, backlog: fleet.Traffic) -> float:
    url = parts.new_database()
    try:
        return product(parts, url, backlog, tls=True).per_second
    finally:
        parts.drop_database(url)


@contextmanager
def _asking(url: str) -> Iterator[list[float]]:
    """Ask for everything again and again meanwhile, as one analyst; gives how long each took."""
    times: list[float] = []
    leaving = Event()

    def ask() -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            while not leaving.is_set():
                times.append(_took(conn, EVERYTHING))

    asking = Thread(target=ask)
    asking.start()
    try:
        yield times
    finally:
        leaving.set()
        asking.join()


def _took(conn: psycopg.Connection, question: str) -> float:
    """Return how many seconds an answer took; one that the role's time-out ends took that long."""
    began = time.monotonic()
    with suppress(QueryCanceled):
        conn.execute(question.encode()).fetchall()
    return time.monotonic() - began
