"""What a status message takes on disk and in files, what a fleet's month costs, and what memory an export takes."""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from benchmarks.drain import Say
from benchmarks.measure import peak_mib
from benchmarks.report import TIMES, Figure
from benchmarks.servers import Servers
from db import sample

SIZES = (341, 1704)
"""Vehicles of the sample: some 200,000 and a million messages."""
FLEET = 10_000
DAYS = 30
RATES = {
    "a message every 30 s, an hour a day": 120,
    "a message every 10 s, an hour a day": 360,
    "a message a minute, all day": 1440,
    "a message every 10 s, all day": 8640,
}
"""Messages a day of a vehicle."""
_GB = 1e9


def run(parts: Servers, say: Say, *, price_per_gb: float) -> list[Figure]:
    """Fill two tables, measure their bytes and their export, and reckon a month of a fleet from the larger."""
    figures: list[Figure] = []
    peaks: list[float] = []
    per_message = 0.0
    for vehicles in SIZES:
        url = parts.new_database()
        say(f"filling the week of {vehicles} vehicles")
        with psycopg.connect(url) as conn:
            sample.load(conn, vehicles=vehicles)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("VACUUM ANALYZE vehicle_status")
            rows, table, index = _sizes(conn)
        say(f"exporting {rows:,} messages")
        peak, exported = _export(url)
        peaks.append(peak)
        figures.append(Figure(f"an export of {rows:,} messages, memory at most", peak, "MiB"))
        if vehicles == SIZES[-1]:
            per_message = (table + index) / rows
            figures += [
                Figure("a message as rows only", table / rows, "bytes"),
                Figure("a message with its index", per_message, "bytes"),
                Figure("a message in the analysts' Parquet", exported / rows, "bytes"),
                *_compressed(url, rows),
            ]
        parts.drop_database(url)
    figures.append(
        Figure("memory of the larger export / of the smaller", peaks[1] / peaks[0], TIMES, bar=1.2, at_most=True)
    )
    for rate, messages in RATES.items():
        size = FLEET * messages * DAYS * per_message / _GB
        name = f"{FLEET:,} vehicles, {rate}: {DAYS} days kept"
        figures += [
            Figure(name, size, "GB"),
            Figure(f"{name}, at {price_per_gb:g} for a GB and month", size * price_per_gb, "a month"),
        ]
    return figures


def _sizes(conn: psycopg.Connection) -> tuple[int, int, int]:
    """Return rows, bytes of the table and bytes of its index."""
    row = conn.execute(
        "SELECT (SELECT count(*) FROM vehicle_status), table_bytes + toast_bytes, index_bytes"
        " FROM hypertable_detailed_size('vehicle_status')"
    ).fetchone()
    if row is None:
        raise ValueError("expected the size of vehicle_status")
    return int(row[0]), int(row[1]), int(row[2])


def _compressed(url: str, rows: int) -> list[Figure]:
    """Return the bytes of a message once its chunk is compressed; nothing where the edition can't."""
    with psycopg.connect(url, autocommit=True) as conn:
        edition = conn.execute("SHOW timescaledb.license").fetchone()
        if edition != ("timescale",):
            return []
        conn.execute(
            "ALTER TABLE vehicle_status SET (timescaledb.compress, timescaledb.compress_segmentby = 'vin',"
            " timescaledb.compress_orderby = 'occurred_at DESC')"
        )
        conn.execute("SELECT compress_chunk(c) FROM show_chunks('vehicle_status') c").fetchall()
        _, table, index = _sizes(conn)
    return [Figure("a message in a compressed chunk", (table + index) / rows, "bytes")]


def _export(url: str) -> tuple[float, int]:
    """Return the most memory in MiB that `tcu export` takes for the sample's status, and the bytes of its files."""
    with TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "admin", "export", directory, "--since", "2026-03-01", "--until", "2026-03-09"]
        environment = {**os.environ, "TCU_DATABASE_URL": url}
        process = subprocess.Popen([*command, "--view", "status"], env=environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        peak = 0.0
        while process.poll() is None:
            try:
                peak = max(peak, peak_mib(process.pid))
            except (StopIteration, FileNotFoundError, ProcessLookupError):
                break  # it ends
            time.sleep(0.02)
        if process.wait():
            raise ValueError(f"tcu export ended with {process.returncode}")
        return peak, sum(file.stat().st_size for file in Path(directory).rglob("*.parquet"))
