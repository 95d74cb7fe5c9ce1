"""The API under load: what a screen reads, and an event to a thousand streams."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import psycopg

from benchmarks import fleet
from benchmarks.drain import Say
from benchmarks.history import fill_status
from benchmarks.measure import percentile
from benchmarks.report import Figure
from benchmarks.servers import CALLERS, TOKENS, Servers
from benchmarks.wire import request, vins_in
from db.pool import connect
from ingest.inbox import Received
from ingest.pipeline import store
from schemas.demo import fleet_vin
from schemas.topics import Uplink, uplink_topic

ROWS = 1_000_000
INCIDENTS = 500
VIOLATIONS = 100_000
READ_S = 5
STREAMS = 1000
EVENTS = 40
EVENT_EVERY_S = 0.4
SEEN_WITHIN_S = 30
_BASE = "/api/v1/safety"
_STREAM = f"{_BASE}/sos/events"


def run(parts: Servers, say: Say, *, seed: int) -> list[Figure]:
    """Measure reads by so many callers at once, then a thousand streams."""
    random = Random(seed)
    url = parts.new_database()
    say(f"filling {ROWS:,} rows")
    fill_status(url, ROWS)
    add_incidents(url, random, first=1, count=INCIDENTS)
    _add_violations(url)
    figures: list[Figure] = []
    with parts.rules(url), parts.api(url) as port:
        reads = {
            "latest status of a vehicle": [f"/api/v1/vehicles?vin={vin}" for vin in fleet.vins()],
            "list of open incidents": [f"{_BASE}/incidents"],
            "SOS incident of a vehicle": [f"{_BASE}/vehicles/{vin}/sos/status" for vin in fleet.vins(INCIDENTS)],
            "curfew violations of a vehicle": [
                f"/api/v1/childcare/vehicles/{vin}/curfew/violations" for vin in fleet.vins()
            ],
        }
        for name, paths in reads.items():
            say(name)
            took = asyncio.run(_read(port, paths))
            figures += [
                Figure(name, len(took) / READ_S, "requests/s"),
                Figure(f"{name}, p99", percentile(took, 99) * 1000, "ms"),
            ]
        say(f"{STREAMS:,} streams")
        took, missed = asyncio.run(_streams(port, url, random))
    parts.drop_database(url)
    name = f"commit → {STREAMS:,} streams"
    return [
        *figures,
        Figure(f"{name}, p50", percentile(took, 50), "s"),
        Figure(f"{name}, p99", percentile(took, 99), "s", bar=1, at_most=True),
        Figure(f"{name}, events that did not come", missed, "", bar=0, at_most=True),
    ]


async def _read(port: int, paths: Sequence[str]) -> list[float]:
    took: list[float] = []
    ends = time.monotonic() + READ_S

    async def call(caller: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = caller
        while time.monotonic() < ends:
            began = time.monotonic()
            writer.write(request(paths[number % len(paths)], TOKENS[caller]))
            await _answer(reader)
            took.append(time.monotonic() - began)
            number += CALLERS
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(call(caller) for caller in range(CALLERS)))
    return took


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise ConnectionError(f"expected 200: {head[:200]!r}")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    json.loads(await reader.readexactly(length))


async def _streams(port: int, url: str, random: Random) -> tuple[list[float], int]:
    """Return the seconds from the commit to each stream, for each event, and how many never came."""
    seen: list[dict[str, float]] = [{} for _ in range(STREAMS)]
    opened = asyncio.Semaphore(50)

    async def follow(mine: dict[str, float], ready: asyncio.Event) -> None:
        async with opened:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(_STREAM, TOKENS[0]))
            head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise ConnectionError(f"a stream was refused: {head[:200]!r}")
        ready.set()
        while line := await reader.readline():
            for vin in vins_in(line):
                mine.setdefault(vin, time.time())

    begun = [asyncio.Event() for _ in seen]
    followers = [asyncio.create_task(follow(mine, ready)) for mine, ready in zip(seen, begun, strict=True)]
    await asyncio.wait_for(asyncio.gather(*(ready.wait() for ready in begun)), 120)
    committed: dict[str, float] = {}
    for number in range(EVENTS):
        first = INCIDENTS + 1 + number
        committed |= await asyncio.to_thread(add_incidents, url, random, first=first, count=1)
        await asyncio.sleep(EVENT_EVERY_S)
    ends = time.monotonic() + SEEN_WITHIN_S
    while time.monotonic() < ends and not all(committed.keys() <= mine.keys() for mine in seen):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    broken = [task for task in followers if task.done() and not task.cancelled() and task.exception()]
    for task in followers:
        task.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    if broken:
        raise ConnectionError(f"{len(broken)} streams broke: {broken[0].exception()!r}")
    took = [mine[vin] - at for mine in seen for vin, at in committed.items() if vin in mine]
    return took, STREAMS * EVENTS - len(took)


def add_incidents(url: str, random: Random, *, first: int, count: int) -> dict[str, float]:
    """Let so many vehicles press SOS and return when each was committed, in seconds since 1970."""
    now = datetime.now(UTC)
    pressed = {fleet_vin(number): fleet.sos(random, now) for number in range(first, first + count)}
    batch = [Received(uplink_topic(vin, Uplink.SOS), payload, now) for vin, (_, payload) in pressed.items()]
    with connect(url, name="bench", autocommit=True) as conn:
        store(conn, batch, known_vins=set(), now=now)
        found = conn.execute(
            "SELECT vin, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM received_messages"
            " WHERE vin = ANY(%s) AND kind = 'sos'",
            (list(pressed),),
        ).fetchall()
    if len(found) != count:
        raise AssertionError(f"expected {count} presses, found {len(found)}")
    return {vin: float(at) for vin, at in found}


def _add_violations(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO curfew_violations"
            " (vin, started_at, ended_at, resolution, severity, detected_late, detected_at)"
            " SELECT 'KMHFLEET' || lpad((1 + n %% 2000)::text, 9, '0'), at, at + interval '20 minutes', 'ENGINE_STOP',"
            " 'MEDIUM', false, at FROM (SELECT n, now() - n * interval '20 seconds' AS at"
            " FROM generate_series(1, %s) n) s",
            (VIOLATIONS,),
        )
        conn.execute("ANALYZE")
