"""`python -m ingest [urgent | engine | bulk]`: run the worker until SIGTERM or SIGINT, for all lanes if none is named.

`python -m ingest check-sharing` tries the broker.
"""

import gc
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from threading import Event
from typing import Annotated

import typer
from pydantic import ValidationError

from db.errors import DatabaseError
from db.pool import connect
from db.roles import check_role
from ingest.broker import NotDelivered
from ingest.probes import Readiness, serve
from ingest.settings import WorkerSettings
from ingest.sharing import NotShared, check
from ingest.worker import run
from rules import logs
from schemas.production import Environment
from schemas.topics import LaneName

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def every(context: typer.Context) -> None:
    """Store what vehicles send until told to stop. Settings are read from TCU_… variables (docs/operations.md).

    One process serves every lane, or each has one of its own (urgent, engine, bulk), so that an SOS waits for nothing
    else.
    """
    if context.invoked_subcommand is None:
        _work(tuple(LaneName))


@app.command()
def urgent() -> None:
    """Serve presses, calls and answers to commands, and send what vehicles are told."""
    _work((LaneName.URGENT,))


@app.command()
def engine() -> None:
    """Serve engine events and presence."""
    _work((LaneName.ENGINE,))


@app.command()
def bulk() -> None:
    """Serve status."""
    _work((LaneName.BULK,))


def _work(lanes: Sequence[LaneName]) -> None:
    logs.configure()
    settings = _settings()
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    readiness = Readiness()
    port = settings.ingest_metrics_port
    if lanes == (LaneName.ENGINE,):
        port = settings.ingest_engine_metrics_port
    elif lanes == (LaneName.BULK,):
        port = settings.ingest_bulk_metrics_port
    if port is not None:
        serve(port, readiness)
    _tune()
    try:
        run(settings, lanes, stopping, readiness)
    except NotShared as error:
        sys.exit(f"ingest: {error}")


@app.command("check-sharing")
def check_sharing(
    restart: Annotated[
        str | None, typer.Option(help="A command that restarts the broker; without it you are asked to do so.")
    ] = None,
) -> None:
    """Try whether the broker keeps what comes for a shared subscription while it restarts, and note the answer.

    Workers share messages (TCU_INGEST_GROUP) only on a broker that passed. Exit code 1 where it did not.
    """
    settings = _settings()

    def restarts() -> None:
        if restart is None:
            typer.prompt(
                "Restart the broker now, wait until it is back, and press Enter", default="", prompt_suffix=" "
            )
        else:
            subprocess.run(shlex.split(restart), check=True)  # noqa: S603 - the operator's own command

    try:
        with connect(settings.database_url, name="ingest-check") as conn:
            keeps = check(settings, conn, restart=restarts)
    except (NotShared, NotDelivered, DatabaseError, subprocess.CalledProcessError) as error:
        sys.exit(f"ingest: nothing was found out: {str(error).splitlines()[0]}")
    if not keeps:
        sys.exit("The broker lost messages. Several workers must not share it: let further ones stand by.")
    typer.echo("The broker kept all messages. Workers may share it: set TCU_INGEST_GROUP and TCU_INGEST_MEMBER.")


def _settings() -> WorkerSettings:
    try:
        settings = WorkerSettings()
        if settings.environment is Environment.PRODUCTION:
            check_role(settings.database_url)
    except ValidationError as error:
        sys.exit(
            "ingest: " + ", ".join(_complaint(str(e["loc"][0]) if e["loc"] else "", e["msg"]) for e in error.errors())
        )
    except ValueError as error:
        sys.exit(f"ingest: {error}")
    return settings


def _complaint(field: str, message: str) -> str:
    name = field.upper().removeprefix("TCU_")
    return f"TCU_{name}: {message}" if name else message


def _tune() -> None:
    """Fit the interpreter to batches of thousands of small objects, none of which lies in a cycle.

    With CPython's own thresholds the collector takes half of the time in which a backlog is read and decoded (11.6 and
    5.8 us a message). A shorter turn lets the session's thread and the lane's change places sooner, for each gives the
    interpreter up many times in a batch and then waits a whole turn for it.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(0.0005)


if __name__ == "__main__":
    app()
