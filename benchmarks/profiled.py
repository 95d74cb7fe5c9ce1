"""Where the time of storing goes: a profile of `pipeline.store`, by groups of functions."""

import cProfile
import pstats
import time
from datetime import UTC, datetime

from benchmarks import fleet
from benchmarks.drain import Say
from benchmarks.report import TIMES, Figure
from benchmarks.servers import Servers
from db.pool import connect
from ingest.inbox import Received
from ingest.pipeline import store
from ingest.recent import RecentIds
from ingest.sights import EngineSeen

MESSAGES = 40_000
BATCH = 2000
GROUPS = {
    "waiting for PostgreSQL": ("connection.py:wait", "psycopg/waiting.py"),
    "rows into COPY": ("write_row", "copy", "psycopg/types", "_transformer"),
    "reading the message (decode, times, rows)": (
        "decode", "ingest/status.py", "clock.py", "schemas/", "fromisoformat", "datetime", "uuid",
    ),
    "noting for the curfew": ("sights.py", "curfew.py"),
    "the batch itself (pipeline, telemetry)": ("pipeline.py", "telemetry.py"),
    "the rest of psycopg": ("psycopg",),
}  # fmt: skip
"""A function belongs to the first group with a word of which its file or name has a part."""
REST = "everything else"


def run(parts: Servers, say: Say, *, seed: int) -> list[Figure]:
    """Return the share of each group in the time of storing, and how fast it was without the profiler."""
    backlog = fleet.traffic(MESSAGES, seed=seed, ends_at=datetime.now(UTC))
    say("without the profiler")
    bare = _store(parts, backlog.messages, None)
    say("with the profiler")
    profile = cProfile.Profile()
    slowed = _store(parts, backlog.messages, profile)
    shares = shares_of({place: row[2] for place, row in pstats.Stats(profile).stats.items()})  # type: ignore[attr-defined]
    figures = [Figure(name, share * 100, "% of the time") for name, share in shares.items()]
    return [
        *figures,
        Figure("one message without the profiler", bare / MESSAGES * 1e6, "µs"),
        Figure("slower by the profiler", slowed / bare, TIMES),
    ]


def shares_of(own_times: dict[tuple[str, int, str], float]) -> dict[str, float]:
    """Return the share of each group, largest first, of functions' own times by (file, line, name)."""
    seconds: dict[str, float] = {}
    for (file, _, name), own in own_times.items():
        group = group_of(file, name)
        seconds[group] = seconds.get(group, 0.0) + own
    total = sum(seconds.values())
    return {name: own / total for name, own in sorted(seconds.items(), key=lambda each: -each[1])}


def group_of(file: str, name: str) -> str:
    """Return the group of a function."""
    place = f"{file}:{name}"
    return next((group for group, words in GROUPS.items() if any(word in place for word in words)), REST)


def _store(parts: Servers, messages: list[fleet.Message], profile: cProfile.Profile | None) -> float:
    url = parts.new_database()
    now = datetime.now(UTC)
    received = [Received(topic, payload, now) for topic, payload in messages]
    known: set[str] = set()
    engines: dict[str, EngineSeen] = {}
    recent = RecentIds()
    with connect(url, name="bench", autocommit=True) as conn:
        store(conn, received[:BATCH], known_vins=known, engines=engines, recent=recent, now=now)
        began = time.monotonic()
        if profile is not None:
            profile.enable()
        for start in range(BATCH, len(received), BATCH):
            store(
                conn,
                received[start : start + BATCH],
                known_vins=known,
                engines=engines,
                recent=recent,
                now=datetime.now(UTC),
            )
        if profile is not None:
            profile.disable()
        took = time.monotonic() - began
    parts.drop_database(url)
    return took
