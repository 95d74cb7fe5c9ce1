"""How long nothing is stored when the worker dies, and when it hangs, while another stands by."""

import os
import signal
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from random import Random

import psycopg

from benchmarks import fleet
from benchmarks.drain import Say
from benchmarks.measure import commits
from benchmarks.report import Figure
from benchmarks.servers import Servers, wait_for, wait_ready
from benchmarks.wire import Client
from schemas.topics import LaneName, Uplink, uplink_topic

PER_S = 200
STEADY_S = 3
GIVEN_S = 12
BAR_S = 5


def run(parts: Servers, say: Say, *, seed: int) -> list[Figure]:
    """Measure both, and check that nothing is lost."""
    figures = []
    for how, name in ((signal.SIGKILL, "kill -9"), (signal.SIGSTOP, "SIGSTOP")):
        say(name)
        silence_s = _silence_s(parts, seed, how)
        figures.append(Figure(f"take-over after {name}, to the first commit", silence_s, "s", bar=BAR_S, at_most=True))
    return figures


def _silence_s(parts: Servers, seed: int, how: signal.Signals) -> float:
    url = parts.new_database()
    random = Random(seed)
    vins = fleet.vins()
    with ExitStack() as ended:
        first = ended.enter_context(parts.worker(url, LaneName.BULK))
        wait_ready(url, "ingest-bulk", first.pid)
        second = ended.enter_context(parts.worker(url, LaneName.BULK))
        wait_for(lambda: _reports(url, second.pid), 60, "the stand-by")
        client = ended.enter_context(Client(parts.plain_port, "bench-takeover"))
        began = time.monotonic()
        sent, struck_at = 0, 0.0
        while (passed := time.monotonic() - began) < STEADY_S + GIVEN_S:
            if not struck_at and passed > STEADY_S:
                struck_at = time.time()
                os.kill(first.pid, how)
            while sent < passed * PER_S:
                topic = uplink_topic(vins[sent % len(vins)], Uplink.STATUS)
                client.publish(topic, fleet.status(random, datetime.now(UTC)))
                sent += 1
            client.pump(0.005)
        if how is signal.SIGSTOP:
            first.kill()
        wait_for(lambda: sum(rows for _, rows in commits(url)) >= sent, 30, f"all {sent} messages stored")
    # What the first had sent to the database before it was struck may still be committed just after.
    after = sorted(at for at, _ in commits(url) if at > struck_at + 0.1)
    parts.drop_database(url)
    parts.forget_workers()
    return after[0] - struck_at


def _reports(url: str, pid: int) -> bool:
    with psycopg.connect(url) as conn:
        return (
            conn.execute("SELECT 1 FROM processes WHERE name LIKE %s", (f"ingest-bulk@%:{pid}",)).fetchone() is not None
        )
