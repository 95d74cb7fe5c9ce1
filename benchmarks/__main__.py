"""`python -m benchmarks`: the groups named, drain and live where none is; `plot`, `cookbook`: what documents show."""

import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from benchmarks import analyst, api, cookbook, drain, live, plot, profiled, report, screen, size, storage, takeover
from benchmarks.report import Figure, Results
from benchmarks.servers import Servers, servers


class Task(StrEnum):
    """What can be asked for."""

    DRAIN = "drain"
    LIVE = "live"
    API = "api"
    TAKEOVER = "takeover"
    SIZE = "size"
    ANALYST = "analyst"
    BESIDE = "beside"
    STORAGE = "storage"
    SCREEN = "screen"
    PROFILE = "profile"
    COOKBOOK = "cookbook"
    PLOT = "plot"


def main(
    tasks: Annotated[list[Task] | None, typer.Argument(help="What to do; by default drain and live.")] = None,
    *,
    messages: Annotated[int, typer.Option(min=10_000, help="Status messages in each backlog.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same messages.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often what is compared takes turns.")] = 2,
    rows: Annotated[
        int, typer.Option(min=20_000, help="Status messages that the groups analyst and beside ask.")
    ] = 10_000_000,
    price_per_gb: Annotated[float, typer.Option(help="Assumed price of a GB of disk for a month.")] = 0.1,
    minutes: Annotated[int, typer.Option(min=1, help="For how long the group screen watches the page's memory.")] = 4,
    fifty_million: Annotated[bool, typer.Option(help="Let the group size fill 50 million rows, too.")] = False,
) -> None:
    """Measure, show one table, and keep each group's figures in benchmarks/results/. Exit code 1: a bar is not met."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # the servers are stopped, and their files removed
    console = Console()
    if not console.is_terminal:  # a log: whole lines
        console = Console(width=140)
    chosen = tasks or [Task.DRAIN, Task.LIVE]
    groups: dict[Task, Callable[[Servers, Callable[[str], None]], list[Figure]]] = {
        Task.DRAIN: lambda parts, say: drain.run(parts, say, messages=messages, seed=seed, rounds=rounds),
        Task.LIVE: lambda parts, say: live.run(parts, say, messages=messages, seed=seed),
        Task.API: lambda parts, say: api.run(parts, say, seed=seed),
        Task.TAKEOVER: lambda parts, say: takeover.run(parts, say, seed=seed),
        Task.SIZE: lambda parts, say: size.run(parts, say, seed=seed, fifty_million=fifty_million),
        Task.ANALYST: lambda parts, say: analyst.run(parts, say, rows=rows),
        Task.BESIDE: lambda parts, say: analyst.beside(
            parts, say, messages=messages, seed=seed, rounds=rounds, rows=rows
        ),
        Task.STORAGE: lambda parts, say: storage.run(parts, say, price_per_gb=price_per_gb),
        Task.SCREEN: lambda parts, say: screen.run(parts, say, seed=seed, minutes=minutes),
        Task.PROFILE: lambda parts, say: profiled.run(parts, say, seed=seed),
    }
    found: list[Results] = []
    for task in chosen:
        if task in {Task.PLOT, Task.COOKBOOK}:
            continue
        # Servers of its own for each group: none finds the leavings of another.
        with servers() as parts, console.status(task) as status:
            run = report.machine(parts)

            def say(text: str, name: Task = task, shown: Status = status) -> None:
                shown.update(f"{name}: {text}")
                if not console.is_terminal:
                    console.print(f"{datetime.now(UTC):%H:%M:%S} {name}: {text}")

            figures = groups[task](parts, say)
        run |= {"messages": messages, "seed": seed, "rounds": rounds}
        run |= (
            {"rows": rows}
            if task in {Task.ANALYST, Task.BESIDE}
            else {"minutes": minutes}
            if task is Task.SCREEN
            else {}
        )
        found.append(Results(task, figures, run))
        report.save(found[-1])
    if found:
        console.print(report.table(found))
    _write_documents(chosen, console)
    if any(figure.met is False for each in found for figure in each.figures):
        sys.exit(1)


def _write_documents(chosen: list[Task], console: Console) -> None:
    if Task.COOKBOOK in chosen:
        with servers() as parts:
            console.print(f"written: {cookbook.write(parts)[0]} and its pictures")
    if Task.PLOT in chosen:
        for file in plot.draw():
            console.print(f"written: {file}")


if __name__ == "__main__":
    typer.run(main)
