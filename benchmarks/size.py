"""What storing a batch costs when 1, 10 and 50 million rows are there."""

import time
from datetime import UTC, datetime
from random import Random
from statistics import median

from benchmarks import fleet
from benchmarks.drain import Say
from benchmarks.history import fill_status
from benchmarks.measure import ratio
from benchmarks.report import TIMES, Figure
from benchmarks.servers import Servers
from db.pool import connect
from ingest.inbox import Received
from ingest.pipeline import store
from ingest.recent import RecentIds
from ingest.sights import EngineSeen
from schemas.topics import Uplink, uplink_topic

MILLIONS = (1, 10, 50)
BATCHES = 20
BATCH = 2000
ROUNDS = 4


def run(parts: Servers, say: Say, *, seed: int, fifty_million: bool) -> list[Figure]:
    """Fill a database for each size, then let the worker's batches take turns on them."""
    urls: dict[int, str] = {}
    for millions in MILLIONS if fifty_million else MILLIONS[:-1]:
        say(f"filling {millions} million rows")
        urls[millions] = parts.new_database()
        fill_status(urls[millions], millions * 1_000_000)
    rates: dict[int, list[float]] = {millions: [] for millions in urls}
    for round_ in range(ROUNDS + 1):
        for millions, url in urls.items():
            say(f"round {round_} of {ROUNDS}: {millions} million rows")
            parts.checkpoint()
            rate = _rate(url, seed + round_)
            if round_:  # the first warms the caches
                rates[millions].append(rate)
    figures = [
        Figure(f"with {millions} million rows", median(rates[millions]), "rows/s", tuple(rates[millions]))
        for millions in urls
    ]
    for millions in list(urls)[1:]:
        each = tuple(a / b for a, b in zip(rates[millions], rates[1], strict=True))
        figures.append(
            Figure(f"{millions} million / 1 million", ratio(rates[millions], rates[1]), TIMES, each, bar=0.8)
        )
    return figures


def _rate(url: str, seed: int) -> float:
    random = Random(seed)
    vins = fleet.vins()
    now = datetime.now(UTC)
    batches = [
        [
            Received(uplink_topic(vins[n % len(vins)], Uplink.STATUS), fleet.status(random, now), now)
            for n in range(BATCH)
        ]
        for _ in range(BATCHES)
    ]
    known: set[str] = set()
    engines: dict[str, EngineSeen] = {}
    recent = RecentIds()
    with connect(url, name="bench", autocommit=True) as conn:
        began = time.monotonic()
        for batch in batches:
            store(conn, batch, known_vins=known, engines=engines, recent=recent, now=datetime.now(UTC))
        return BATCHES * BATCH / (time.monotonic() - began)
