"""Of two workers one holds the broker's sessions; the other takes them over when the first dies or hangs.

Each lane may have a process of its own.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from db.pool import Connection
from ingest.lease import Lease
from schemas.topics import LaneName, Uplink
from stack.broker import Broker
from stack.places import free_port
from stack.server import Server, wait_until
from tests.processes import CHECKOUT, end_sessions, is_ready, product_process, stands_by, worker_environment
from tests.tcu import Tcu

Connect = Callable[[str], Tcu]
VIN = "KMHSH81C7LU123456"


@pytest.fixture
def second(worker: Server, broker: Broker, pki_dir: Path, database_url: str, tmp_path: Path) -> Iterator[Server]:
    """A worker beside the first, which stands by: it has said so."""
    assert worker.pid
    environment = worker_environment(broker, pki_dir, database_url)
    other = product_process(
        "ingest", environment, log=tmp_path / "second.log", ready=lambda: stands_by(database_url, other.pid)
    )
    other.start()
    yield other
    other.stop()


def count(conn: Connection) -> int:
    conn.rollback()
    row = conn.execute("SELECT count(*) FROM engine_events").fetchone()
    assert row is not None
    return int(row[0])


def test_a_stand_by_takes_over_from_a_worker_that_dies(
    worker: Server, second: Server, tcu: Connect, conn: Connection, database_url: str
) -> None:
    vehicle = tcu(VIN)
    vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="START"))
    assert not is_ready(database_url, "ingest", second.pid)
    worker.kill()
    assert vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="STOP"))["result"] == "STORED"
    wait_until(lambda: is_ready(database_url, "ingest", second.pid), wait_s=10)
    assert count(conn) == 2


def test_a_stand_by_takes_over_from_a_worker_that_hangs_which_stands_down_when_it_wakes(
    worker: Server, second: Server, tcu: Connect, conn: Connection, database_url: str
) -> None:
    vehicle = tcu(VIN)
    vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="START"))
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        assert vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="STOP"))["result"] == "STORED"
        wait_until(lambda: is_ready(database_url, "ingest", second.pid), wait_s=10)
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    # Until it has asked for its lease it may take the session back, and end between storing and receipting.
    wait_until(lambda: stands_by(database_url, worker.pid), wait_s=20)
    wait_until(lambda: is_ready(database_url, "ingest", second.pid), wait_s=10)
    assert vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="START"))["result"] == "STORED"
    assert count(conn) == 3


HANGING = """
from threading import Event
import ingest.lane, ingest.worker
from ingest.probes import Readiness
from ingest.settings import WorkerSettings
from schemas.topics import LaneName

ingest.lane.store = lambda *_, **__: Event().wait()
ingest.lane.STUCK_AFTER_S, ingest.worker.STOPS_WITHIN_S = 1, 1
ingest.worker.run(WorkerSettings(), tuple(LaneName), Event(), Readiness())
"""
"""A worker that hangs in its first batch, and is as patient as a test can wait."""


def test_a_worker_that_hangs_in_a_batch_ends_and_the_next_one_stores_it(
    stopped_worker: Server, tcu: Connect, broker: Broker, pki_dir: Path, database_url: str
) -> None:
    environment = worker_environment(broker, pki_dir, database_url)
    hanging = subprocess.Popen(
        [sys.executable, "-c", HANGING], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_until(lambda: is_ready(database_url, "ingest", hanging.pid), wait_s=30)
        vehicle = tcu(VIN)
        sent = vehicle.send(Uplink.ENGINE, event="START")
        said, _ = hanging.communicate(timeout=60)
    finally:
        hanging.kill()
        hanging.wait()
    assert hanging.returncode == 1
    assert said.index(b"lane_does_not_move") < said.index(b"worker_does_not_stop")
    stopped_worker.start()
    assert vehicle.receipt_of(sent)["result"] == "STORED"


def test_one_at_a_time_has_the_lease_and_a_lost_connection_gives_it_to_the_next(database_url: str) -> None:
    first, next_ = (Lease(database_url, LaneName.URGENT) for _ in range(2))
    try:
        assert first.check() is True
        assert first.check() is True
        assert next_.check() is False
        first.give_up()
        wait_until(lambda: next_.check() is True, wait_s=10)  # the server ends a closed connection when it comes to it
        assert first.check() is False
    finally:
        first.give_up()
        next_.give_up()


def taken(conn: Connection, lease: Lease) -> bool:
    """Break the connections that hold leases, and tell whether this one is faster than the worker to take it."""
    conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ingest-lease'")
    return lease.check() is True


def test_who_loses_a_lease_no_longer_tells_how_its_lane_is(
    broker: Broker, pki_dir: Path, database_url: str, conn: Connection, tmp_path: Path
) -> None:
    port = free_port()
    environment = worker_environment(broker, pki_dir, database_url) | {"TCU_INGEST_BULK_METRICS_PORT": str(port)}

    def told() -> set[str]:
        lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
        return {line for line in lines if re.match(r"tcu_ingest_(leading|session_ready|reading_paused|lag)", line)}

    worker = product_process(
        "ingest-bulk",
        environment,
        log=tmp_path / "bulk.log",
        ready=lambda: is_ready(database_url, "ingest-bulk", worker.pid),
    )
    other = Lease(database_url, LaneName.BULK)
    worker.start()
    try:
        assert 'tcu_ingest_session_ready{lane="bulk"} 1.0' in told()
        wait_until(lambda: taken(conn, other), wait_s=10)
        # Who does not check a lease loses it again.
        stood_down = {'tcu_ingest_leading{lane="bulk"} 0.0'}
        wait_until(lambda: other.check() is True and told() == stood_down, wait_s=20)
    finally:
        other.give_up()
        worker.stop()
        end_sessions(broker, pki_dir)


def test_while_the_database_is_away_the_lease_is_nobody_elses() -> None:
    assert Lease("postgresql://nobody@127.0.0.1:1/none", LaneName.URGENT).check() is None


def test_each_lane_has_a_lease_of_its_own(database_url: str) -> None:
    *leases, another = (Lease(database_url, lane) for lane in (*LaneName, LaneName.URGENT))
    try:
        assert [lease.check() for lease in leases] == [True] * len(LaneName)
        assert another.check() is False
    finally:
        for lease in (*leases, another):
            lease.give_up()


@pytest.fixture
def lanes(broker: Broker, pki_dir: Path, database_url: str, tmp_path: Path) -> Iterator[dict[LaneName, Server]]:
    """A worker for each lane, ready."""
    environment = worker_environment(broker, pki_dir, database_url)
    started: dict[LaneName, Server] = {}

    def start(lane: LaneName) -> None:
        name = f"ingest-{lane}"
        started[lane] = product_process(
            name,
            environment,
            log=tmp_path / f"{name}.log",
            ready=lambda: is_ready(database_url, name, started[lane].pid),
        )
        started[lane].start()

    for lane in LaneName:
        start(lane)
    yield started
    for process in started.values():
        process.kill()
    end_sessions(broker, pki_dir)


def statuses(conn: Connection) -> int:
    conn.rollback()
    row = conn.execute("SELECT count(*) FROM vehicle_status").fetchone()
    assert row is not None
    return int(row[0])


def test_a_press_does_not_need_the_process_for_status_which_loses_nothing(
    lanes: dict[LaneName, Server], tcu: Connect, conn: Connection, database_url: str
) -> None:
    vehicle = tcu(VIN)
    vehicle.send(Uplink.STATUS)
    wait_until(lambda: statuses(conn) == 1, wait_s=10)
    bulk = lanes[LaneName.BULK]
    os.kill(bulk.pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            vehicle.send(Uplink.STATUS)
            assert vehicle.receipt_of(vehicle.send(Uplink.SOS))["result"] in {"STORED", "DUPLICATE"}
        assert statuses(conn) == 1
    finally:
        os.kill(bulk.pid, signal.SIGCONT)
    wait_until(lambda: statuses(conn) == 4, wait_s=20)
    bulk.kill()
    vehicle.send(Uplink.STATUS)
    vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="START"))
    assert is_ready(database_url, "ingest-urgent", lanes[LaneName.URGENT].pid)
    bulk.start()
    wait_until(lambda: statuses(conn) == 5, wait_s=20)


def test_a_worker_for_all_lanes_serves_the_one_whose_worker_dies(
    lanes: dict[LaneName, Server], tcu: Connect, broker: Broker, pki_dir: Path, database_url: str, tmp_path: Path
) -> None:
    def beaten() -> bool:
        return is_ready(database_url, "ingest", other.pid, ready=False)

    environment = worker_environment(broker, pki_dir, database_url)
    other = product_process("ingest", environment, log=tmp_path / "all.log", ready=beaten)
    other.start()
    try:
        vehicle = tcu(VIN)
        lanes[LaneName.URGENT].kill()
        assert vehicle.receipt_of(vehicle.send(Uplink.SOS))["result"] == "STORED"
        assert is_ready(database_url, "ingest-bulk", lanes[LaneName.BULK].pid)
    finally:
        other.kill()
