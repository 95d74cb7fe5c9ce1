"""The demo: a small fleet drives while the stories are played on the demo's vehicles, again and again until the end."""

import asyncio
from contextlib import AsyncExitStack
from random import Random

from schemas.demo import DEMO_FLEET_VINS, DEMO_VINS
from simulator import driving
from simulator.fleet import FleetPlan, FleetReport, run_fleet
from simulator.public_api import PublicApi
from simulator.report import Report
from simulator.settings import Settings, broker_of, certificates_of
from simulator.stage import Outcome, Stage
from simulator.stopping import INTERRUPTED, unless_stopped
from simulator.stories import TRIP_S, play
from simulator.tcu import Tcu
from simulator.unreceipted import UnreceiptedStore

CAST = (("trip", DEMO_VINS[0]), ("sos", DEMO_VINS[0]), ("rsa", DEMO_VINS[1]), ("curfew", DEMO_VINS[1]))
"""The stories of a round and the vehicles that play them."""

_FLEET_RATE_PER_S = 5.0
_FLEET_PRESSES_PER_MINUTE = 4.0
_BETWEEN_ROUNDS_S = TRIP_S
"""A trip is told as having begun up to its own length ago; with this pause no trip overlaps the one before."""


async def run_demo(settings: Settings, *, seed: int, seconds: float | None, stop: asyncio.Event, report: Report) -> int:
    """Play until `stop`, or for about so many seconds but at least each story once; return the exit status.

    It is 0 only if every story reached its end and every urgent message of the fleet has its receipt. Raises
    SetupMissing and Unreachable.
    """
    certificates = certificates_of(settings, [*DEMO_VINS, *DEMO_FLEET_VINS])
    fleet_stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(PublicApi(settings, report.notice))
        stages = {}
        for vin in DEMO_VINS:
            tcu = Tcu(
                vin=vin,
                broker=broker_of(settings),
                certificate=certificates[vin],
                unreceipted=UnreceiptedStore(),
                jitter=Random(f"{seed}:{vin}:jitter"),
                notify=report.notice,
            )
            rng = Random(f"{seed}:{vin}")
            await stack.enter_async_context(tcu)
            stages[vin] = Stage(tcu, api, rng, driving.parked_somewhere(rng))
        fleet = asyncio.create_task(
            run_fleet(
                FleetPlan(_FLEET_RATE_PER_S, _FLEET_PRESSES_PER_MINUTE, seed),
                broker=broker_of(settings),
                certificates={vin: certificates[vin] for vin in DEMO_FLEET_VINS},
                api=api,
                notify=report.notice,
                stop=fleet_stop,
            )
        )
        try:
            outcomes = await _rounds(stages, seconds=seconds, stop=stop, report=report)
        finally:
            fleet_stop.set()
        return _conclude(report, outcomes, await fleet)


async def _rounds(
    stages: dict[str, Stage], *, seconds: float | None, stop: asyncio.Event, report: Report
) -> list[Outcome]:
    """Play rounds and return how all stories ended; a demo of limited time ends with the first story that fails."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    outcomes: list[Outcome] = []
    while not stop.is_set():
        round_began_s = loop.time()
        for name, vin in CAST:
            outcome = await unless_stopped(stop, play(name, stages[vin], report.step))
            if outcome is None:
                return outcomes
            report.outcome(outcome)
            outcomes.append(outcome)
        round_s = loop.time() - round_began_s
        left_s = None if seconds is None else seconds - (loop.time() - began_s)
        if left_s is not None and any(outcome.failure for outcome in outcomes):
            return outcomes
        if left_s is not None and left_s < _BETWEEN_ROUNDS_S + round_s:
            await unless_stopped(stop, asyncio.sleep(max(0.0, left_s)))
            return outcomes
        await unless_stopped(stop, asyncio.sleep(_BETWEEN_ROUNDS_S))
    return outcomes


def _conclude(report: Report, outcomes: list[Outcome], fleet: FleetReport) -> int:
    report.summary(outcomes[: len(CAST)])
    report.fleet(fleet)
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    for outcome in failed:
        report.outcome(outcome)
    if failed or fleet.outstanding:
        return 1
    return 0 if len(outcomes) >= len(CAST) else INTERRUPTED
