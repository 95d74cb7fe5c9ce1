"""What an analyst asks, how long it takes, and what it costs the ingestion beside it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median
from threading import Event, Thread

import psycopg

from benchmarks import fleet
from benchmarks.drain import Say, product
from benchmarks.history import fill_status
from benchmarks.measure import ratio
from benchmarks.report import TIMES, Figure
from benchmarks.servers import Servers

ROWS = 2_000_000
TRIES = 3
QUESTIONS = {
    "latest position of every vehicle": "SELECT vin, occurred_at, latitude, longitude FROM vehicle_state",
    "track of one vehicle over a day": (
        "SELECT occurred_at, latitude, longitude, speed_kph FROM vehicle_status"
        " WHERE vin = 'KMHFLEET000000007' AND occurred_at > now() - interval '1 day' ORDER BY occurred_at"
    ),
    "vehicles and mean speed by quarter of an hour": (
        "SELECT time_bucket('15 minutes', occurred_at), count(DISTINCT vin), avg(speed_kph)"
        " FROM vehicle_status GROUP BY 1 ORDER BY 1"
    ),
    "distance driven by vehicle": (
        "SELECT vin, max(odometer_km) - min(odometer_km) FROM vehicle_status GROUP BY vin ORDER BY 2 DESC"
    ),
    "fault codes by frequency": (
        "SELECT code, count(*), count(DISTINCT vin) FROM vehicle_status, unnest(dtc_codes) code GROUP BY code"
    ),
}
EVERYTHING = (
    "SELECT vin, count(*), avg(speed_kph), percentile_cont(0.5) WITHIN GROUP (ORDER BY battery_voltage)"
    " FROM vehicle_status GROUP BY vin"
)


def run(parts: Servers, say: Say, *, messages: int, seed: int, rounds: int) -> list[Figure]:
    """Ask each question, then drain a backlog alone and beside a query over everything, in turns."""
    past = parts.new_database()
    say(f"filling {ROWS:,} rows")
    fill_status(past, ROWS)
    figures: list[Figure] = []
    with psycopg.connect(past, autocommit=True) as conn:
        for name, question in QUESTIONS.items():
            say(name)
            took = tuple(_took(conn, question) for _ in range(TRIES))
            figures.append(Figure(name, median(took), "s", took))
    backlog = fleet.traffic(messages, seed=seed, ends_at=datetime.now(UTC))
    alone: list[float] = []
    beside: list[float] = []
    asked = 0
    for round_ in range(1, rounds + 1):
        say(f"round {round_} of {rounds}: ingestion alone")
        alone.append(_drain(parts, backlog))
        say(f"round {round_} of {rounds}: ingestion beside a query over everything")
        with _asking(past) as times:
            beside.append(_drain(parts, backlog))
        asked += len(times)
    parts.drop_database(past)
    each = tuple(a / b for a, b in zip(beside, alone, strict=True))
    return [
        *figures,
        Figure("ingestion alone", median(alone), "messages/s", tuple(alone)),
        Figure("ingestion beside a query over everything", median(beside), "messages/s", tuple(beside)),
        Figure("beside / alone", ratio(beside, alone), TIMES, each),
        Figure("queries over everything that ended meanwhile", asked, ""),
    ]


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
    began = time.monotonic()
    conn.execute(question.encode()).fetchall()
    return time.monotonic() - began
