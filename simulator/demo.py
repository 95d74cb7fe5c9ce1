"""The demo: a small fleet drives while the stories are played on the demo's vehicles, again and again until the end."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random

from schemas.demo import DEMO_CURFEW_CARS, DEMO_CURFEW_VINS, DEMO_FLEET_VINS, DEMO_VINS
from simulator import driving
from simulator.fleet import FleetPlan, FleetReport, run_fleet
from simulator.garage import Garage
from simulator.habits import Traffic
from simulator.public_api import PublicApi
from simulator.report import Report
from simulator.settings import Settings, broker_of, certificates_of
from simulator.stage import Outcome, Stage
from simulator.stopping import INTERRUPTED, unless_stopped
from simulator.stories import TRIP_S, play


@dataclass(frozen=True, slots=True)
class Act:
    """Stories that one vehicle plays one after another, again and again.

    Rounds are as far apart as one must be from the next: from its end, or from its beginning at least.
    """

    vin: str
    stories: tuple[str, ...]
    pause_s: float = 0.0
    every_s: float = 0.0


ACTS = (
    # The longest comes first.
    Act(DEMO_VINS[1], ("curfew",), every_s=13 * 60 / len(DEMO_CURFEW_CARS)),
    # A trip is told as having begun up to its own length ago; with this pause no trip overlaps the one before.
    Act(DEMO_VINS[0], ("trip", "sos", "rsa"), pause_s=TRIP_S),
)
"""What is played side by side."""

_FLEET_RATE_PER_S = 1.0
_FLEET_PRESSES_PER_MINUTE = 4.0


async def run_demo(settings: Settings, *, seed: int, seconds: float | None, stop: asyncio.Event, report: Report) -> int:
    """Play until `stop`, or for about so many seconds but at least each story once; return the exit status.

    It is 0 only if every story reached its end and every urgent message of the fleet has its receipt. Raises
    SetupMissing and Unreachable.
    """
    certificates = certificates_of(settings, [*DEMO_VINS, *DEMO_FLEET_VINS, *DEMO_CURFEW_VINS])
    fleet_stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(PublicApi(settings, report.notice))
        garage = Garage(broker_of(settings), certificates, seed, report.notice)
        stages = []
        for act in ACTS:
            rng = Random(f"{seed}:{act.vin}")
            tcu = await stack.enter_async_context(garage.tcu(act.vin))
            stages.append(Stage(tcu, api, rng, driving.parked_somewhere(rng), garage, report.step))
        fleet = asyncio.create_task(
            run_fleet(
                FleetPlan(_FLEET_RATE_PER_S, _FLEET_PRESSES_PER_MINUTE, seed, Traffic.CONSTANT),
                broker=broker_of(settings),
                certificates={vin: certificates[vin] for vin in DEMO_FLEET_VINS},
                api=api,
                notify=report.notice,
                stop=fleet_stop,
            )
        )
        try:
            async with asyncio.TaskGroup() as playing:
                acts = [
                    playing.create_task(_rounds(act, stage, seconds=seconds, stop=stop, report=report))
                    for act, stage in zip(ACTS, stages, strict=True)
                ]
        finally:
            fleet_stop.set()
        outcomes = [outcome for act in acts for outcome in act.result()]
        return _conclude(report, outcomes, await fleet)


async def _rounds(
    act: Act, stage: Stage, *, seconds: float | None, stop: asyncio.Event, report: Report
) -> list[Outcome]:
    """Play rounds and return how all stories ended; an act of limited time ends with the first story that fails."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    outcomes: list[Outcome] = []
    while not stop.is_set():
        round_began_s = loop.time()
        for name in act.stories:
            outcome = await unless_stopped(stop, play(name, stage, report.step))
            if outcome is None:
                return outcomes
            report.outcome(outcome)
            outcomes.append(outcome)
        round_s = loop.time() - round_began_s
        pause_s = max(act.pause_s, act.every_s - round_s)
        left_s = None if seconds is None else seconds - (loop.time() - began_s)
        if left_s is not None and any(outcome.failure for outcome in outcomes):
            return outcomes
        if left_s is not None and left_s < pause_s + round_s:
            await unless_stopped(stop, asyncio.sleep(max(0.0, left_s)))
            return outcomes
        await unless_stopped(stop, asyncio.sleep(pause_s))
    return outcomes


def _conclude(report: Report, outcomes: list[Outcome], fleet: FleetReport) -> int:
    names = [name for act in ACTS for name in act.stories]
    first = {outcome.story: outcome for outcome in reversed(outcomes)}
    report.summary([first[name] for name in names if name in first])
    report.fleet(fleet)
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    for outcome in failed:
        report.outcome(outcome)
    if failed or fleet.outstanding:
        return 1
    return 0 if len(first) == len(names) else INTERRUPTED
