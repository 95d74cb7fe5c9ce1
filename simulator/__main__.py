"""`tcu-sim`: play a vehicle's stories, run a fleet, record and replay, or show the demo."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random, SystemRandom
from typing import Annotated, Any

import typer

from schemas.demo import DEMO_CURFEW_VINS, DEMO_VINS, fleet_vin
from simulator import driving
from simulator.check import check
from simulator.demo import run_demo
from simulator.faults import Fault, inject
from simulator.fleet import FleetPlan, run_fleet
from simulator.garage import Garage
from simulator.habits import Traffic
from simulator.public_api import PublicApi
from simulator.record import record
from simulator.replay import Times, prepared, recast, replay
from simulator.report import Report
from simulator.scenario import BadScenario, json_schema, load_scenario, scenario_files
from simulator.session import SessionLost
from simulator.settings import Settings, SetupMissing, broker_of, certificates_of, load_settings
from simulator.stage import Stage
from simulator.stopping import INTERRUPTED, run_until_stopped, unless_stopped
from simulator.stories import STORIES, play
from simulator.tcu import Unreachable
from simulator.traces import BadTrace, read_trace
from simulator.unreceipted import UnreceiptedStore

_SETUP_MISSING = 2

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Play a vehicle's telematics control unit over MQTT with mutual TLS.

Run `make up` and `. .run/env` first. It exits with 0 only if everything that was begun reached its end.

[bold]Examples[/bold]

tcu-sim story sos                     one SOS from the press to the closed incident

tcu-sim story all --seed 7 --json     every story, the same each time, as JSON lines

tcu-sim fleet --vehicles 20 --rate 2 --seconds 30

tcu-sim record evening.jsonl          what vehicles say, as the broker sees it

tcu-sim replay evening.jsonl          again, at any speed; CSV and GPX too

tcu-sim check all                     scenarios, verified: exit code and a report

tcu-sim faults                        what goes wrong in the field

tcu-sim demo --seconds 60             fleet and stories together, as `make demo` shows them
""",
)


class StoryName(StrEnum):
    """The stories, and all of them one after another."""

    TRIP = "trip"
    SOS = "sos"
    RSA = "rsa"
    CURFEW = "curfew"
    ALL = "all"


Seed = Annotated[
    int | None,
    typer.Option(
        help="Same seed, same content and message ids, so that a database takes it once: then they are DUPLICATE. "
        "Chosen and printed if you give none.",
        min=0,
    ),
]


@app.command(no_args_is_help=True)
def story(
    name: Annotated[StoryName, typer.Argument(help="Which story to play.")],
    *,
    vin: Annotated[str, typer.Option(help="The vehicle; `tcu vehicle add VIN` makes its certificate.")] = DEMO_VINS[0],
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps unreceipted messages: a killed simulator resumes from it."),
    ] = None,
    clock_offset: Annotated[
        float, typer.Option(help="Seconds by which the vehicle's clock is wrong, ahead if positive.")
    ] = 0.0,
) -> None:
    """Play one vehicle's story and show what was sent, stored, read by REST and seen by SSE.

    The simulator plays call center, partner and guardian too, through the public API.

    trip     engine start, status samples, engine stop

    sos      from the press over the voice call to the closed incident

    rsa      from the press over the partner's tow truck to the closed incident

    curfew   young drivers at night, for about 70 s, in parts that run side by side, each with a vehicle of its own
    (`tcu demo seed` makes them; --vin drives the first):

    · exception: a drive in a zone where it is night now; the driver is warned, the guardian ends the violation

    · clock change: the night that lasts 5 h and the one of 7 h, and a night that was driven through

    · offline: two hours out of coverage, delivered late and in no order; judged as if in order, without an alert

    · wrong clock: a year ahead, four times; what happens counts when it is received, three corrections an hour

    · block taken, block refused, block expired: a start block that a parked vehicle takes until it is released, one
    that finds the engine running, and one that is void before the vehicle is back in coverage

    all      one after another

    [bold]Examples[/bold]

    tcu-sim story rsa --vin KMHSH81C7LU123457

    tcu-sim story trip --clock-offset 3600     the server notices and corrects the clock

    tcu-sim story curfew --json | jq 'select(.part == "block expired")'
    """
    report = Report(as_json=as_json)

    async def main(settings: Settings, stop: asyncio.Event) -> int:
        names = STORIES if name is StoryName.ALL else (name.value,)
        chosen = _chosen(seed, report)
        rng = Random(f"{chosen}:{vin}")
        certificates = certificates_of(settings, [vin, *(DEMO_CURFEW_VINS if StoryName.CURFEW in names else ())])
        garage = Garage(broker_of(settings), certificates, chosen, report.notice)
        tcu = garage.tcu(
            vin,
            unreceipted=UnreceiptedStore(store / vin if store else None),
            clock_offset=timedelta(seconds=clock_offset),
        )
        if len(tcu.unreceipted):
            report.notice(f"{len(tcu.unreceipted)} unreceipted messages of an earlier run are sent again")
        failures = 0
        async with PublicApi(settings, report.notice) as api, tcu:
            stage = Stage(tcu, api, rng, driving.parked_somewhere(rng), garage, report.step)
            for each in names:
                outcome = await unless_stopped(stop, play(each, stage, report.step))
                if outcome is None:
                    return INTERRUPTED
                report.outcome(outcome)
                failures += outcome.failure is not None
        return 1 if failures else 0

    _run(main)


@app.command()
def fleet(
    *,
    vehicles: Annotated[int, typer.Option(help="How many vehicles, each with a connection of its own.", min=1)] = 5,
    rate: Annotated[float, typer.Option(help="Status messages a second of each vehicle.", min=0.001)] = 1.0,
    seconds: Annotated[float, typer.Option(help="How long to drive.", min=1)] = 60.0,
    presses_per_minute: Annotated[
        float, typer.Option(help="How often in the whole fleet a driver presses SOS or RSA; 0 needs no API.", min=0)
    ] = 2.0,
    traffic: Annotated[
        Traffic,
        typer.Option(
            help="commute: to work and back by the hour and weekday of five cities in their zones, parked in between. "
            "constant: trip after trip at any hour."
        ),
    ] = Traffic.COMMUTE,
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines; the last one has every count.")] = False,
) -> None:
    """Drive many vehicles and account for every message: sent, receipted, sent again, left without a receipt.

    A vehicle reports at its rate, parked or driving; starts and stops of the engine and presses come on top, each with
    a receipt. What is counted as sent is in the database, to the message: status once the broker took it, the others
    once receipted.

    The report says what the limit was. Where samples were made later than a quarter of a second (p99) after their
    time, the simulator or the machine was, and latencies say nothing about the backend.

    Exits with 1 if an urgent message stayed without a receipt or was quarantined, if a status message was given up or
    stayed without the broker's confirmation, or if an incident was left open.

    [bold]Examples[/bold]

    tcu-sim fleet --vehicles 50 --rate 2 --seconds 60 --presses-per-minute 10

    tcu-sim fleet --vehicles 2000 --rate 1 --seconds 600 --json | tail -1 | jq

    tcu vehicle add $(printf 'KMHFLEET%09d ' $(seq 1 2000))      makes their certificates first
    """
    report = Report(as_json=as_json)

    async def main(settings: Settings, stop: asyncio.Event) -> int:
        certificates = certificates_of(settings, [fleet_vin(number) for number in range(1, vehicles + 1)])
        plan = FleetPlan(rate, presses_per_minute, _chosen(seed, report), traffic)
        # A backend that keeps the MQTT contract needs no API for the rest.
        async with PublicApi(settings, report.notice) if presses_per_minute else nullcontext() as api:
            with report.watching() as watch:
                counted = await run_fleet(
                    plan,
                    broker=broker_of(settings),
                    certificates=certificates,
                    api=api,
                    notify=report.notice,
                    stop=stop,
                    seconds=seconds,
                    watch=watch,
                )
        report.fleet(counted)
        if not counted.complete:
            return 1
        return INTERRUPTED if stop.is_set() else 0

    _run(main)


@app.command(name="record")
def record_(
    file: Annotated[Path, typer.Argument(help="What to write: a name that ends in .jsonl or .csv.", dir_okay=False)],
    *,
    seconds: Annotated[float | None, typer.Option(help="How long; without it until Ctrl-C.", min=1)] = None,
    vin: Annotated[list[str] | None, typer.Option(help="Only this vehicle; may be given more than once.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines; the last one has the counts.")] = False,
) -> None:
    """Record what vehicles say, as the broker sees it, for `replay`.

    It listens with the worker's identity (services/ingest of the PKI), so it runs where the worker's key is. A trace
    holds places and numbers of people: keep it as you keep the database.

    A line has `at` (when the broker passed it on), `vin`, `kind` and `payload`; `payloadBase64` where that is no JSON
    object. docs/simulator.md shows it.

    [bold]Examples[/bold]

    tcu-sim record evening.jsonl --seconds 600

    tcu-sim record one.csv --vin KMHSH81C7LU123456
    """
    report = Report(as_json=as_json)

    async def main(settings: Settings, stop: asyncio.Event) -> int:
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, stop.set)
        counted = await record(settings, file, vins=frozenset(vin or ()), stop=stop, notify=report.notice)
        report.counts(
            "record",
            vehicles=len(counted.vehicles),
            messages=dict(sorted(counted.messages.items())),
            onUnknownTopics=counted.unknown,
        )
        return 0

    _run(main)


@app.command(name="replay")
def replay_(
    file: Annotated[Path, typer.Argument(help="A trace: .jsonl, .csv or .gpx.", exists=True, dir_okay=False)],
    *,
    as_: Annotated[
        list[str] | None,
        typer.Option("--as", help="OLD=NEW: another vehicle plays it; NEW alone for a trace of one, as any .gpx is."),
    ] = None,
    speed: Annotated[float, typer.Option(help="How many times as fast as it was.", min=0.01)] = 1.0,
    times: Annotated[
        Times,
        typer.Option(
            help="original: as they were, at most seven days ago. shifted: moved so that the newest happens when it is "
            "said, with new message ids."
        ),
    ] = Times.ORIGINAL,
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Play a recorded trace again: the same trips, incidents and violations come of it, within two limits.

    What the call center has done is not in a trace. Where it closed an incident before the vehicle pressed again, the
    second press now joins the first, whose incident is still open: one incident comes of two. And with shifted times a
    drive falls into other hours, so that a curfew judges it otherwise.

    The vehicles speak in the trace's order, send again what gets no receipt, and answer the commands that they get
    now: recorded answers and presence are left out. With original times and vehicles, what the database has already
    is told as DUPLICATE. A call names the press that it belongs to, whose incident has a new number.

    Of a GPX file each segment with times is a drive: its points are status messages, between a start and a stop of the
    engine. Exits with 1 if a message stayed without a receipt, or a status message without the broker's confirmation.

    [bold]Examples[/bold]

    tcu-sim replay evening.jsonl --speed 20 --times shifted

    tcu-sim replay one.csv --as KMHSH81C7LU123456=KMHSH81C7LU123457

    tcu-sim replay sunday.gpx --as KMHSH81C7LU123456 --times shifted --speed 60
    """
    report = Report(as_json=as_json)

    async def main(settings: Settings, stop: asyncio.Event) -> int:
        trace = recast(read_trace(file), as_ or ())
        chosen = _chosen(seed, report) if times is Times.SHIFTED else 0
        certificates = certificates_of(settings, sorted({said.vin for said in trace}))
        garage = Garage(broker_of(settings), certificates, chosen, report.notice)
        ready = prepared(trace, times=times, speed=speed, seed=chosen, now=datetime.now(UTC))
        played = await replay(ready, garage, speed=speed, stop=stop, notify=report.notice)
        report.counts(
            "replay",
            vehicles=played.vehicles,
            sent=dict(sorted(played.sent.items())),
            statusUnconfirmed=played.status_unconfirmed,
            leftOut=dict(sorted(played.left_out.items())),
            receipts=dict(sorted(played.receipts.items())),
            unreceipted=played.unreceipted,
        )
        if played.unreceipted or played.status_unconfirmed:
            return 1
        return INTERRUPTED if stop.is_set() else 0

    _run(main)


@app.command(name="faults")
def faults_(
    *,
    vehicles: Annotated[int, typer.Option(help="How many vehicles of the fleet suffer them.", min=1)] = 2,
    fault: Annotated[list[Fault] | None, typer.Option(help="Only this one; may be given more than once.")] = None,
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Do to vehicles what goes wrong in the field, and see that the backend makes the right thing of it.

    offline           a drive without coverage is kept and delivered later: all of it is stored

    duplicates        one message four times: it counts once

    reordering        a drive told in no order: all of it is stored

    clock             a clock an hour or a year off: the backend corrects it

    bounce            five presses of SOS at once: one incident

    malformed         payloads that are no messages: quarantined; on SOS an incident all the same

    command-late      a command answered when it is void, after a minute: it is EXPIRED and stays so

    command-wrongly   a command answered with a failure: it is FAILED

    command-never     a command that is not answered: it is EXPIRED after a minute

    Exits with 1 where one was not borne. A vehicle's clock is corrected three times an hour at most; `clock`,
    `malformed` and each `command-` take one correction, so of these a vehicle suffers three, the next vehicle the
    next three, and each of them once an hour.

    [bold]Examples[/bold]

    tcu-sim faults --seed 7

    tcu-sim faults --vehicles 20 --fault offline --fault duplicates
    """
    report = Report(as_json=as_json)

    async def main(settings: Settings, stop: asyncio.Event) -> int:
        vins = [fleet_vin(number) for number in range(1, vehicles + 1)]
        chosen = _chosen(seed, report)
        garage = Garage(broker_of(settings), certificates_of(settings, vins), chosen, report.notice)
        async with PublicApi(settings, report.notice) as api:
            work = inject(tuple(fault or Fault), garage=garage, vins=vins, api=api, seed=chosen, say=report.fault)
            injected = await unless_stopped(stop, work)
        if injected is None:
            return INTERRUPTED
        return 1 if any(told.failure for told in injected) else 0

    _run(main)


@app.command(name="check", no_args_is_help=True)
def check_(
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="SCENARIO...", help="Files, names of bundled ones, or all.")
    ] = None,
    *,
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of scenario files.")] = False,
) -> None:
    """Run scenarios and verify by receipts, REST and event streams that what had to happen happened.

    A scenario is a YAML file of steps; docs/simulator.md teaches them, and the bundled ones (simulator/scenarios) are
    examples: app, curfew-night, duplicates, malformed, offline, rsa, sos.

    Exits with 0 only if every step of every scenario held; what did not hold is told with its line in the file. After
    each scenario every message must have its receipt.

    [bold]Examples[/bold]

    tcu-sim check all

    tcu-sim check sos my-own.yaml --seed 7 --json

    tcu-sim check --schema > scenario.schema.json       for completion in editors
    """
    if schema:
        typer.echo(json_schema(), nl=False)
        return
    if not scenarios:  # a list of files that came out empty must not pass
        raise typer.BadParameter("expected files, names of bundled ones, or all", param_hint="SCENARIO...")
    report = Report(as_json=as_json)

    async def main(settings: Settings, stop: asyncio.Event) -> int:
        paths = [path for name in scenarios for path in scenario_files(name)]
        vins = sorted({vin for path in paths for vin in load_scenario(path)[0].vehicles.values()})
        chosen = _chosen(seed, report)
        garage = Garage(broker_of(settings), certificates_of(settings, vins), chosen, report.notice)
        failed = False
        async with PublicApi(settings, report.notice) as api:
            for path in paths:
                work = check(path, garage=garage, api=api, seed=chosen, say=report.checked)
                steps = await unless_stopped(stop, work)
                if steps is None:
                    return INTERRUPTED
                report.scenario(path.name, steps)
                failed = failed or any(step.failure for step in steps)
        return 1 if failed else 0

    _run(main)


@app.command()
def demo(
    *,
    seconds: Annotated[
        float | None, typer.Option(help="End after about so long, but play each story at least once.", min=1)
    ] = None,
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Run a small fleet and play all stories on the demo's vehicles; without --seconds until Ctrl-C.

    The curfew's story begins first, beside the others. It takes about 70 s, for a start block is void only after 60 s:
    so --seconds 60 ends a little later.

    Exits with 0 only if every story reached its end.

    [bold]Examples[/bold]

    tcu-sim demo --seconds 60

    tcu-sim demo --json | jq 'select(.kind == "outcome")'
    """
    report = Report(as_json=as_json)

    async def main(settings: Settings, stop: asyncio.Event) -> int:
        return await run_demo(settings, seed=_chosen(seed, report), seconds=seconds, stop=stop, report=report)

    _run(main)


def _run(main: Callable[[Settings, asyncio.Event], Coroutine[Any, Any, int]]) -> None:
    """Run a command's work and exit with its status."""
    try:
        settings = load_settings()
        status = run_until_stopped(lambda stop: main(settings, stop))
    except SetupMissing as missing:
        typer.echo(f"tcu-sim: {missing}", err=True)
        status = _SETUP_MISSING
    except (Unreachable, SessionLost, BadTrace, BadScenario) as error:
        typer.echo(f"tcu-sim: {error}", err=True)
        status = 1
    sys.exit(status)


def _chosen(seed: int | None, report: Report) -> int:
    if seed is not None:
        return seed
    chosen = SystemRandom().randrange(1_000_000_000)
    report.notice(f"--seed {chosen} repeats this run")
    return chosen


if __name__ == "__main__":
    app()
