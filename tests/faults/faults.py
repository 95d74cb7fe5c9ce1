"""The faults, each a small function: what comes before its `yield` hurts the stand, what follows heals it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random

from schemas.topics import LaneName, Uplink
from stack.server import Server, process_runs, wait_until
from tests.faults.raw import RawVehicle
from tests.faults.stand import Disk, Stand
from tests.processes import end_sessions

SINCE_SAVE_S = 0.5
BROKEN_VIN = "KMHBRKN0000000001"
Fault = Callable[[Stand], AbstractContextManager[None]]


@contextmanager
def urgent_worker_killed(stand: Stand) -> Iterator[None]:
    """kill -9 of the worker for presses."""
    with _killed(stand.workers[LaneName.URGENT]):
        yield


@contextmanager
def engine_worker_killed(stand: Stand) -> Iterator[None]:
    """kill -9 of the worker for engine events."""
    with _killed(stand.workers[LaneName.ENGINE]):
        yield


@contextmanager
def bulk_worker_killed(stand: Stand) -> Iterator[None]:
    """kill -9 of the worker for status."""
    with _killed(stand.workers[LaneName.BULK]):
        yield


@contextmanager
def api_killed(stand: Stand) -> Iterator[None]:
    """kill -9 of the API."""
    with _killed(stand.api):
        yield


@contextmanager
def jobs_killed(stand: Stand) -> Iterator[None]:
    """kill -9 of the rules process, which numbers events and runs the jobs."""
    with _killed(stand.jobs):
        yield


@contextmanager
def broker_killed(stand: Stand) -> Iterator[None]:
    """kill -9 of the broker before its first save: sessions and all that it took are gone, PUBACK or not."""
    with _killed(stand.broker):
        yield


@contextmanager
def broker_killed_after_a_save(stand: Stand) -> Iterator[None]:
    """kill -9 of the broker a moment after a save: it begins with the sessions of then, and delivers again."""
    _save(stand)
    time.sleep(SINCE_SAVE_S)
    with _killed(stand.broker):
        yield


@contextmanager
def postgres_killed(stand: Stand) -> Iterator[None]:
    """kill -9 of PostgreSQL's postmaster; its backends notice and end."""
    stand.postgres.kill()
    yield
    stand.postgres.start()


@contextmanager
def postgres_stopped_at_once(stand: Stand) -> Iterator[None]:
    """PostgreSQL's immediate shutdown, as `pg_ctl stop -m immediate` does: recovery at the next start."""
    pid = stand.postgres.pid
    os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: not process_runs(pid), wait_s=10)
    stand.postgres.kill()  # only notes the end
    yield
    stand.postgres.start()


@contextmanager
def worker_backends_frozen(stand: Stand) -> Iterator[None]:
    """SIGSTOP of the backends that serve the workers: they hold their locks and say nothing."""
    with _frozen(_backends(stand, "ingest-%")):
        yield


@contextmanager
def api_backends_frozen(stand: Stand) -> Iterator[None]:
    """SIGSTOP of the backends that serve the API."""
    with _frozen(_backends(stand, "tcu-api%")):
        yield


@contextmanager
def urgent_worker_frozen(stand: Stand) -> Iterator[None]:
    """SIGSTOP of the worker for presses."""
    with _frozen([stand.workers[LaneName.URGENT].pid]):
        yield


@contextmanager
def engine_worker_frozen(stand: Stand) -> Iterator[None]:
    """SIGSTOP of the worker for engine events."""
    with _frozen([stand.workers[LaneName.ENGINE].pid]):
        yield


@contextmanager
def bulk_worker_frozen(stand: Stand) -> Iterator[None]:
    """SIGSTOP of the worker for status."""
    with _frozen([stand.workers[LaneName.BULK].pid]):
        yield


@contextmanager
def broker_cut_off(stand: Stand) -> Iterator[None]:
    """The network between worker and broker cut without a reset; later the same connections go on."""
    stand.broker_way.cut()
    yield
    stand.broker_way.heal()


@contextmanager
def broker_connections_forgotten(stand: Stand) -> Iterator[None]:
    """The same, and the old connections stay silent for ever: a firewall has lost its table."""
    stand.broker_way.cut()
    yield
    stand.broker_way.heal(forget=True)


@contextmanager
def database_cut_off(stand: Stand) -> Iterator[None]:
    """The network between all processes and the database cut without a reset; later the same connections go on."""
    stand.database_way.cut()
    yield
    stand.database_way.heal()


@contextmanager
def database_connections_forgotten(stand: Stand) -> Iterator[None]:
    """The same, and the old connections stay silent for ever."""
    stand.database_way.cut()
    yield
    stand.database_way.heal(forget=True)


@contextmanager
def database_away(stand: Stand) -> Iterator[None]:
    """PostgreSQL stopped in order, and started again."""
    stand.postgres.stop()
    yield
    stand.postgres.start()


def _backends(stand: Stand, named: str) -> list[int]:
    with stand.connect() as conn:
        rows = conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s AND datname = current_database()", (named,)
        )
        return [row[0] for row in rows]


@contextmanager
def database_disk_full(stand: Stand) -> Iterator[None]:
    """No room under the database: it refuses writes, or panics and can't come back before there is room."""
    with _full(stand.database_disk):
        yield
    _start_again(stand.postgres)


@contextmanager
def broker_disk_full(stand: Stand) -> Iterator[None]:
    """No room under the broker, which is then killed, comes back on the full disk and can't save."""
    with _full(stand.broker_disk):
        stand.broker.kill()
        stand.broker.start()
        _save(stand)
        yield
    _start_again(stand.broker)


@contextmanager
def sessions_stolen(stand: Stand) -> Iterator[None]:
    """Somebody with the workers' certificate ends their sessions by their ids: what waited there is gone."""
    end_sessions(stand.broker, stand.pki_dir)
    yield


@contextmanager
def garbage_sent(stand: Stand) -> Iterator[None]:
    """A broken unit sends random bytes on every topic that it may."""
    rng = Random()
    with RawVehicle(stand.broker, stand.pki_dir, BROKEN_VIN) as unit:
        for kind in (*Uplink, *Uplink):
            unit.publish(kind, rng.randbytes(rng.randrange(2000)))
    yield


@contextmanager
def _full(disk: Disk) -> Iterator[None]:
    assert disk.why_not is None, disk.why_not
    disk.fill()
    try:
        yield
    finally:
        disk.free()


def _save(stand: Stand) -> None:
    """Let the broker write its sessions now (mosquitto(8), SIGUSR1)."""
    os.kill(stand.broker.pid, signal.SIGUSR1)


def _start_again(server: Server) -> None:
    """Start a server that has ended by itself."""
    if not process_runs(server.pid):
        server.kill()  # only notes the end
        server.start()


@contextmanager
def _killed(server: Server) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def _frozen(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended by itself
