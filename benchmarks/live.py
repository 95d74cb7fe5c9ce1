"""How long a message takes: to its commit, an SOS to its receipt and to the call center's stream."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from threading import Event, Thread

import psycopg

from benchmarks import fleet
from benchmarks.drain import DRAINED_WITHIN_S, Say, add_policies
from benchmarks.measure import commits, peak_mib, percentile
from benchmarks.report import TIMES, Figure
from benchmarks.servers import TOKENS, Servers, wait_for, wait_ready
from benchmarks.wire import Client, Stream
from ingest.mqtt import Incoming
from schemas.demo import fleet_vin
from schemas.topics import Downlink, LaneName, Uplink, downlink_topic, uplink_topic

STATUS_PER_S = 2000
SOS_PER_S = 20
LIVE_S = 15
LOOKED_EVERY_S = 1.0
ALONE_S = 8
BACKLOGS = 3
MORE = 2
"""A backlog of twice the messages: 200,000 of 100,000."""
FEWER = 10
"""A backlog of engine events, which are stored and judged one by one: 10,000 of 100,000."""
VINS_EACH = 1000
FIRST_UNKNOWN = 50_000
"""Vehicles that the sample does not have: their first press raises an incident."""
ROUND_THE_CLOCK = ("00:00", "00:00")
STREAM = "/api/v1/safety/sos/events"


@dataclass(slots=True)
class Presses:
    """When presses went out and came back, in seconds since 1970; one press for each vehicle."""

    sent: dict[str, float] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    """VIN by message id."""
    receipted: dict[str, float] = field(default_factory=dict)

    def note(self, message: Incoming) -> None:
        """Take a receipt."""
        vin = self.ids.get(json.loads(message.payload)["messageId"])
        if vin is not None:
            self.receipted.setdefault(vin, time.time())


def run(parts: Servers, say: Say, *, messages: int, seed: int) -> list[Figure]:
    """Measure status and SOS at a steady rate, SOS alone, and SOS while a backlog of each other lane drains."""
    random = Random(seed)
    figures: list[Figure] = []
    url = parts.new_database()
    with parts.rules(url), parts.api(url) as port:
        with (
            parts.worker(url, LaneName.URGENT) as urgent,
            parts.worker(url, LaneName.ENGINE) as engine,
            parts.worker(url, LaneName.BULK) as bulk,
        ):
            for lane, worker in zip(LaneName, (urgent, engine, bulk), strict=True):
                wait_ready(url, f"ingest-{lane}", worker.pid)
            # A first press and a first status of each vehicle: what is prepared once is no latency.
            _offer(parts, port, random, seconds=2, status_per_s=STATUS_PER_S, first_vin=1)
            say("SOS alone")
            alone, alone_stream, _ = _offer(parts, port, random, seconds=ALONE_S, status_per_s=0, first_vin=1001)
            figures += _sos_figures("alone", alone, alone_stream, bar=100)
            say(f"{STATUS_PER_S:,} messages/s")
            beside, stream, published = _offer(
                parts, port, random, seconds=LIVE_S, status_per_s=STATUS_PER_S, first_vin=2001
            )
            wait_for(lambda: len(_committed(url, published)) == len(published), 30, "all status stored")
            committed = _committed(url, published)
            took = [committed[one] - at for one, at in published.items()]
            name = f"publish → commit at {STATUS_PER_S:,} messages/s"
            offered = len(published) / LIVE_S
            figures += [
                Figure("offered", offered, "messages/s"),
                Figure(f"{name}, p50", percentile(took, 50) * 1000, "ms"),
                Figure(f"{name}, p99", percentile(took, 99) * 1000, "ms", bar=20, at_most=True),
            ]
            figures += _sos_figures(f"at {STATUS_PER_S:,} messages/s", beside, stream)
            figures.append(Figure("peak memory of the worker for status, live", peak_mib(bulk.pid), "MiB"))
            figures.append(Figure("peak memory of the worker for presses, live", peak_mib(urgent.pid), "MiB"))
        first_vins = iter(range(3001, 100_000, VINS_EACH))
        for lane, table, count in (
            (LaneName.BULK, "vehicle_status", MORE * messages),
            (LaneName.ENGINE, "engine_events", messages // FEWER),
        ):
            what = "status messages" if lane is LaneName.BULK else "engine events inside a curfew"
            of = f"{count:,} {what} drain"
            during, stream = Presses(), dict[str, float]()
            for number in range(BACKLOGS):
                say(f"SOS while {of}, {number + 1} of {BACKLOGS}")
                pressed, seen = _beside_drain(
                    parts, url, port, lane, table, count=count, seed=seed + number, first_vin=next(first_vins)
                )
                during.sent |= pressed.sent
                during.receipted |= pressed.receipted
                stream |= seen
            figures += _sos_figures(f"while {of}", during, stream, bar=100)
            figures.append(
                Figure(
                    f"SOS publish → stream, p99: while {of} / alone",
                    percentile(_took(during, stream), 99) / percentile(_took(alone, alone_stream), 99),
                    TIMES,
                )
            )
    parts.forget_workers()
    return figures


def beside(
    parts: Servers, say: Say, url: str, what: str, work: Callable[[], AbstractContextManager[object]], *, seed: int
) -> list[Figure]:
    """Measure SOS alone and beside some work that is named so, on a database that may hold anything."""
    figures: list[Figure] = []
    random = Random(seed)
    with (
        parts.rules(url),
        parts.api(url) as port,
        parts.worker(url, LaneName.URGENT) as urgent,
    ):
        wait_ready(url, "ingest-urgent", urgent.pid)
        first_vins = iter(range(FIRST_UNKNOWN, 100_000, VINS_EACH))

        def offer(seconds: float) -> tuple[Presses, dict[str, float]]:
            presses, stream, _ = _offer(
                parts, port, random, seconds=seconds, status_per_s=0, first_vin=next(first_vins)
            )
            return presses, stream

        offer(1)
        say("SOS alone")
        figures += _sos_figures("alone", *offer(ALONE_S))
        say(f"SOS {what}")
        with work():
            figures += _sos_figures(what, *offer(LIVE_S), bar=100)
    parts.forget_workers()
    return figures


def _beside_drain(
    parts: Servers, url: str, port: int, lane: LaneName, table: str, *, count: int, seed: int, first_vin: int
) -> tuple[Presses, dict[str, float]]:
    """Press from the first batch of a backlog to its last row; return the presses, and when the stream told of each."""
    now = datetime.now(UTC)
    if lane is LaneName.BULK:
        backlog = fleet.traffic(count, seed=seed, ends_at=now)
        messages, rows = backlog.messages, backlog.rows
    else:  # of vehicles that may never drive: each event is judged; they press, too
        add_policies(url, ROUND_THE_CLOCK, first=first_vin, count=VINS_EACH)
        restricted = [fleet_vin(first_vin + number) for number in range(VINS_EACH)]
        messages, rows = fleet.engine_events(count, restricted, seed=seed, ends_at=now), count
    parts.queue(parts.session_id(lane), messages, kind=lane.kinds[0])
    parts.checkpoint()
    before, since = _rows(url, table), time.time()
    with parts.worker(url, LaneName.URGENT) as urgent:
        wait_ready(url, "ingest-urgent", urgent.pid)
        with parts.worker(url, lane), _draining(url, table, before + rows) as drained:
            wait_for(lambda: _rows(url, table) > before, 60, "the first batch")
            presses, stream, _ = _offer(
                parts,
                port,
                Random(seed),
                seconds=DRAINED_WITHIN_S,
                status_per_s=0,
                first_vin=first_vin,
                drained=drained,
            )
    if (stored := _rows(url, table) - before) != rows:
        raise AssertionError(f"expected {rows} rows of the backlog, found {stored}")
    last = max(at for at, _ in commits(url, since, table))
    presses.sent = {vin: at for vin, at in presses.sent.items() if at < last}
    return presses, stream


def _offer(
    parts: Servers,
    port: int,
    random: Random,
    *,
    seconds: float,
    status_per_s: int,
    first_vin: int,
    drained: Event | None = None,
) -> tuple[Presses, dict[str, float], dict[str, float]]:
    """Publish at a steady rate, an SOS from ever another vehicle in between, for so long or until all is drained.

    Returns the presses, when the stream first told of each vehicle, and when each status (message id) was published.
    """
    vins = fleet.vins()
    pressing = iter([fleet_vin(number) for number in range(first_vin, first_vin + int(seconds * SOS_PER_S) + 1)])
    presses, published = Presses(), dict[str, float]()
    filters = [downlink_topic("+", Downlink.RECEIPT)]
    with (
        Client(parts.plain_port, "bench-live", filters=filters, on_message=presses.note) as client,
        closing(Stream(port, STREAM, TOKENS[0])) as stream,
    ):
        began = time.monotonic()
        number = pressed = 0
        while (passed := time.monotonic() - began) < seconds:
            while number < passed * status_per_s:
                vin = vins[number % len(vins)]
                payload = fleet.status(random, datetime.now(UTC), round_=number // len(vins))
                # As sent: a sender that is late itself would count against the product otherwise, or for it.
                published[payload[14:50].decode()] = time.time()
                client.publish(uplink_topic(vin, Uplink.STATUS), payload)
                number += 1
            if pressed < passed * SOS_PER_S:
                vin = next(pressing)
                message_id, payload = fleet.sos(random, datetime.now(UTC))
                presses.ids[message_id] = vin
                presses.sent[vin] = time.time()
                client.publish(uplink_topic(vin, Uplink.SOS), payload)
                pressed += 1
            client.pump(0.0005 if status_per_s else 0.002, stream)
            if drained is not None and drained.is_set():
                break
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not presses.sent.keys() <= presses.receipted.keys() & stream.seen.keys():
            client.pump(0.01, stream)
    return presses, stream.seen, published


def _sos_figures(when: str, presses: Presses, streamed: dict[str, float], *, bar: float | None = None) -> list[Figure]:
    figures = [Figure(f"presses {when}", len(presses.sent), "")]
    for way, came, least in (("receipt", presses.receipted, None), ("stream", streamed, bar)):
        lost = presses.sent.keys() - came.keys()
        if lost:
            raise AssertionError(f"{when}: {len(lost)} of {len(presses.sent)} presses had no {way} within 10 s")
        took = [seconds * 1000 for seconds in _took(presses, came)]
        name = f"SOS publish → {way} {when}"
        figures.append(Figure(f"{name}, p50", percentile(took, 50), "ms"))
        figures.append(Figure(f"{name}, p99", percentile(took, 99), "ms", bar=least, at_most=True))
    return figures


@contextmanager
def _draining(url: str, table: str, rows: int) -> Iterator[Event]:
    """Give an event that is set once so many rows are stored; a thread of its own looks, so that no press waits."""
    drained, leaving = Event(), Event()

    def look() -> None:
        while not leaving.wait(LOOKED_EVERY_S):
            if _rows(url, table) >= rows:
                drained.set()
                return

    looking = Thread(target=look)
    looking.start()
    try:
        yield drained
    finally:
        leaving.set()
        looking.join()


def _took(presses: Presses, came: dict[str, float]) -> list[float]:
    return [came[vin] - at for vin, at in presses.sent.items()]


def _committed(url: str, published: dict[str, float]) -> dict[str, float]:
    with psycopg.connect(url) as conn:
        found = conn.execute(
            "SELECT message_id::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM vehicle_status"
        ).fetchall()
    return {one: at for one, at in found if one in published}


def _rows(url: str, table: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - names of ours
    return int(row[0]) if row else 0
