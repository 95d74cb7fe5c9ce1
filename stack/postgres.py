"""A private PostgreSQL cluster with TimescaleDB, on loopback, for those who hold its password."""

import os
import secrets
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from stack.places import CHECKOUT, account_for, free_port, give_to, run_as
from stack.server import Server, ServerCommand, ServerFailed

ADMINISTRATOR = "tcu"
OWNER = "tcu_owner"
SERVICE = "tcu_service"
ANALYST = "tcu_analyst"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # TCP with a password is the one way in: the path of a socket could grow too long below a deep directory.
    "unix_socket_directories": "",
    "shared_preload_libraries": "timescaledb",
    "max_connections": "100",
    # An SOS that was acknowledged must survive a power cut.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    # A query over a hypertable locks each chunk that it may touch.
    "max_locks_per_transaction": "256",
    # Compiling pays off for seconds-long queries only; on ours it costs more than it saves.
    "jit": "off",
    "max_worker_processes": "32",
    # One scheduler for each database that has the extension, and its jobs (Community edition).
    "timescaledb.max_background_workers": "16",
    "timescaledb.telemetry_level": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
    "log_checkpoints": "off",
    # Its details of a row that was refused quote the row: numbers, places, texts.
    "log_error_verbosity": "terse",
}


class Postgres(Server):
    """A running private cluster; `url` is its administrator's, for making and dropping databases."""

    def __init__(self, state_dir: Path, port: int) -> None:
        self.port = port
        self._directory = state_dir / "postgres"
        super().__init__(server_command(state_dir), log=state_dir / "postgres.log", ready=lambda: accepts(port))

    @property
    def url(self) -> str:
        """The administrator's URL of the database `postgres`."""
        return self.database_url("postgres", role=ADMINISTRATOR)

    def database_url(self, name: str, *, role: str = SERVICE) -> str:
        """Return the URL of a database by name: as what runs sees it, unless another role is named."""
        return database_url(self._directory.parent, self.port, name, role=role)

    def create_database(self, name: str) -> None:
        """Create a database with the product's roles unless it exists; its schema is still to be made."""
        create_database(self._directory.parent, self.port, name)


def start_postgres(state_dir: Path, settings: Mapping[str, str] | None = None) -> Postgres:
    """Return a private cluster that accepts connections; its data lie in the state directory.

    `settings` go over SETTINGS.
    """
    port = free_port()
    prepare(state_dir, port, settings)
    server = Postgres(state_dir, port)
    server.start()
    return server


def prepare(state_dir: Path, port: int, settings: Mapping[str, str] | None = None) -> None:
    """Create the cluster if there is none, and write its settings for this port."""
    directory = state_dir / "postgres"
    data = directory / "data"
    account = account_for("postgres")
    if not (data / "PG_VERSION").exists():
        directory.mkdir(exist_ok=True)
        _password(state_dir, ADMINISTRATOR)
        give_to(account, directory)
        options = ["--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--auth=scram-sha-256"]
        initdb = [
            _binary("initdb"),
            "-D",
            str(data),
            "-U",
            ADMINISTRATOR,
            f"--pwfile={directory / 'password'}",
            *options,
        ]
        _run_once(run_as(account, initdb, stop_signal="TERM"), directory)
    lines = [f"{name} = '{value}'" for name, value in {**SETTINGS, **(settings or {}), "port": str(port)}.items()]
    (data / "postgresql.conf").write_text("\n".join(lines) + "\n")


def server_command(state_dir: Path) -> ServerCommand:
    """Return how to run the prepared cluster."""
    directory = state_dir / "postgres"
    command = [_binary("postgres"), "-D", str(directory / "data")]
    return ServerCommand(
        "postgres",
        run_as(account_for("postgres"), command, stop_signal="INT"),
        directory,
        signal.SIGINT,  # a fast shutdown: does not wait for clients to leave
    )


def database_url(state_dir: Path, port: int, name: str, *, role: str = SERVICE) -> str:
    """Return the URL of a database in this cluster for one of the roles above."""
    return f"postgresql://{role}:{_password(state_dir, role)}@127.0.0.1:{port}/{name}"


def accepts(port: int) -> bool:
    """Tell whether the cluster takes connections (it does not while it recovers)."""
    command = [_binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, check=False).returncode == 0


def create_database(state_dir: Path, port: int, name: str) -> None:
    """Create a database unless it exists, and the product's roles with their passwords (db/roles.sql)."""
    found = _psql(state_dir, port, "postgres", "-c", f"SELECT 1 FROM pg_database WHERE datname = '{name}'")  # noqa: S608
    if not found.strip():
        _psql(state_dir, port, "postgres", "-c", f'CREATE DATABASE "{name}"')
    _psql(state_dir, port, name, "-f", str(CHECKOUT / "db" / "roles.sql"))


def is_empty(state_dir: Path, port: int, name: str) -> bool:
    """Tell whether a migrated database knows no vehicle."""
    return _psql(state_dir, port, name, "-c", "SELECT NOT EXISTS (SELECT FROM vehicles)").strip() == "t"


def _psql(state_dir: Path, port: int, database: str, *words: str) -> str:
    """Return what psql prints as the administrator. Raises ServerFailed with what it complains of."""
    environment = {
        **os.environ,
        "PGPASSWORD": _password(state_dir, ADMINISTRATOR),
        "TCU_OWNER_PASSWORD": _password(state_dir, OWNER),
        "TCU_SERVICE_PASSWORD": _password(state_dir, SERVICE),
        "TCU_ANALYST_PASSWORD": _password(state_dir, ANALYST),
        "PGOPTIONS": "-c client_min_messages=warning",
    }
    command = [_binary("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port)]
    command += ["-U", ADMINISTRATOR, "-d", database, *words]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ServerFailed(f"{words} failed:\n{done.stderr}")
    return done.stdout


def _password(state_dir: Path, role: str) -> str:
    """Return a role's password, made when it is first asked for."""
    # The administrator's had no name of its own when it was the only one.
    file = state_dir / "postgres" / ("password" if role == ADMINISTRATOR else f"{role}.password")
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as new:
            new.write(secrets.token_urlsafe(24))
    return file.read_text()


def _run_once(command: list[str], directory: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=directory, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ServerFailed(f"{command} failed:\n{done.stdout}{done.stderr}")


def _binary(name: str) -> str:
    """Return the path of a PostgreSQL program, of the newest installed version that has TimescaleDB."""
    controls = Path("/usr/share/postgresql").glob("*/extension/timescaledb.control")
    versions = sorted((int(control.parts[-3]) for control in controls), reverse=True)
    for version in versions:
        path = Path("/usr/lib/postgresql") / str(version) / "bin" / name
        if path.exists():
            return str(path)
    raise ServerFailed("no PostgreSQL with TimescaleDB is installed; run `make setup`")
