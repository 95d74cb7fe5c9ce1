"""What is measured: percentiles, ratios of alternating rounds, when rows were committed, and what processes used."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg

_TICKS = os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least value that at least so many percent of the values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("expected at least one value")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def ratio(measured: Sequence[float], of: Sequence[float]) -> float:
    """Return the median of the rounds' ratios: each divides what was measured one after the other."""
    return median(a / b for a, b in zip(measured, of, strict=True))


def commits(url: str, since: float = 0, table: str = "vehicle_status") -> list[tuple[float, int]]:
    """Return (when, rows) of each transaction that stored what was received from `since` on, in seconds since 1970."""
    transactions = f"SELECT xmin AS x, count(*) AS n FROM {table} WHERE received_at >= to_timestamp(%s) GROUP BY xmin"  # noqa: S608 - a name of ours
    query = f"SELECT extract(epoch FROM pg_xact_commit_timestamp(x))::float8, n FROM ({transactions}) s"  # noqa: S608 - likewise
    with psycopg.connect(url) as conn:
        return [(float(at), int(rows)) for at, rows in conn.execute(query.encode(), (since,))]


def drained(url: str, since: float) -> tuple[float, float]:
    """Return rows per second from the first message received after `since` to the last commit, and when that was.

    Nothing is left out: neither the first batch, which registers vehicles and makes chunks, nor the last.
    """
    with psycopg.connect(url) as conn:
        row = conn.execute(
            "SELECT extract(epoch FROM min(received_at))::float8 FROM vehicle_status"
            " WHERE received_at >= to_timestamp(%s)",
            (since,),
        ).fetchone()
    found = commits(url, since)
    if row is None or row[0] is None:
        raise ValueError("expected rows")
    last = max(at for at, _ in found)
    return sum(rows for _, rows in found) / (last - float(row[0])), last


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds so far."""

    worker: float
    postgres: float
    broker: float


def used(worker: int, postgres: int, broker: int) -> Used:
    """Return what these processes, by id, have used; PostgreSQL with all its children, ended ones too."""
    return Used(cpu_s(worker), cpu_s(postgres) + sum(cpu_s(child) for child in children(postgres)), cpu_s(broker))


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and of its children that have ended; 0 where it is gone (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS


def children(pid: int) -> list[int]:
    """Return the process ids of a process's living children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has held (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
