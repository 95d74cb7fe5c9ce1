"""A backlog of status messages, drained by the product, by ceilings and by baselines, in turns."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import TypeVar

import psycopg

from benchmarks import baselines, fleet
from benchmarks.fleet import Traffic
from benchmarks.measure import drained, peak_mib, ratio, used
from benchmarks.report import TIMES, Figure
from benchmarks.servers import Servers, wait_for
from db.pool import connect
from ingest.inbox import Received
from ingest.pipeline import store
from schemas.demo import fleet_vin
from schemas.topics import LaneName

POLICIES = 100_000
POLL_S = 0.4
DRAINED_WITHIN_S = 300
ROW_BY_ROW_SHARE = 20
"""The beginner's program gets a small part of the backlog: it takes the time of all others together."""
STOCK_SHARE = 4
Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Drained:
    """Rows per second, CPU seconds per million rows, the worker's peak memory, and when the last row was committed."""

    per_second: float
    worker_cpu: float
    postgres_cpu: float
    broker_cpu: float
    peak_mib: float
    last_commit: float


class Wrong(AssertionError):
    """What is stored is not what was sent."""


def run(parts: Servers, say: Say, *, messages: int, seed: int, rounds: int) -> list[Figure]:
    """Measure each in turn, round by round."""
    now = datetime.now(UTC)
    say("generating")
    backlog = fleet.traffic(messages, seed=seed, ends_at=now)
    rate: dict[str, list[float]] = defaultdict(list)
    drains: dict[str, list[Drained]] = defaultdict(list)
    judged: dict[str, list[float]] = defaultdict(list)
    for round_ in range(1, rounds + 1):

        def tell(what: str, number: int = round_) -> None:
            say(f"round {number} of {rounds}: {what}")

        for tls, way in ((False, "plain"), (True, "TLS")):
            tell(f"mosquitto_sub, {way}")
            parts.checkpoint()
            rate[f"mosquitto_sub, {way}"].append(baselines.subscriber(parts, backlog.messages, tls=tls))
            tell(f"product, {way}")
            under = partial(under_curfews, parts, backlog=backlog, seed=seed, window=_by_day(now), tls=tls)
            drain, late = _with_database(parts, under)
            drains[way].append(drain)
            judged[f"by day, {way}"].append(late)
        tell("direct COPY")
        rate["direct COPY"].append(_with_database(parts, partial(baselines.direct_copy, messages=backlog.messages)))
        tell("row by row")
        few = backlog.messages[: messages // ROW_BY_ROW_SHARE]
        rate["row by row"].append(_with_database(parts, partial(baselines.row_by_row, parts, messages=few)))
        tell("aiomqtt")
        some = backlog.messages[: messages // STOCK_SHARE]
        rate["aiomqtt, batches"].append(_with_database(parts, partial(baselines.stock_batches, parts, messages=some)))
        tell("product, TLS, no policy")
        drains["no policy"].append(_with_database(parts, partial(product, parts, backlog=backlog, tls=True)))
        tell("product, TLS, inside the curfew")
        under = partial(under_curfews, parts, backlog=backlog, seed=seed, window=_inside(now), tls=True)
        drain, late = _with_database(parts, under)
        drains["night"].append(drain)
        judged["inside the curfew, TLS"].append(late)
    return _figures(rate, drains, judged)


def product(parts: Servers, url: str, backlog: Traffic, *, tls: bool) -> Drained:
    """Return how the worker drained the backlog into an empty database; what it stored is checked row by row."""
    parts.queue(parts.session_id(LaneName.BULK), backlog.messages)
    parts.checkpoint()
    since = time.time()
    with (
        parts.worker(url, LaneName.URGENT, tls=tls),
        parts.worker(url, LaneName.ENGINE, tls=tls),
        parts.worker(url, LaneName.BULK, tls=tls) as worker,
        psycopg.connect(url, autocommit=True) as conn,
    ):

        def count() -> int:
            return _count(conn, since)

        ids = (worker.pid, parts.postgres.pid, parts.broker.pid)
        wait_for(lambda: count() >= backlog.rows * 0.1 or worker.poll() is not None, DRAINED_WITHIN_S, "a tenth")
        rows_before, before = count(), used(*ids)
        rows_after, after = rows_before, before
        deadline = time.monotonic() + DRAINED_WITHIN_S
        while (rows := count()) < backlog.rows:
            rows_after, after = rows, used(*ids)
            if time.monotonic() > deadline or worker.poll() is not None:
                raise Wrong(f"of {backlog.rows} rows {rows} were stored; the worker's exit code is {worker.poll()}")
            time.sleep(POLL_S)
        if rows_after == rows_before:  # a small backlog is gone before the second look
            rows_after, after = rows, used(*ids)
        peak = peak_mib(worker.pid)
    _verify(url, backlog, since)
    of_million = 1e6 / max(1, rows_after - rows_before)
    per_second, last_commit = drained(url, since)
    parts.forget_workers()
    return Drained(
        per_second,
        (after.worker - before.worker) * of_million,
        (after.postgres - before.postgres) * of_million,
        (after.broker - before.broker) * of_million,
        peak,
        last_commit,
    )


def under_curfews(
    parts: Servers, url: str, backlog: Traffic, seed: int, window: tuple[str, str], *, tls: bool
) -> tuple[Drained, float]:
    """Return the same with the rules process, under 100,000 policies with this window (UTC), and seconds from the drain
    to the last judgement.

    Every vehicle was seen and judged before: a fleet does not start all its engines at once.
    """
    add_policies(url, window)
    with parts.rules(url):
        before = fleet.traffic(fleet.VEHICLES, seed=seed + 1, ends_at=datetime.now(UTC) - timedelta(minutes=5))
        seen_at = datetime.now(UTC)
        with connect(url, name="bench", autocommit=True) as conn:
            received = [Received(topic, payload, seen_at) for topic, payload in before.messages]
            store(conn, received, known_vins=set(), now=seen_at)
        _wait_judged(url)
        # Judged above are rows of their own, received before the drain began.
        drain = product(parts, url, backlog, tls=tls)
        return drain, max(0.0, _wait_judged(url) - drain.last_commit)


def add_policies(url: str, window: tuple[str, str], *, first: int = 1, count: int = POLICIES) -> None:
    """Give vehicles a policy every night and their drivers' consent, a month ago: 100,000, the fleet among them."""
    since = datetime.now(UTC) - timedelta(days=30)
    days = '["monday","tuesday","wednesday","thursday","friday","saturday","sunday"]'
    windows = f'[{{"days":{days},"start":"{window[0]}","end":"{window[1]}"}}]'
    with connect(url, name="bench") as conn:
        vins = [fleet_vin(number) for number in range(first, first + count)]
        conn.execute("INSERT INTO vehicles (vin) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (vins,))
        conn.execute(
            "INSERT INTO curfew_policies (vin, valid_from, set_by, enabled, timezone, windows, actions)"
            " SELECT unnest(%s::text[]), %s, 'bench', true, 'UTC', %s::jsonb, '{notification}'",
            (vins, since, windows),
        )
        conn.execute(
            "INSERT INTO consents (vin, purpose, granted, effective_at, recorded_by)"
            " SELECT unnest(%s::text[]), 'CURFEW', true, %s, 'bench'",
            (vins, since),
        )
        conn.execute("INSERT INTO curfew_watch (vin, judged_at) SELECT unnest(%s::text[]), %s", (vins, since))
    with connect(url, name="bench", autocommit=True) as conn:
        conn.execute("ANALYZE")


def _by_day(now: datetime) -> tuple[str, str]:
    return f"{now + timedelta(hours=6):%H:00}", f"{now + timedelta(hours=12):%H:00}"


def _inside(now: datetime) -> tuple[str, str]:
    return f"{now - timedelta(hours=2):%H:00}", f"{now + timedelta(hours=3):%H:00}"


def _with_database(parts: Servers, measure: Callable[[str], T]) -> T:
    url = parts.new_database()
    try:
        return measure(url)
    finally:
        parts.drop_database(url)


def _count(conn: psycopg.Connection, since: float) -> int:
    row = conn.execute("SELECT count(*) FROM vehicle_status WHERE received_at >= to_timestamp(%s)", (since,)).fetchone()
    return int(row[0]) if row else 0


def _verify(url: str, backlog: Traffic, since: float) -> None:
    """Raise Wrong unless each message is stored once, and the newest of each vehicle is its newest."""
    with psycopg.connect(url) as conn:
        rows = _count(conn, since)
        newest: dict[str, datetime] = dict(
            conn.execute(
                "SELECT vin, max(occurred_at) FROM vehicle_status WHERE received_at >= to_timestamp(%s) GROUP BY vin",
                (since,),
            ).fetchall()
        )
        quarantined = conn.execute("SELECT count(*) FROM quarantine").fetchone()
    if rows != backlog.rows:
        raise Wrong(f"expected {backlog.rows} rows, found {rows}")
    if newest != backlog.newest:
        wrong = sum(newest.get(vin) != at for vin, at in backlog.newest.items())
        raise Wrong(f"of {len(backlog.newest)} vehicles {wrong} have another newest status than was sent")
    if quarantined != (0,):
        raise Wrong(f"expected nothing in quarantine, found {quarantined}")


def _wait_judged(url: str) -> float:
    """Wait until no vehicle waits for its judgement, and return when the last was committed (seconds since 1970)."""
    with psycopg.connect(url, autocommit=True) as conn:

        def none_waits() -> bool:
            row = conn.execute("SELECT count(*) FROM curfew_watch WHERE unjudged_since IS NOT NULL").fetchone()
            return row == (0,)

        wait_for(none_waits, DRAINED_WITHIN_S, "the last judgement", every_s=POLL_S)
        row = conn.execute(
            "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 FROM curfew_watch"
        ).fetchone()
    if row is None:
        raise ValueError("expected one row of an aggregate")
    return float(row[0])


def _figures(
    rate: dict[str, list[float]], drains: dict[str, list[Drained]], judged: dict[str, list[float]]
) -> list[Figure]:
    speed = {name: [one.per_second for one in each] for name, each in drains.items()}
    plain, tls, bare, night = speed["plain"], speed["TLS"], speed["no policy"], speed["night"]
    figures = [Figure(name, median(each), "messages/s", tuple(each)) for name, each in rate.items()]
    for name, text in (
        ("plain", "product, plain"), ("TLS", "product, TLS"), ("night", "product, TLS, inside the curfew"),
        ("no policy", "product, TLS, no policy"),
    ):  # fmt: skip
        figures.append(Figure(text, median(speed[name]), "messages/s", tuple(speed[name])))

    def compared(name: str, measured: list[float], of: list[float], bar: float | None) -> Figure:
        return Figure(
            name, ratio(measured, of), TIMES, tuple(a / b for a, b in zip(measured, of, strict=True)), bar
        )  # fmt: skip

    figures += [
        compared("product / mosquitto_sub, plain", plain, rate["mosquitto_sub, plain"], 0.6),
        compared("product / mosquitto_sub, TLS", tls, rate["mosquitto_sub, TLS"], 0.6),
        compared("product / row by row, plain", plain, rate["row by row"], 40),
        compared("product / aiomqtt in batches, plain", plain, rate["aiomqtt, batches"], None),
        compared("product / direct COPY, plain", plain, rate["direct COPY"], 0.5),
        compared("mosquitto_sub / direct COPY, plain", rate["mosquitto_sub, plain"], rate["direct COPY"], None),
        compared("product, TLS / plain", tls, plain, 0.8),
        compared("by day / no policy", tls, bare, 0.8),
        compared("inside the curfew / no policy", night, bare, None),
        compared("inside the curfew / mosquitto_sub, TLS", night, rate["mosquitto_sub, TLS"], None),
    ]
    figures += [
        Figure(f"last judgement after the drain, {name}", max(each), "s", tuple(each)) for name, each in judged.items()
    ]
    of_tls = drains["TLS"]
    for name, values in (
        ("worker", [one.worker_cpu for one in of_tls]),
        ("PostgreSQL", [one.postgres_cpu for one in of_tls]),
        ("broker", [one.broker_cpu for one in of_tls]),
    ):
        figures.append(Figure(f"CPU of the {name}, TLS", median(values), "s per million messages", tuple(values)))
    peaks = tuple(one.peak_mib for each in drains.values() for one in each)
    figures.append(Figure("worker's peak memory", max(peaks), "MiB"))
    return figures
