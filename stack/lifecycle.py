"""Brings a stack up, tells how it is, takes it down, removes its data."""

import fcntl
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import typer

from stack import environment, postgres, supervision
from stack.environment import Settings
from stack.places import CHECKOUT, Places, make_state
from stack.server import ServerFailed, listens, tail, wait_until

SAMPLE = "tcu_sample"
READY_WAIT_S = 60
HEARTBEAT_WAIT_S = 30


@contextmanager
def alone(places: Places) -> Iterator[None]:
    """Hold this stack for one command at a time. Raises ServerFailed if another holds it."""
    places.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (places.run / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServerFailed(f"another command is at work on this stack ({places.run})") from error
        yield


def up(places: Places, *, tied: bool = False) -> dict[str, str]:
    """Return the settings of the stack once it serves; starts what does not run yet.

    Raises ServerFailed with the end of the log of what did not come up.
    """
    if supervision.is_running(places):
        settings = environment.settled(places)
        supervision.start_processes(places, settings.servers)
    else:
        make_state(places.state)
        settings = environment.settle(places)
        supervision.write_configuration(places, environment.server_commands(places, settings))
        environment.write_env(places, settings)
        typer.echo(f"==> starting {', '.join([*settings.servers, *supervision.APPS])}")
        supervision.start(places, environment.process_environment(settings.values), tied=tied)
    _prepare_database(places, settings)
    supervision.start_processes(places, supervision.APPS)
    _await_service(places, settings.values)
    return settings.values


def down(places: Places) -> bool:
    """Stop the stack, keeping its data; tell whether it ran."""
    return supervision.stop(places)


def clean(places: Places) -> None:
    """Stop the stack and remove its data, certificates and logs."""
    supervision.stop(places)
    for path in (places.state, places.run / "pki", places.run / "logs"):
        shutil.rmtree(path, ignore_errors=True)
    for name in ("env", "supervisord.conf", "supervisord.pid"):
        (places.run / name).unlink(missing_ok=True)


def _prepare_database(places: Places, settings: Settings) -> None:
    """Wait for the private servers, then bring the schema up to date and seed what the guides' samples need."""
    if "postgres" in settings.servers:
        port = settings.servers["postgres"]
        _await(places, "postgres", lambda: postgres.accepts(port))
        postgres.create_database(places.state, port, environment.DATABASE)
    if "mosquitto" in settings.servers:
        _await(places, "mosquitto", lambda: listens(settings.servers["mosquitto"]))
    variables = environment.process_environment(settings.values)
    owners = {name: value for name, value in settings.values.items() if name == environment.OWNERS_URL}
    _admin(variables | owners, ["migrate"])
    _admin(variables, ["demo", "seed"])


def load_sample(places: Places) -> str:
    """Return the analysts' URL of a database with the sample, beside that of the stack that runs; make it first.

    Raises ServerFailed where no stack with a private database runs.
    """
    settings = environment.settled(places) if supervision.is_running(places) else None
    if settings is None or "postgres" not in settings.servers:
        raise ServerFailed("the sample needs a stack with a private database: run `make up`")
    port = settings.servers["postgres"]
    postgres.create_database(places.state, port, SAMPLE)
    urls = {
        environment.OWNERS_URL: postgres.database_url(places.state, port, SAMPLE, role=postgres.OWNER),
        "TCU_DATABASE_URL": postgres.database_url(places.state, port, SAMPLE),
    }
    variables = environment.process_environment(settings.values) | urls
    _admin(variables, ["migrate"])
    if postgres.is_empty(places.state, port, SAMPLE):
        _admin(variables, ["demo", "sample"])
    return postgres.database_url(places.state, port, SAMPLE, role=postgres.ANALYST)


def _admin(variables: dict[str, str], step: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "admin", *step],
        cwd=CHECKOUT,
        env=variables,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise ServerFailed(f"tcu {' '.join(step)} failed:\n{done.stdout}")


def _await_service(places: Places, values: dict[str, str]) -> None:
    try:
        _await(places, "api", lambda: _answers(f"{values['TCU_API_URL']}/readyz"))
        _await(places, "console", lambda: _answers(f"{values['TCU_CONSOLE_URL']}/livez"))
        _admin(environment.process_environment(values), ["status", "--wait", str(HEARTBEAT_WAIT_S)])
    except ServerFailed as error:
        suspects = supervision.ailing(places) or supervision.APPS
        logs = [f"-- {name}\n{tail(places.run / 'logs' / f'{name}.log')}" for name in suspects]
        raise ServerFailed("\n".join([str(error), *logs])) from error


def _await(places: Places, name: str, holds: Callable[[], bool]) -> None:
    def holds_or_fails() -> bool:
        if supervision.statuses(places).get(name) == "FATAL":
            raise ServerFailed(f"{name} does not stay up")
        return holds()

    try:
        wait_until(holds_or_fails, wait_s=READY_WAIT_S)
    except TimeoutError as error:
        raise ServerFailed(f"{name} is not ready after {READY_WAIT_S} s") from error


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own http URL
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
