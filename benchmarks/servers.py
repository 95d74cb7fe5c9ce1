"""The private servers of a benchmark, durable as in production, and the product's processes on them."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import psycopg

from benchmarks.fleet import Message
from benchmarks.wire import Client
from db import keys
from db.migrate import migrate
from db.pool import connect
from ingest.broker import client_id
from mosquitto import pki
from schemas.access import Role
from schemas.topics import LaneName, Uplink, uplink_topic
from stack import priority
from stack.broker import Broker, start_mosquitto
from stack.places import CHECKOUT, free_port, temporary_state
from stack.postgres import ANALYST, OWNER, SERVICE, Postgres, start_postgres

STATUS_FILTER = uplink_topic("+", Uplink.STATUS)
KEPT_S = 3600
CALLERS = 8
"""Each with a key of its own: requests are counted by key, and one key's at once wait for each other."""
TOKENS = [f"sk_{number:08d}_of_the_benchmark" for number in range(CALLERS)]
MOST_STREAMS = 2000
MOST_REQUESTS = 10_000_000
"""No limit: what callers may ask for is not what is measured. It is counted all the same."""
_KEY_SECRET = "the secret of the benchmark, long enough"  # noqa: S105 - likewise
_OPEN_FILES = 8192


@dataclass(frozen=True, slots=True)
class Servers:
    """A broker and a database of the benchmark's own; `plain_port` is the broker's without TLS, for anybody."""

    postgres: Postgres
    broker: Broker
    pki_dir: Path
    plain_port: int
    logs: Path
    _template: list[str] = field(default_factory=list)

    def new_database(self) -> str:
        """Return the URL of a migrated empty database."""
        name = f"bench_{uuid4().hex}"
        if not self._template:
            self._template.append("bench_template")
            self.postgres.create_database("bench_template")
            # Who fills a table analyzes it, which is its owner's right.
            self._execute(f"GRANT {OWNER} TO {SERVICE}")
            owners = self.postgres.database_url("bench_template", role=OWNER)
            with connect(owners, name="bench", autocommit=True) as conn:
                migrate(conn)
            # TimescaleDB's scheduler is connected, and a template that anybody is connected to can't be cloned.
            self._execute("ALTER DATABASE bench_template ALLOW_CONNECTIONS false")
            self._execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'bench_template'")
            time.sleep(0.5)
        self._execute(f"CREATE DATABASE {name} TEMPLATE bench_template OWNER {OWNER}")
        return self.postgres.database_url(name)

    def analysts(self, url: str) -> str:
        """Return the URL of the same database for the analysts' login."""
        return self.postgres.database_url(url.rpartition("/")[2], role=ANALYST)

    def drop_database(self, url: str) -> None:
        """Remove a database: what is not there is not vacuumed beside the next measurement."""
        self._execute(f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def checkpoint(self) -> None:
        """Write out what earlier measurements left, so that it is not written during the next."""
        self._execute("CHECKPOINT")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.postgres.url, autocommit=True) as conn:
            conn.execute(statement.encode())

    def session_id(self, lane: LaneName) -> str:
        """Return the client id of the worker's session of a lane."""
        return client_id(pki.issue_service(self.pki_dir, "ingest").key, lane)

    def forget(self, *own_ids: str) -> None:
        """Make the broker forget these sessions and what they hold."""
        for own_id in own_ids:
            with Client(self.plain_port, own_id):
                pass

    def forget_workers(self) -> None:
        """Make the broker forget the workers' sessions and what they hold."""
        self.forget(*(self.session_id(lane) for lane in LaneName))

    def queue(self, own_id: str, messages: list[Message], *, kind: Uplink = Uplink.STATUS) -> None:
        """Leave this session with exactly these messages, all of one kind, as its backlog."""
        self.forget(own_id)
        with Client(self.plain_port, own_id, filters=[uplink_topic("+", kind)], keep_s=KEPT_S):
            pass
        with Client(self.plain_port, "bench-publisher") as publisher:
            publisher.publish_all(messages)

    def subscriber(self, own_id: str, count: int, *, tls: bool) -> None:
        """Let `mosquitto_sub` take so many messages from a session and throw them away."""
        credentials = pki.issue_service(self.pki_dir, "ingest")
        way = ["-p", str(self.plain_port)]
        if tls:
            way = [
                "-p", str(self.broker.services_port), "--cafile", str(self.broker.ca),
                "--cert", str(credentials.certificate), "--key", str(credentials.key),
            ]  # fmt: skip
        command = [
            "mosquitto_sub", "-V", "mqttv5", "-h", self.broker.host, *way, "-q", "1", "-c", "-x", str(KEPT_S),
            "-i", own_id, "-t", STATUS_FILTER, "-C", str(count),
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)

    def worker_environment(self, url: str, *, tls: bool) -> dict[str, str]:
        """Return the worker's settings."""
        credentials, intruder = (pki.issue_service(self.pki_dir, name) for name in ("ingest", "acl-proof"))
        return {
            "TCU_ENVIRONMENT": "demo",
            "TCU_DATABASE_URL": url,
            "TCU_MQTT_HOST": self.broker.host,
            "TCU_MQTT_SERVICES_PORT": str(self.broker.services_port if tls else self.plain_port),
            "TCU_MQTT_PORT": str(self.broker.port),
            "TCU_MQTT_TLS": str(tls).lower(),
            "TCU_MQTT_CA": str(self.broker.ca),
            "TCU_MQTT_CERT": str(credentials.certificate),
            "TCU_MQTT_KEY": str(credentials.key),
            "TCU_ACL_PROOF_CERT": str(intruder.certificate),
            "TCU_ACL_PROOF_KEY": str(intruder.key),
        }

    @contextmanager
    def worker(self, url: str, lane: LaneName, *, tls: bool = True) -> Iterator[subprocess.Popen[bytes]]:
        """Give `python -m ingest` for a lane on this database, begun and not waited for."""
        with self._process(f"ingest-{lane}", self.worker_environment(url, tls=tls)) as process:
            yield process

    @contextmanager
    def rules(self, url: str) -> Iterator[subprocess.Popen[bytes]]:
        """Give `python -m rules` on this database, ready."""
        with self._process("rules", {"TCU_DATABASE_URL": url, "TCU_ENVIRONMENT": "demo"}) as process:
            wait_ready(url, "rules", process.pid)
            yield process

    @contextmanager
    def api(self, url: str) -> Iterator[int]:
        """Give the port of `python -m api` on this database, ready; TOKENS are operators' keys."""
        with connect(url, name="bench") as conn:
            for token in TOKENS:
                keys.put(
                    conn,
                    token,
                    secret=_KEY_SECRET,
                    label="bench",
                    role=Role.OPERATOR,
                    every_vehicle=True,
                    requests_per_minute=MOST_REQUESTS,
                    streams=MOST_STREAMS,
                )
        port = free_port()
        settings = {
            "TCU_DATABASE_URL": url, "TCU_KEY_SECRET": _KEY_SECRET, "TCU_API_PORT": str(port),
            "TCU_ENVIRONMENT": "demo",
        }  # fmt: skip
        with self._process("api", settings):
            wait_for(lambda: _answers(port), 60, "the API")
            yield port

    @contextmanager
    def console(self, api_port: int) -> Iterator[int]:
        """Give the port of `python -m console` before this API, ready."""
        port = free_port()
        settings = {
            "TCU_ENVIRONMENT": "demo",
            "TCU_API_URL": f"http://127.0.0.1:{api_port}",
            "TCU_CONSOLE_PORT": str(port),
        }
        with self._process("console", settings):
            wait_for(lambda: _answers(port, "livez"), 60, "the console")
            yield port

    @contextmanager
    def _process(self, name: str, settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("TCU_")}
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *name.split("-")], cwd=CHECKOUT, env=inherited | settings, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def servers() -> Iterator[Servers]:
    """Start both; stopped and removed at the end."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, most), most))
    with temporary_state() as database_state, temporary_state() as broker_state:
        pki_dir = broker_state / "pki"
        pki.issue_server(pki_dir)
        for name in ("ingest", "acl-proof"):
            pki.issue_service(pki_dir, name)
        # Tells of each row when it was committed.
        postgres = start_postgres(database_state, {"track_commit_timestamp": "on"})
        broker = start_mosquitto(broker_state, pki_dir)
        broker.stop()
        plain_port = free_port(frozenset({broker.port, broker.services_port}))
        with (broker.directory / "mosquitto.conf").open("a") as config:
            config.write(f"\nlistener {plain_port} 127.0.0.1\nallow_anonymous true\n")
        # Whoever comes without a certificate is the fleet, the worker or its like: what stands before the first user.
        acl = broker.directory / "acl"
        acl.write_text(f"topic readwrite tcu/v1/#\n{acl.read_text()}")
        broker.start()
        # As in the stack.
        lowering = subprocess.Popen(priority.command(database_state).command, cwd=CHECKOUT)
        try:
            yield Servers(postgres, broker, pki_dir, plain_port, broker_state)
        finally:
            lowering.terminate()
            lowering.wait()
            broker.stop()
            postgres.stop()


def wait_ready(url: str, name: str, pid: int) -> None:
    """Return when this process has said that it is ready. Raises TimeoutError."""

    def ready() -> bool:
        with psycopg.connect(url) as conn:
            row = conn.execute(
                "SELECT count(*) FROM processes WHERE ready AND name LIKE %s", (f"{name}@%:{pid}",)
            ).fetchone()
            return row is not None and row[0] > 0

    wait_for(ready, 60, name)


def wait_for(holds: Callable[[], bool], wait_s: float, what: str, *, every_s: float = 0.05) -> None:
    """Return when it holds. Raises TimeoutError."""
    deadline = time.monotonic() + wait_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {wait_s:g} s")
        time.sleep(every_s)


def _answers(port: int, path: str = "readyz") -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return isinstance(json.load(answer), dict)
    except OSError:
        return False
