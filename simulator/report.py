"""What people and programs read of a run: lines as things happen, and tables at the end."""

import json
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.base import format_instant
from simulator.fleet import FleetReport
from simulator.stage import Outcome, Step, Verb

_COLOURS = {
    Verb.SENT: "cyan",
    Verb.STORED: "green",
    Verb.READ: "blue",
    Verb.DONE: "magenta",
    Verb.SEEN: "yellow",
    Verb.SHOWN: "white",
    Verb.WAITED: "dim",
    Verb.FAILED: "bold red",
}

_NAME_WIDTH = len("curfew block refused")

_LOG_WIDTH = 140
"""Columns for tables that go to a file or a pipe, where rich would assume 80."""


class Report:
    """Writes to the standard output: in colour on a terminal, plain lines elsewhere, JSON lines where asked for."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=_LOG_WIDTH)
        self._as_json = as_json

    def step(self, step: Step) -> None:
        """Write one step of a story."""
        if self._as_json:
            self._json(
                kind="step",
                story=step.story,
                part=step.part or None,
                vin=step.vin,
                verb=step.verb,
                what=step.what,
                latencyMs=_rounded(step),
            )
            return
        line = Text.assemble(
            (_clock(), "dim"),
            f"  {_named(step):<{_NAME_WIDTH}} {step.vin}  ",
            (f"{step.verb:<18}", _COLOURS[step.verb]),
            step.what,
            (_latency(step), "dim"),
        )
        self._console.print(line, soft_wrap=True)

    def notice(self, text: str) -> None:
        """Write what happened beside the stories; the loudest is a quarantined message."""
        if self._as_json:
            self._json(kind="notice", text=text)
            return
        style = "bold white on red" if "QUARANTINED" in text else "dim"
        self._console.print(Text.assemble((_clock(), "dim"), "  ", (text, style)), soft_wrap=True)

    def outcome(self, outcome: Outcome) -> None:
        """Write how a story ended."""
        if self._as_json:
            self._json(kind="outcome", story=outcome.story, vin=outcome.vin, failure=outcome.failure)
            return
        if outcome.failure is None:
            end = Text(f"{outcome.story} of {outcome.vin} reached its end", "bold green")
        else:
            end = Text(f"{outcome.story} of {outcome.vin} FAILED: {outcome.failure}", "bold red")
        self._console.print(end, soft_wrap=True)

    def summary(self, outcomes: Sequence[Outcome]) -> None:
        """Write a table of all steps of the stories."""
        table = Table("story", "step", "what", title="What the stories showed")
        table.add_column("latency ms", justify="right")
        for outcome in outcomes:
            # Parts that were played side by side are told one after another.
            for step in sorted(outcome.steps, key=lambda step: step.part):
                latency = "" if step.latency_ms is None else f"{step.latency_ms:.0f}"
                table.add_row(_named(step), Text(step.verb, _COLOURS[step.verb]), Text(step.what), latency)
            end = "reached its end" if outcome.failure is None else f"FAILED: {outcome.failure}"
            style = "bold green" if outcome.failure is None else "bold red"
            table.add_row(outcome.story, Text("end", style), Text(end, style), "", end_section=True)
        self._console.print(table)

    def fleet(self, report: FleetReport) -> None:
        """Write what the fleet counted."""
        table = Table(title=f"The fleet: {report.vehicles} vehicles, {report.seconds:.0f} s", show_header=False)
        table.add_row("status samples that the broker took", str(report.status_sent))
        table.add_row("status samples given up", str(report.status_given_up))
        table.add_row("urgent messages sent", str(report.urgent_sent))
        table.add_row("  sent again", str(report.urgent_resent))
        for result, count in sorted(report.receipts.items()):
            table.add_row(f"  receipts {result}", str(count))
        table.add_row("  without a receipt", str(len(report.outstanding)))
        table.add_row("incidents left open", str(report.incidents_left_open))
        self._console.print(table)
        for message in report.outstanding:
            self._console.print(Text(f"NO RECEIPT: {message}", "bold red"), soft_wrap=True)

    def _json(self, **record: object) -> None:
        print_at = format_instant(datetime.now().astimezone())
        self._console.print(Text(json.dumps({"at": print_at, **record}, ensure_ascii=False)), soft_wrap=True)


def _named(step: Step) -> str:
    return f"{step.story} {step.part}".rstrip()


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]


def _latency(step: Step) -> str:
    return "" if step.latency_ms is None else f"  {step.latency_ms:.0f} ms"


def _rounded(step: Step) -> float | None:
    return None if step.latency_ms is None else round(step.latency_ms, 1)
