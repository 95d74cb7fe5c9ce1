"""`tcu status`: which processes live, and whether they are ready."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from admin.session import print_table, transaction
from db import processes
from db.processes import STALE_AFTER, Process

EXPECTED = ("ingest", "api", "rules")


def show(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[PROCESS...]", help="As ingest; all by default.")
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait until all are ready.")] = 0,
) -> None:
    """Show the processes; exit code 1 while one that is asked for is silent or not ready."""
    wanted = names or list(EXPECTED)
    deadline = time.monotonic() + wait
    while (missing := _missing(wanted)) and time.monotonic() < deadline:
        time.sleep(0.2)
    table = Table("process", "ready", "last beat", "since", "figures")
    now = datetime.now(UTC)
    for process in _read():
        figures = ", ".join(f"{name} {value}" for name, value in sorted(process.figures.items()) if name != "jobs")
        age = (now - process.beat_at).total_seconds()
        table.add_row(
            process.name,
            readiness(process, now=now),
            f"{age:.0f} s ago",
            process.started_at.isoformat("T", "seconds"),
            figures,
        )
    print_table(table)
    if missing:
        typer.echo(f"not ready: {', '.join(missing)}", err=True)
        raise typer.Exit(1)


def readiness(process: Process, *, now: datetime) -> str:
    """Return what is to be told of it; what a silent process said last is no news of it."""
    if now - process.beat_at >= STALE_AFTER:
        return "silent"
    if process.figures.get("standing_by"):
        return "standing by"
    return "yes" if process.ready else "no"


def _read() -> list[Process]:
    with transaction() as conn:
        return processes.list_all(conn)


def _missing(wanted: list[str]) -> list[str]:
    now = datetime.now(UTC)
    # A process's name begins with its kind, as ingest@host:123.
    living = {p.name.split("@")[0] for p in _read() if readiness(p, now=now) == "yes"}
    return [name for name in wanted if name not in living]
