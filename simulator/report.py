"""What people and programs read of a run: lines as things happen, and tables at the end."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from schemas.base import format_instant
from schemas.receipt import ReceiptResult
from simulator.check import Checked
from simulator.faults import Injected
from simulator.fleet import FleetReport
from simulator.latencies import Latencies
from simulator.stage import PLAYED_BEFORE, Outcome, Step, Verb

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

_LINE_EACH_S = 10
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
        """Write a table of all steps of the stories; as JSON each was written when it was made."""
        if self._as_json:
            return
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

    @contextmanager
    def watching(self) -> Iterator[Callable[[FleetReport], None]]:
        """Give what shows a fleet while it drives: a table that moves on a terminal, a line now and then elsewhere."""
        if self._as_json or not self._console.is_terminal:
            yield self._fleet_line
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            yield lambda report: live.update(_fleet_table(report), refresh=True)

    def fleet(self, report: FleetReport) -> None:
        """Write what the fleet counted."""
        if known := report.receipts[ReceiptResult.DUPLICATE]:
            self.notice(f"{known} messages were stored before, not now: {PLAYED_BEFORE}")
        if self._as_json:
            self._json(kind="fleet", **_fleet_record(report), outstanding=report.outstanding)
            return
        self._console.print(_fleet_table(report))
        for message in report.outstanding:
            self._console.print(Text(f"NO RECEIPT: {message}", "bold red"), soft_wrap=True)

    def _fleet_line(self, report: FleetReport) -> None:
        if round(report.seconds) % _LINE_EACH_S:
            return
        if self._as_json:
            self._json(kind="progress", **_fleet_record(report))
            return
        urgent, receipts = report.urgent.total(), report.receipts.total()
        self.notice(
            f"{report.seconds:.0f} s · {report.status_sent} status sent, {report.status_waiting} wait · "
            f"{urgent} urgent, {receipts} receipted (p99 {_ms(report.receipt_s, 99)} ms) · "
            f"samples late by {_ms(report.late_s, 99)} ms (p99) · processor {100 * report.cpu_share:.0f} %"
        )

    def fault(self, told: Injected) -> None:
        """Write what came of one fault."""
        receipts = dict(sorted(told.receipts.items()))
        if self._as_json:
            self._json(
                kind="fault", fault=told.fault, vin=told.vin, what=told.what, messages=told.messages,
                receipts=receipts, failure=told.failure,
            )  # fmt: skip
            return
        came = ", ".join(f"{count} {result}" for result, count in receipts.items())
        end = ("borne", "green") if told.failure is None else (f"FAILED: {told.failure}", "bold red")
        line = f"  {told.fault:<15} {told.vin}  {told.what} · {told.messages} messages · {came or 'no receipts'} · "
        self._console.print(Text.assemble((_clock(), "dim"), line, end), soft_wrap=True)

    def checked(self, step: Checked) -> None:
        """Write how one step of a scenario went."""
        if self._as_json:
            self._json(
                kind="step", scenario=step.scenario, line=step.line, what=step.what, tookMs=round(step.took_ms, 1),
                failure=step.failure,
            )  # fmt: skip
            return
        end = (f"  {step.took_ms:.0f} ms", "dim") if step.failure is None else (f"  {step.failure}", "bold red")
        held = ("holds   ", "green") if step.failure is None else ("FAILED  ", "bold red")
        place = f"  {step.scenario}:{step.line:<4} "
        self._console.print(Text.assemble((_clock(), "dim"), place, held, step.what, end), soft_wrap=True)

    def scenario(self, name: str, steps: Sequence[Checked]) -> None:
        """Write how a scenario ended."""
        failed = next((step for step in steps if step.failure is not None), None)
        if self._as_json:
            told = None if failed is None else f"{name}:{failed.line} {failed.what}: {failed.failure}"
            self._json(kind="scenario", scenario=name, steps=len(steps), failure=told)
        elif failed is None:
            self._console.print(Text(f"{name} passed, {len(steps)} steps", "bold green"))
        else:
            told = f"{name} FAILED at line {failed.line}, {failed.what}: {failed.failure}"
            self._console.print(Text(told, "bold red"), soft_wrap=True)

    def counts(self, kind: str, **counted: object) -> None:
        """Write what a run has counted: one JSON line, or a line for each count."""
        if self._as_json:
            self._json(kind=kind, **counted)
            return
        for name, value in counted.items():
            told = ", ".join(f"{count} {what}" for what, count in value.items()) if isinstance(value, dict) else value
            self._console.print(f"{name}: {told or 0}", soft_wrap=True)

    def _json(self, **record: object) -> None:
        print_at = format_instant(datetime.now().astimezone())
        self._console.print(Text(json.dumps({"at": print_at, **record}, ensure_ascii=False)), soft_wrap=True)


def _fleet_record(report: FleetReport) -> dict[str, Any]:
    """Return what was counted, with the names of JSON; latencies in milliseconds, null where nothing was measured."""
    return {
        "vehicles": report.vehicles,
        "ratePerVehicle": report.rate_per_s,
        "seconds": round(report.seconds, 1),
        "connections": report.connections,
        "statusDue": report.status_due,
        "statusSent": report.status_sent,
        "statusWaiting": report.status_waiting,
        "statusGivenUp": report.status_given_up,
        "statusUnconfirmed": report.status_lost,
        "urgentSent": dict(sorted(report.urgent.items())),
        "urgentSentAgain": report.urgent_resent,
        "receipts": dict(sorted(report.receipts.items())),
        "receiptsAgain": report.receipts_again,
        "unreceipted": len(report.outstanding),
        "incidents": dict(sorted(report.incidents.items())),
        "incidentsLeftOpen": report.incidents_left_open,
        "receiptMs": _percentiles(report.receipt_s),
        "pubackMs": _percentiles(report.puback_s),
        "lateMs": _percentiles(report.late_s),
        "processorShare": round(report.cpu_share, 3),
        "heldUpSeconds": {"byItself": round(report.busy_s, 1), "byTheMachine": round(report.starved_s, 1)},
        "limit": report.limit,
    }


def _percentiles(latencies: Latencies) -> dict[str, float | None]:
    found = {name: latencies.percentile_ms(percent) for name, percent in (("p50", 50), ("p99", 99))}
    return {name: None if value is None else round(value, 1) for name, value in found.items()}


def _fleet_table(report: FleetReport) -> Table:
    per_s = report.status_sent / report.seconds if report.seconds else 0.0
    title = f"The fleet: {report.vehicles} vehicles, {report.rate_per_s:g} status each second, {report.seconds:.0f} s"
    table = Table(title=title, show_header=False)
    table.add_row("status samples that the broker took", f"{report.status_sent} ({per_s:.0f} a second)")
    table.add_row("  that wait for it · given up", f"{report.status_waiting} · {report.status_given_up}")
    table.add_row("  PUBACK after, p50 · p99", f"{_ms(report.puback_s, 50)} · {_ms(report.puback_s, 99)} ms")
    table.add_row("urgent messages sent", str(report.urgent.total()))
    for kind, count in sorted(report.urgent.items()):
        table.add_row(f"  {kind}", str(count))
    table.add_row("  sent again", str(report.urgent_resent))
    for result, count in sorted(report.receipts.items()):
        table.add_row(f"receipts {result}", str(count))
    table.add_row("  of what had one already", str(report.receipts_again))
    table.add_row("  after, p50 · p99", f"{_ms(report.receipt_s, 50)} · {_ms(report.receipt_s, 99)} ms")
    table.add_row("  without a receipt", str(len(report.outstanding)))
    told = " · ".join(f"{count} {service}" for service, count in sorted(report.incidents.items()))
    table.add_row("incidents", told or "0")
    table.add_row("  left open", str(report.incidents_left_open))
    table.add_row("samples late, p50 · p99", f"{_ms(report.late_s, 50)} · {_ms(report.late_s, 99)} ms")
    table.add_row("one processor used", f"{100 * report.cpu_share:.0f} %")
    table.add_row("limit", report.limit)
    return table


def _ms(latencies: Latencies, percent: float) -> str:
    found = latencies.percentile_ms(percent)
    return "-" if found is None else f"{found:.0f}"


def _named(step: Step) -> str:
    return f"{step.story} {step.part}".rstrip()


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]


def _latency(step: Step) -> str:
    return "" if step.latency_ms is None else f"  {step.latency_ms:.0f} ms"


def _rounded(step: Step) -> float | None:
    return None if step.latency_ms is None else round(step.latency_ms, 1)
