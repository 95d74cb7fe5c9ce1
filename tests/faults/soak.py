"""`make soak`: every fault again and again, at random and for longer; times measured, a table and a JSON report."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from schemas.topics import LaneName
from tests.faults import faults, mix
from tests.faults.fleet import Plan
from tests.faults.mix import Healed, Outcome, Turn
from tests.faults.stand import Stand, own_servers, stand
from tests.faults.streams import close_under_streams

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
FLEET = Plan(pressing=60, under_curfew=10, astray=8, per_second=50)
STREAMS = 1000
DISK_MB = 2000
READY_WITHIN_S = 10
DRAINED_WITHIN_S = 300
GROWS_MOST_MB = 50
LASTS_S = (2.0, 30.0)
QUIET_S = (2.0, 10.0)


def turns(product: Stand, rng: Random, *, seconds: float, away_s: float) -> Iterator[Turn]:
    """Give first the database away for long, and again, then every other fault in turn, shuffled anew each time.

    A quarter as long the second time: who tries again ever more seldom may have given up after the first.
    """
    ends_s = time.monotonic() + seconds
    yield Turn(faults.database_away, (away_s, away_s))
    yield Turn(faults.database_away, (away_s / 4, away_s / 4))
    disks = all(disk.why_not is None for disk in (product.database_disk, product.broker_disk))
    known = [*mix.KILLS, *mix.FREEZES, *mix.ABUSES, *(mix.DISKS if disks else ())]
    while True:
        rng.shuffle(known)
        for turn in known:
            if time.monotonic() > ends_s:
                return
            yield replace(turn, lasts_s=LASTS_S)


def main(
    seconds: Annotated[float, typer.Option(help="How long faults are made; the check comes after it.")] = 1800,
    away: Annotated[float, typer.Option(help="For how many of these seconds the database is away at first.")] = 600,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same faults in the same order.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where the JSON report goes.")] = None,
) -> None:
    """Hurt the product under 50 messages a second. Exit code 1 where a promise was broken or a bound exceeded."""
    chosen = Random().randrange(10**8) if seed is None else seed
    console = Console()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    console.print(f"seed {chosen}, {seconds:g} s; the database is away for the first {away:g} of them")
    with tempfile.TemporaryDirectory() as logs, own_servers(DISK_MB) as servers, stand(servers, Path(logs)) as product:
        for disk in (product.database_disk, product.broker_disk):
            if disk.why_not is not None:
                console.print(f"disks are not filled: {disk.why_not}")
        began_at = datetime.now(UTC)
        outcome = mix.run(
            product,
            FLEET,
            turns(product, Random(chosen), seconds=seconds, away_s=away),
            seed=chosen,
            quiet_s=QUIET_S,
            settle_s=DRAINED_WITHIN_S,
            tell=lambda healed: console.print(_line(healed), soft_wrap=True),
        )
        stopped_in_s = close_under_streams(product, STREAMS)
    wrong = [*outcome.wrong, *exceeded(outcome.healed)]
    _show(console, outcome, wrong, stopped_in_s)
    path = report or RESULTS / f"soak-{began_at:%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"seconds": seconds, "away": away, "per_second": FLEET.per_second} | asdict(outcome)
    told |= {"wrong": wrong, "streams_at_sigterm": STREAMS, "sigterm_seconds": round(stopped_in_s, 2)}
    del told["notes"]
    path.write_text(json.dumps(told, indent=1) + "\n")
    console.print(f"written to {path}")
    sys.exit(1 if wrong else 0)


def exceeded(healed: list[Healed]) -> list[str]:
    """Return which bounds were not kept."""
    found: list[str] = []
    for one in healed:
        found += [
            f"{name} was ready {took_s} s after {one.fault}, not within {READY_WITHIN_S}"
            for name, took_s in one.ready_after_s.items()
            if name != "rules" and took_s > READY_WITHIN_S
        ]
        if one.drained_after_s is None or one.drained_after_s > DRAINED_WITHIN_S:
            found.append(f"the backlog of {one.fault} was not drained within {DRAINED_WITHIN_S} s")
        if one.worker_grew_mb is not None and one.worker_grew_mb > GROWS_MOST_MB:
            found.append(f"the worker grew by {one.worker_grew_mb} MB in {one.fault}")
    return found


def _line(healed: Healed) -> str:
    ready = ", ".join(f"{name} {took_s:g} s" for name, took_s in healed.ready_after_s.items())
    return f"{healed.fault} for {healed.lasted_s:g} s · ready after: {ready} · drained: {healed.drained_after_s} s"


def _show(console: Console, outcome: Outcome, wrong: list[str], stopped_in_s: float) -> None:
    workers = [f"ingest-{lane}" for lane in LaneName]
    columns = ("fault", "times", *workers, "api", "drained", "grew")
    table = Table(*columns, title="The worst of each fault: ready again, drained, memory")
    table.columns[0].no_wrap = True
    for fault in sorted({one.fault for one in outcome.healed}):
        of = [one for one in outcome.healed if one.fault == fault]
        grew = [one.worker_grew_mb for one in of if one.worker_grew_mb is not None]
        table.add_row(
            fault,
            str(len(of)),
            *(f"{max(one.ready_after_s[part] for one in of):g} s" for part in (*workers, "api")),
            f"{max(one.drained_after_s or DRAINED_WITHIN_S for one in of):g} s",
            f"{max(grew):g} MB" if grew else "",
        )
    console.print(table)
    console.print(f"{outcome.receipted:,} of {outcome.sent:,} messages receipted")
    console.print(f"{STREAMS:,} open streams ended {stopped_in_s:.1f} s after SIGTERM")
    for line in wrong:
        console.print(f"[red]{line}[/red]")
    console.print("[red]broken[/red]" if wrong else "[green]every promise was kept, once[/green]")


if __name__ == "__main__":
    typer.run(main)
