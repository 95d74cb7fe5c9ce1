"""`tcu status`: which processes live, and whether they are ready."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from admin.session import print_table, transaction
from db import processes
from db.processes import STALE_AFTER, WORKER, Process
from schemas.topics import LaneName

LANES = tuple(f"{WORKER}-{lane}" for lane in LaneName)
EXPECTED = (*LANES, "api", "rules")


def show(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[PROCESS...]", help="As api, ingest or ingest-bulk; all by default.")
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait until all are ready.")] = 0,
) -> None:
    """Show the processes; exit code 1 while one that is asked for is silent or not ready."""
    wanted = names or list(EXPECTED)
    deadline = time.monotonic() + wait
    while (silent := _missing(wanted)) and time.monotonic() < deadline:
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
    if silent:
        typer.echo(f"not ready: {', '.join(silent)}", err=True)
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
    return missing(_read(), wanted, now=datetime.now(UTC))


def missing(known: Sequence[Process], wanted: Sequence[str], *, now: datetime) -> list[str]:
    """Return what is wanted and not served by a process that is ready; of workers, which lanes are not."""
    ready = [process for process in known if readiness(process, now=now) == "yes"]
    served = {process.kind for process in ready if process.kind != WORKER}
    served |= {f"{WORKER}-{lane}" for process in ready for lane in process.lanes}
    each = [part for name in wanted for part in (LANES if name == WORKER else (name,))]
    return [part for part in dict.fromkeys(each) if part not in served]
