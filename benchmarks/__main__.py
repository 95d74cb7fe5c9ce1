"""`make bench`: one table, every figure a ratio within one run, and `benchmarks/results/*.json`."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import drain
from benchmarks.drain import Drained
from benchmarks.servers import servers

RESULTS = Path(__file__).parent / "results"


def main(
    messages: Annotated[int, typer.Option(help="Status messages in each backlog.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same messages.")] = 1,
) -> None:
    """Drain the same backlog by a subscriber that only counts, by the product, and by the product under curfews."""
    hour = datetime.now(UTC)
    night = (f"{hour - timedelta(hours=2):%H:00}", f"{hour + timedelta(hours=3):%H:00}")
    day = (f"{hour + timedelta(hours=6):%H:00}", f"{hour + timedelta(hours=12):%H:00}")
    console = Console()
    found: list[Drained] = []
    with servers() as parts, console.status("draining") as status:
        status.update("the ceiling: mosquitto_sub")
        found.append(drain.ceiling(parts, messages, seed=seed))
        for name, window in (
            ("product, no policy", None),
            (f"product, {drain.POLICIES:,} policies, by day", day),
            (f"product, {drain.POLICIES:,} policies, inside the curfew", night),
        ):
            status.update(name)
            found.append(drain.product(parts, messages, seed=seed, name=name, window=window))
    _show(console, found)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"drain-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    console.print(
        f"written to {file.relative_to(Path.cwd())}" if file.is_relative_to(Path.cwd()) else f"written to {file}"
    )


def _show(console: Console, found: list[Drained]) -> None:
    ceiling, bare = found[0].per_second, found[1].per_second
    table = Table(
        "drained by", "messages", "per second", "of mosquitto_sub", "of no policy", title="A backlog of status over TLS"
    )
    for one in found:
        ratio = "" if one is found[0] else f"{one.per_second / bare:.2f}"
        table.add_row(one.name, f"{one.messages:,}", f"{one.per_second:,.0f}", f"{one.per_second / ceiling:.2f}", ratio)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
