"""The whole product on servers of its own, as the fault tests hurt it: each part can be ended, frozen and cut off."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx

from db import agents, keys, partners
from db.errors import DatabaseError
from db.migrate import migrate
from db.pool import Connection, connect
from db.processes import list_all
from mosquitto import pki
from schemas.access import Role
from schemas.topics import LaneName
from stack.broker import Broker, start_mosquitto
from stack.places import free_port, temporary_state
from stack.postgres import OWNER, Postgres, start_postgres
from stack.server import Server, tail, wait_until
from tests.faults.proxy import Proxy
from tests.processes import product_process, worker_environment

OPERATOR = "sk_operator_of_the_fault_stand"
KEY_SECRET = "the secret of the fault stand, long enough"
DRAINED_LAG_S = 1.0
BACK_WITHIN_S = 60
"""Long after anybody should be ready again; how long it took is measured by whoever wants to know."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Where a server keeps its things; `why_not` says why it can't be filled: it is everybody's."""

    path: Path
    why_not: str | None

    def fill(self) -> None:
        """Take all room that is left."""
        with (self.path / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(64 * 1024))

    def free(self) -> None:
        """Give the room back."""
        (self.path / "filler").unlink()


@dataclass(frozen=True, slots=True)
class Servers:
    """A database cluster and a broker of the stand's own, and the authority of both."""

    postgres: Postgres
    broker: Broker
    pki_dir: Path
    database_disk: Disk
    broker_disk: Disk


@dataclass(frozen=True, slots=True)
class Stand:
    """Servers, processes and the two ways between them; `database_url` leads past the cut ways.

    There is a worker for each lane, as in the stack.
    """

    postgres: Postgres
    broker: Broker
    pki_dir: Path
    database_disk: Disk
    broker_disk: Disk
    database_url: str
    database_way: Proxy
    broker_way: Proxy
    workers: Mapping[LaneName, Server]
    jobs: Server
    api: Server
    api_url: str
    worker_urls: Mapping[LaneName, str]
    logs: Path

    def connect(self, *, autocommit: bool = True) -> Connection:
        """Return a connection of the test's own."""
        return connect(self.database_url, name="faults", autocommit=autocommit)

    def wait_ready(self, since: datetime) -> dict[str, float]:
        """Return how many seconds after `since` each process said that it is ready, counting what was said later.

        Raises TimeoutError where one of them does not.
        """
        took: dict[str, float] = {}

        def all_ready() -> bool:
            for name, ready in self.checks(since).items():
                if name not in took and ready():
                    took[name] = round((datetime.now(UTC) - since).total_seconds(), 2)
            return len(took) == len(self.checks(since))

        try:
            wait_until(all_ready, wait_s=BACK_WITHIN_S)
        except TimeoutError as error:
            told = [self.readyz(url) for url in (self.api_url, *self.worker_urls.values())]
            names = ("api", "rules", *(f"ingest-{lane}" for lane in self.workers))
            ends = [tail(self.logs / f"{name}.log", 8) for name in names]
            raise TimeoutError(
                "\n".join([f"ready again within {BACK_WITHIN_S} s: {took or 'none'}; /readyz: {told}", *ends])
            ) from error
        return took

    def checks(self, since: datetime) -> dict[str, Callable[[], bool]]:
        """Return how to ask each process whether it is ready, the workers by their lanes."""
        asked = {"rules": self.jobs, **{f"ingest-{lane}": worker for lane, worker in self.workers.items()}}
        return {
            "api": lambda: self.readyz()[0] == httpx.codes.OK,
            **{name: partial(self._said_ready, name, process, since) for name, process in asked.items()},
        }

    def readyz(self, url: str | None = None) -> tuple[int, list[str]]:
        """Return the status and the reasons of /readyz, the API's by default; 0 where it does not answer."""
        try:
            answer = httpx.get(f"{url or self.api_url}/readyz", timeout=10)
        except httpx.HTTPError:
            return 0, []
        return answer.status_code, answer.json()["reasons"]

    def drained(self, since: datetime) -> bool:
        """Tell whether all workers have said since then that nothing waits for them."""
        try:
            with self.connect() as conn:
                said = list_all(conn)
        except DatabaseError:
            return False
        idle = [
            p.name
            for p in said
            if p.beat_at > since
            and 0 in [p.figures.get(f"{lane}_waiting") for lane in p.lanes]
            and p.figures.get("lag_s", DRAINED_LAG_S) < DRAINED_LAG_S
        ]
        return all(any(name.endswith(f":{one.pid}") for name in idle) for one in self.workers.values())

    def _said_ready(self, name: str, process: Server, since: datetime) -> bool:
        try:
            with self.connect() as conn:
                return any(
                    p.name.startswith(f"{name}@") and p.name.endswith(f":{process.pid}") and p.ready
                    and p.beat_at > since
                    for p in list_all(conn)
                )  # fmt: skip
        except DatabaseError:
            return False


@contextmanager
def stand(servers: Servers, logs: Path) -> Iterator[Stand]:
    """Give the product on these servers, ready, in a database of its own; its processes are ended afterwards."""
    postgres, broker, pki_dir = servers.postgres, servers.broker, servers.pki_dir
    database_url = _new_database(postgres)
    _seed(database_url)
    ports: list[int] = []
    for _ in ("api", *LaneName):
        ports.append(free_port(frozenset(ports)))
    api_port, *probes = ports
    probes_ports = dict(zip(LaneName, probes, strict=True))
    with Proxy(postgres.port) as database_way, Proxy(broker.services_port) as broker_way, ExitStack() as ended:
        way = database_url.replace(f":{postgres.port}/", f":{database_way.port}/")
        workers = worker_environment(broker, pki_dir, way) | {
            "TCU_MQTT_SERVICES_PORT": str(broker_way.port),
            "TCU_INGEST_METRICS_PORT": str(probes_ports[LaneName.URGENT]),
            "TCU_INGEST_ENGINE_METRICS_PORT": str(probes_ports[LaneName.ENGINE]),
            "TCU_INGEST_BULK_METRICS_PORT": str(probes_ports[LaneName.BULK]),
        }
        environments = {
            **{f"ingest-{lane}": workers for lane in LaneName},
            "rules": {"TCU_DATABASE_URL": way},
            "api": {
                "TCU_DATABASE_URL": way,
                "TCU_KEY_SECRET": KEY_SECRET,
                "TCU_API_PORT": str(api_port),
                "TCU_ENVIRONMENT": "demo",
            },
        }
        # Whether one is ready is asked of the whole stand: after some faults the database is not there to tell.
        processes = {
            name: product_process(name, environment, log=logs / f"{name}.log", ready=lambda: True)
            for name, environment in environments.items()
        }
        parts = Stand(
            postgres=postgres,
            broker=broker,
            pki_dir=pki_dir,
            database_disk=servers.database_disk,
            broker_disk=servers.broker_disk,
            database_url=database_url,
            database_way=database_way,
            broker_way=broker_way,
            workers={lane: processes[f"ingest-{lane}"] for lane in LaneName},
            jobs=processes["rules"],
            api=processes["api"],
            api_url=f"http://127.0.0.1:{api_port}",
            worker_urls={lane: f"http://127.0.0.1:{port}" for lane, port in probes_ports.items()},
            logs=logs,
        )
        began = datetime.now(UTC)
        for process in processes.values():
            ended.callback(process.kill)
            process.start()
        parts.wait_ready(began)
        yield parts


@contextmanager
def own_servers(disk_mb: int) -> Iterator[Servers]:
    """Give a database cluster, a broker and their authority, each on a small disk where we may mount one."""
    with temporary_state() as pki_dir, ExitStack() as ended:
        pki.issue_server(pki_dir)
        pki.issue_service(pki_dir, "ingest")
        database_disk, broker_disk = (ended.enter_context(_small_disk(disk_mb)) for _ in range(2))
        # A small disk has no room for two gigabytes of log between checkpoints.
        log_mb = str(max(64, disk_mb // 4))
        postgres = start_postgres(database_disk.path, {"max_wal_size": f"{log_mb}MB", "min_wal_size": "32MB"})
        ended.callback(postgres.stop)
        broker = start_mosquitto(broker_disk.path, pki_dir)
        ended.callback(broker.stop)
        yield Servers(postgres, broker, pki_dir, database_disk, broker_disk)


@contextmanager
def _small_disk(size_mb: int) -> Iterator[Disk]:
    with temporary_state() as path:
        options = f"size={size_mb}m,mode=0711"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
        mounted = subprocess.run(command, check=False, capture_output=True, text=True)
        if mounted.returncode:
            yield Disk(path, why_not=f"no disk of its own could be mounted: {mounted.stderr.strip()}")
            return
        try:
            yield Disk(path, why_not=None)
        finally:
            # Lazily: a server that was killed may still be letting go of its files.
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def resident_mb(process: Server) -> float:
    """Return how much memory a process holds."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _new_database(postgres: Postgres) -> str:
    name = f"faults_{uuid4().hex}"
    postgres.create_database(name)
    with connect(postgres.database_url(name, role=OWNER), name="faults", autocommit=True) as conn:
        migrate(conn)
    return postgres.database_url(name)


def _seed(database_url: str) -> None:
    with connect(database_url, name="faults") as conn:
        agents.put(conn, "AGENT_001", name="Kim Counselor", extension="801")
        partners.put(conn, "SAMSUNG_FIRE", name="Samsung Fire")
        keys.put(
            conn, OPERATOR, secret=KEY_SECRET, label="operator", role=Role.OPERATOR, every_vehicle=True,
            requests_per_minute=1_000_000,
        )  # fmt: skip
