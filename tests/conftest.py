"""Real servers for the tests: private, on ports of their own, gone when the run ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from db import pool
from db.migrate import migrate
from db.pool import Connection
from mosquitto import pki
from stack.broker import Broker, start_mosquitto
from stack.places import temporary_state
from stack.postgres import OWNER, Postgres, start_postgres
from stack.server import Server
from tests.processes import end_sessions, is_ready, product_process, worker_environment
from tests.tcu import Tcu


@pytest.fixture(scope="session")
def pki_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority of the run's own, with the broker's and the worker's certificates."""
    directory = tmp_path_factory.mktemp("pki")
    pki.issue_server(directory)
    pki.issue_service(directory, "ingest")
    return directory


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A private PostgreSQL with TimescaleDB; `url` is its administrator's, `database_url(name)` as what runs has it."""
    # In memory: a database per test is 700 files, which cost ten times as much on a busy disk (0.5 s of the processor).
    with temporary_state(in_memory=True) as state:
        # TimescaleDB's schedulers connect to every database, and one that is connected cannot be cloned.
        settings = {"timescaledb.max_background_workers": "0", "fsync": "off", "max_wal_size": "512MB"}
        server = start_postgres(state, settings)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def broker(pki_dir: Path) -> Iterator[Broker]:
    """A private Mosquitto with mutual TLS; a test that stops or kills it starts it again (`start()`)."""
    with temporary_state(in_memory=True) as state:
        server = start_mosquitto(state, pki_dir)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def _template(postgres_server: Postgres) -> str:
    """A migrated empty database to clone: cloning takes a tenth of migrating."""
    name = "template_tcu"
    postgres_server.create_database(name)
    with pool.connect(postgres_server.database_url(name, role=OWNER), name="tests", autocommit=True) as conn:
        migrate(conn)
    with pool.connect(postgres_server.url, name="tests", autocommit=True) as conn:
        # A template that anybody is connected to cannot be cloned.
        conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    return name


@pytest.fixture
def database_url(postgres_server: Postgres, _template: str) -> Iterator[str]:
    """A migrated empty database of the test's own, with the rights that what runs has."""
    with _cloned(postgres_server, _template) as url:
        yield url


@pytest.fixture(scope="module")
def lasting_database_url(postgres_server: Postgres, _template: str) -> Iterator[str]:
    """One database for a module's tests: what one leaves behind, the next has to cope with."""
    with _cloned(postgres_server, _template) as url:
        yield url


@contextmanager
def _cloned(server: Postgres, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    with pool.connect(server.url, name="tests", autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}".encode())
    yield server.database_url(name)
    with pool.connect(server.url, name="tests", autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def owners_url(postgres_server: Postgres, database_url: str) -> str:
    """The URL of the same database for the schema's owner."""
    return postgres_server.database_url(database_url.rpartition("/")[2], role=OWNER)


@pytest.fixture
def owner(owners_url: str) -> Iterator[Connection]:
    """A connection of the schema's owner to the same database, for what no process may do."""
    with pool.connect(owners_url, name="tests") as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    """A connection to `database_url`; what a test does not commit is rolled back."""
    with pool.connect(database_url, name="tests") as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def stopped_worker(broker: Broker, pki_dir: Path, database_url: str, tmp_path: Path) -> Iterator[Server]:
    """`python -m ingest` on the test's database, not started; ended and its broker sessions dropped afterwards."""
    environment = worker_environment(broker, pki_dir, database_url)
    process = product_process(
        "ingest",
        environment,
        log=tmp_path / "ingest.log",
        ready=lambda: is_ready(database_url, "ingest", process.pid),
    )
    yield process
    process.kill()
    end_sessions(broker, pki_dir)


@pytest.fixture
def worker(stopped_worker: Server) -> Server:
    """`python -m ingest` on the test's database, ready."""
    stopped_worker.start()
    return stopped_worker


@pytest.fixture
def sequencer(database_url: str, tmp_path: Path) -> Iterator[Server]:
    """`python -m rules` on the test's database, ready: events get their numbers."""
    process = product_process(
        "rules",
        {"TCU_DATABASE_URL": database_url},
        log=tmp_path / "rules.log",
        ready=lambda: is_ready(database_url, "rules", process.pid),
    )
    process.start()
    yield process
    process.kill()


@pytest.fixture
def tcu(broker: Broker, pki_dir: Path) -> Iterator[Callable[[str], Tcu]]:
    """Connects vehicles by VIN; they leave at the end of the test."""
    connected: list[Tcu] = []

    def connect_vehicle(vin: str) -> Tcu:
        connected.append(Tcu(broker, pki_dir, vin))
        return connected[-1]

    yield connect_vehicle
    for vehicle in connected:
        vehicle.close()
