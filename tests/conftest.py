"""Real servers for the tests: private, on ports of their own, gone when the run ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mosquitto import pki
from stack.broker import Broker, start_mosquitto
from stack.places import temporary_state
from stack.postgres import Postgres, start_postgres


@pytest.fixture(scope="session")
def pki_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority of the run's own, with the broker's and the worker's certificates."""
    directory = tmp_path_factory.mktemp("pki")
    pki.issue_server(directory)
    pki.issue_service(directory, "ingest")
    return directory


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A private PostgreSQL with TimescaleDB; `url` is the superuser's, `database_url(name)` that of one database."""
    with temporary_state() as state:
        # TimescaleDB's schedulers connect to every database, and one that is connected cannot be cloned.
        server = start_postgres(state, {"timescaledb.max_background_workers": "0"})
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def broker(pki_dir: Path) -> Iterator[Broker]:
    """A private Mosquitto with mutual TLS; a test that stops or kills it starts it again (`start()`)."""
    with temporary_state() as state:
        server = start_mosquitto(state, pki_dir)
        try:
            yield server
        finally:
            server.stop()
