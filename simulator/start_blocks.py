"""The parts of the curfew's story that are about start blocks: one that is taken, one refused, one that is void."""

import asyncio
from datetime import UTC, datetime, timedelta

from schemas.base import format_instant, parse_instant
from schemas.command import CommandType
from schemas.curfew import CurfewAction
from schemas.topics import Uplink
from schemas.vehicle import EngineEvent
from simulator import curfew_checks, drives, guardian, messages
from simulator.curfew_parts import command, curfew_set, send_engine, settled, stand
from simulator.stage import RECEIPT_S, Stage, StoryFailed, Verb, expect

BLOCK = CommandType.ENGINE_START_BLOCK
RELEASE = CommandType.ENGINE_START_RELEASE
_ACTIONS = (CurfewAction.ENGINE_START_BLOCK,)
_AFTER_EXPIRY = timedelta(seconds=2)


async def taken(stage: Stage) -> None:
    """A parked vehicle takes the block and does not start, until its guardian releases it."""
    api, tcu = stage.api, stage.tcu
    known = await _before(stage)
    async with curfew_set(stage, actions=_ACTIONS):
        await _reports_parked(stage)
        block = await command(stage, BLOCK, known, "EXECUTED")
        window = (await guardian.explain(api, tcu.vin))["window"]
        curfew_checks.block_taken(block, parse_instant(window["utc"]["end"]))
        if tcu.may_start():
            raise StoryFailed(f"the vehicle said EXECUTED to {block['commandId']} and starts all the same")
        stage.tell(Verb.SHOWN, f"the key is turned: no start until {block['parameters']['until']}")
        granted, _ = await stage.done(
            guardian.grant(api, stage.rng, tcu.vin, datetime.now(UTC)), "curfew/exception by the guardian"
        )
        await command(stage, RELEASE, known, "EXECUTED")
        await _drives(stage, violations=0)
    await stage.done(guardian.cancel(api, tcu.vin, granted["exceptionId"]), f"{granted['exceptionId']} cancelled")


async def refused(stage: Stage) -> None:
    """A block that finds the engine running: it was started out of coverage, and the vehicle lets it run."""
    tcu = stage.tcu
    known = await _parked_out_of_coverage(stage)
    start = send_engine(stage, EngineEvent.START, tcu.now())
    stage.tell(Verb.SHOWN, "the engine is started out of coverage")
    async with curfew_set(stage, actions=_ACTIONS):
        await command(stage, BLOCK, known, "PENDING")
        tcu.go_online()
        await stage.stored(start, "engine START")
        curfew_checks.block_refused(await command(stage, BLOCK, known, "REJECTED"))
        expect("until when the vehicle will not start", tcu.start_blocked_until, wanted=None)
        await stage.stored(send_engine(stage, EngineEvent.STOP, tcu.now()), "engine STOP")


async def expired(stage: Stage) -> None:
    """A block for a vehicle that is out of coverage: void before the vehicle is back, it never takes effect."""
    tcu = stage.tcu
    known = await _parked_out_of_coverage(stage)
    async with curfew_set(stage, actions=_ACTIONS):
        pending = await command(stage, BLOCK, known, "PENDING")
        back_at = parse_instant(pending["expiresAt"]) + _AFTER_EXPIRY
        stage.tell(Verb.WAITED, f"out of coverage until {format_instant(back_at)}, when the block is void")
        await asyncio.sleep((back_at - datetime.now(UTC)).total_seconds())
        tcu.go_online()
        await tcu.connected(timeout_s=RECEIPT_S)
        await command(stage, RELEASE, known, "EXECUTED")
        block = next(
            entry
            for entry in await guardian.commands(stage.api, tcu.vin, BLOCK)
            if entry["commandId"] == pending["commandId"]
        )
        curfew_checks.block_void(block, datetime.now(UTC))
        answered = {heard.command_id for heard in tcu.answered.so_far() if heard.type is BLOCK}
        expect("the start blocks that the vehicle has answered", answered, wanted=set())
        stage.tell(Verb.READ, f"commands · {BLOCK} {block['outcome']} · {block['reason']}, void, never answered")
        await _drives(stage, violations=1)


async def _before(stage: Stage) -> set[str]:
    """Bring the vehicle to a stand, and return the ids of the commands that it has had."""
    await stand(stage)
    return {entry["commandId"] for entry in await guardian.commands(stage.api, stage.tcu.vin)}


async def _parked_out_of_coverage(stage: Stage) -> set[str]:
    """Report the vehicle parked and leave coverage at once; return the ids of the commands that it has had.

    It has no curfew yet: so no block can come before it is gone.
    """
    known = await _before(stage)
    await _reports_parked(stage)
    await stage.tcu.go_offline()
    stage.tell(Verb.SHOWN, "out of coverage")
    return known


async def _reports_parked(stage: Stage) -> None:
    parked = messages.status(stage.rng, stage.parked, stage.tcu.now())
    stage.tcu.report(parked)
    await settled(stage)
    stage.tell(Verb.SENT, "status OFF, PARK, 0 km/h")
    # No block without a fresh status: the broker may have it before the curfew is set, and the backend just after.
    await drives.in_telemetry(stage.api, stage.tcu.vin, [(Uplink.STATUS, parked)], within_s=RECEIPT_S)


async def _drives(stage: Stage, *, violations: int) -> None:
    """Start the engine, which nothing may keep from it, and stop it again; so many violations come of it."""
    if not stage.tcu.may_start():
        raise StoryFailed(f"the vehicle does not start until {stage.tcu.start_blocked_until}")
    at = stage.tcu.now()
    await stage.stored(send_engine(stage, EngineEvent.START, at), "engine START")
    begun = await guardian.violations(stage.api, stage.tcu.vin, at - timedelta(milliseconds=1))
    expect("the number of violations by this drive", len(begun), wanted=violations)
    stage.tell(Verb.READ, f"curfew/violations · {violations} by this drive")
    await stage.stored(send_engine(stage, EngineEvent.STOP, stage.tcu.now()), "engine STOP")
