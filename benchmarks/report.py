"""What a group of benchmarks found: figures with their bars, as a table, as JSON, and as Markdown."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.table import Table

from benchmarks.servers import Servers

RESULTS = Path(__file__).parent / "results"
TIMES = "×"
"""The unit of a ratio."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure; `rounds` are what it was made of. The bar is the least that is good, or with `at_most` the most."""

    name: str
    value: float
    unit: str
    rounds: tuple[float, ...] = ()
    bar: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    @property
    def bar_text(self) -> str:
        """The bar in words."""
        if self.bar is None:
            return ""
        return f"{'≤' if self.at_most else '≥'} {number(self.bar)} {self.unit}"

    @property
    def met_text(self) -> str:
        """Whether it is met, in words."""
        return {None: "", True: "met", False: "NOT MET"}[self.met]


@dataclass(frozen=True, slots=True)
class Results:
    """All that one run of a group found."""

    group: str
    figures: list[Figure]
    run: dict[str, Any]
    """What was run on what: counts, seed, versions."""


def number(value: float) -> str:
    """Return a number with as many digits as mean something."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"  # noqa: PLR2004


def machine(parts: Servers) -> dict[str, Any]:
    """Return on what the figures were taken."""
    with psycopg.connect(parts.postgres.url) as conn:
        row = conn.execute(
            "SELECT current_setting('server_version'),"
            " (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb')"
        ).fetchone()
    if row is None:
        raise ValueError("PostgreSQL did not tell its version")
    said = subprocess.run(["mosquitto_sub", "--version"], check=False, capture_output=True, text=True)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "postgres": str(row[0]).split()[0],
        "timescaledb": row[1],
        "mosquitto": said.stdout.split(" running")[0].split()[-1].rstrip("."),
    }


def save(results: Results) -> Path:
    """Write the newest results of a group."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{results.group}.json"
    file.write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n")
    return file


def load(group: str) -> Results | None:
    """Return the newest results of a group, None where it never ran."""
    file = RESULTS / f"{group}.json"
    if not file.exists():
        return None
    found = json.loads(file.read_text())
    return Results(
        found["group"], [Figure(**{**each, "rounds": tuple(each["rounds"])}) for each in found["figures"]], found["run"]
    )


def table(results: Sequence[Results]) -> Table:
    """Return one table of all figures."""
    shown = Table("figure", "value", "rounds", "bar", "", title="Benchmarks")
    for each in results:
        shown.add_section()
        for figure in each.figures:
            shown.add_row(*_cells(figure), style={None: None, True: "green", False: "bold red"}[figure.met])
    return shown


def markdown(results: Results) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| Figure | Value | Rounds | Bar | |", "|---|---:|---|---|---|"]
    lines += ["| " + " | ".join(_cells(figure)) + " |" for figure in results.figures]
    return "\n".join(lines)


def _cells(figure: Figure) -> tuple[str, str, str, str, str]:
    rounds = ", ".join(number(value) for value in figure.rounds)
    return figure.name, f"{number(figure.value)} {figure.unit}", rounds, figure.bar_text, figure.met_text
