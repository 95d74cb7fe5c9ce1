"""A backlog of status messages, drained by a subscriber that only counts and by the product, bare and under curfews."""

import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import fleet
from benchmarks.servers import Servers, end, publish, subscriber_command, worker
from db import processes
from db.pool import connect

POLICIES = 100_000
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Drained:
    """Messages per second over the middle eight tenths of a backlog: starting and ending do not count."""

    name: str
    messages: int
    per_second: float


def ceiling(parts: Servers, count: int, *, seed: int) -> Drained:
    """Return how fast `mosquitto_sub` takes the backlog and throws it away."""
    subprocess.run(subscriber_command(parts, count=None), check=True)
    publish(parts, fleet.status_messages(count, seed=seed, ends_at=datetime.now(UTC)))
    began = time.monotonic()
    subprocess.run(subscriber_command(parts, count=count), check=True, stdout=subprocess.DEVNULL)
    return Drained("mosquitto_sub, only counting", count, count / (time.monotonic() - began))


def product(parts: Servers, count: int, *, seed: int, name: str, window: tuple[str, str] | None) -> Drained:
    """Return how fast the worker stores the backlog; with a window (UTC), under 100,000 policies that have it."""
    url = parts.new_database()
    if window is not None:
        add_policies(url, window)
    with TemporaryDirectory() as directory:
        log = Path(directory) / "ingest.log"
        first = worker(parts, url, log)
        _wait_ready(url)
        # Every vehicle is seen driving before the clock starts: a fleet does not start all its engines at once.
        publish(
            parts, fleet.status_messages(fleet.VEHICLES, seed=seed, ends_at=datetime.now(UTC) - timedelta(minutes=5))
        )
        _wait_stored(url, fleet.VEHICLES)
        end(first)
        publish(parts, fleet.status_messages(count, seed=seed + 1, ends_at=datetime.now(UTC)))
        again = worker(parts, url, log)
        begins, ends = fleet.VEHICLES + count // 10, fleet.VEHICLES + count * 9 // 10
        _, at_begin, stored_begin = _wait_stored(url, begins)
        _, at_end, stored_end = _wait_stored(url, ends)
        _wait_stored(url, fleet.VEHICLES + count)
        end(again)
    return Drained(name, count, (stored_end - stored_begin) / (at_end - at_begin))


def add_policies(url: str, window: tuple[str, str]) -> None:
    """Give 100,000 vehicles, the fleet among them, a policy every night and their drivers' consent, a month ago."""
    since = datetime.now(UTC) - timedelta(days=30)
    days = '["monday","tuesday","wednesday","thursday","friday","saturday","sunday"]'
    windows = f'[{{"days":{days},"start":"{window[0]}","end":"{window[1]}"}}]'
    with connect(url, name="bench") as conn:
        conn.execute(
            "INSERT INTO vehicles (vin) SELECT 'KMHFLEET' || lpad(n::text, 9, '0') FROM generate_series(1, %s) n",
            (POLICIES,),
        )
        conn.execute(
            "INSERT INTO curfew_policies (vin, valid_from, set_by, enabled, timezone, windows, actions)"
            " SELECT vin, %s, 'bench', true, 'UTC', %s::jsonb, '{notification}' FROM vehicles",
            (since, windows),
        )
        conn.execute(
            "INSERT INTO consents (vin, purpose, granted, effective_at, recorded_by)"
            " SELECT vin, 'CURFEW', true, %s, 'bench' FROM vehicles",
            (since,),
        )
        conn.execute("INSERT INTO curfew_watch (vin, judged_at) SELECT vin, %s FROM vehicles", (since,))
    with connect(url, name="bench", autocommit=True) as conn:
        conn.execute("ANALYZE")


def _wait_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with connect(url, name="bench") as conn:
            if any(p.ready for p in processes.list_all(conn)):
                return
        time.sleep(0.1)
    raise TimeoutError("the worker did not become ready")


def _wait_stored(url: str, rows: int) -> tuple[int, float, int]:
    """Return (rows asked for, when they were there, how many were)."""
    deadline = time.monotonic() + 300
    with connect(url, name="bench", autocommit=True) as conn:
        while time.monotonic() < deadline:
            row = conn.execute("SELECT count(*) FROM vehicle_status").fetchone()
            at = time.monotonic()
            if row is not None and row[0] >= rows:
                return rows, at, row[0]
            time.sleep(POLL_S)
    raise TimeoutError(f"fewer than {rows} rows after 300 s")
