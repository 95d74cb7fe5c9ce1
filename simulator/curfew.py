"""The story of young drivers at night, in parts that are played side by side, each by a vehicle of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

from schemas.base import format_instant, parse_instant
from schemas.command import CommandType
from schemas.demo import DEMO_CURFEW_CARS, CurfewCars
from simulator import curfew_parts, driving, guardian, start_blocks
from simulator.curfew_checks import Trip
from simulator.public_api import ApiRefused, PublicApi
from simulator.stage import Stage, StoryFailed, Verb, seed_hint
from simulator.tcu import Unreachable

_BLOCK_AGAIN_AFTER = timedelta(minutes=10)
"""The backend sends no vehicle two start blocks within this time."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the story, and the vehicle that plays it; None is the story's own."""

    name: str
    vin: str | None
    play: Callable[[Stage], Awaitable[None]]


async def curfew(stage: Stage) -> None:
    """Young drivers at night: all parts at once, for the longest waits a minute until a start block is void."""
    cars, late_vin, trips = await _free_cars(stage)
    parts = (
        Part("exception", None, curfew_parts.exception_on_the_way),
        Part("clock change", cars.clock_change, curfew_parts.clock_change),
        Part("offline", late_vin, partial(curfew_parts.offline, trips=trips)),
        Part("wrong clock", cars.wrong_clock, curfew_parts.wrong_clock),
        Part("block taken", cars.block_taken, start_blocks.taken),
        Part("block refused", cars.block_refused, start_blocks.refused),
        Part("block expired", cars.block_expired, start_blocks.expired),
    )
    seeds = [stage.rng.getrandbits(64) for _ in parts]
    async with asyncio.TaskGroup() as playing:
        tasks = [playing.create_task(_play(part, stage, Random(seed))) for part, seed in zip(parts, seeds, strict=True)]
    failures = [failure for task in tasks if (failure := task.result()) is not None]
    if failures:
        raise StoryFailed("; ".join(failures))


async def _play(part: Part, stage: Stage, rng: Random) -> str | None:
    """Play a part and return what was missing, None where it reached its end; the other parts go on."""
    own = replace(stage, part=part.name, rng=rng, parked=driving.parked_somewhere(rng))
    if part.vin is not None:
        own.tcu = stage.garage.tcu(part.vin)
    try:
        await part.play(own)
    except (StoryFailed, ApiRefused, Unreachable) as error:
        # `stories.play` adds the hint of the story's own vehicle.
        failure = str(error) if part.vin is None else f"{error}{seed_hint(own.tcu)}"
        own.tell(Verb.FAILED, failure)
        return f"{part.name}: {failure}"
    finally:
        if part.vin is not None:
            await own.tcu.go_offline()
    own.tell(Verb.DONE, f"{part.name} reached its end")
    return None


async def _free_cars(stage: Stage) -> tuple[CurfewCars, str, list[Trip]]:
    """Return a set of vehicles that can play now, the one of it where it was night two hours ago, and that one's trips.

    Waits where each set has had its start blocks within the last ten minutes.
    """
    while True:
        now = datetime.now(UTC)
        trips = curfew_parts.late_trips(now)
        free_at = []
        for cars in DEMO_CURFEW_CARS:
            late_vin = await _at_night(stage.api, cars, trips)
            free_at.append(await _free_at(stage.api, cars, late_vin, trips, now))
            if free_at[-1] <= now:
                return cars, late_vin, trips
        until = min(free_at)
        stage.tell(Verb.WAITED, f"until {format_instant(until)}: a vehicle gets no two start blocks within ten minutes")
        await asyncio.sleep((until - now).total_seconds())


async def _at_night(api: PublicApi, cars: CurfewCars, trips: list[Trip]) -> str:
    for vin in cars.offline:
        answers = [await guardian.explain(api, vin, at) for at in (trips[0][0], trips[-1][1])]
        if all(answer["inside"] and answer["policyInForce"] for answer in answers):
            return vin
    raise StoryFailed(f"none of {', '.join(cars.offline)} had a curfew two hours ago: run `tcu demo seed`")


async def _free_at(api: PublicApi, cars: CurfewCars, late_vin: str, trips: list[Trip], now: datetime) -> datetime:
    """Return from when on the vehicles can get their start blocks, and no trips told earlier mix with these."""
    free_at = now
    for vin in (cars.block_taken, cars.block_refused, cars.block_expired):
        blocked_at = guardian.latest(await guardian.commands(api, vin, CommandType.ENGINE_START_BLOCK))
        if blocked_at is not None:
            free_at = max(free_at, blocked_at + _BLOCK_AGAIN_AFTER)
    start, stop = trips[0]
    for told in await guardian.violations(api, late_vin, start - (stop - start)):
        free_at = max(free_at, parse_instant(told["timestamp"]) + (stop - start) + (now - start))
    return free_at
