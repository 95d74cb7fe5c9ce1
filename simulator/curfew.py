"""The story of a teenager who drives at night: a violation, an exception on the way, the end of the trip."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from schemas.base import format_instant
from schemas.curfew import CurfewEvent, Day
from schemas.topics import Uplink
from schemas.vehicle import EngineEvent, EngineStatus
from simulator import driving, messages
from simulator.public_api import CHILDCARE, Json
from simulator.seen import Seen
from simulator.stage import EVENT_S, Stage, StoryFailed, Verb

_AROUND = timedelta(hours=1)
_OPENED = ("CURFEW_VIOLATION",)
_ENDED = ("CURFEW_VIOLATION_RESOLVED", "CURFEW_VIOLATION_RETRACTED")


async def curfew(stage: Stage) -> None:
    """An engine start inside the curfew, from the guardian's policy to the exception that ends the violation."""
    vin = stage.tcu.vin
    await _clear(stage)
    async with stage.api.curfew_events(vin) as events:
        policy, _ = await stage.done(_set_policy(stage, enabled=True), "curfew/policy by the guardian")
        await stage.done(_put(stage, "consents", {"granted": True}), "consents by the driver")
        await stage.read(_get(stage, "curfew/policy"), "curfew/policy", enabled=True, evaluated=True, note=None)
        try:
            await _drive(stage, events)
        finally:
            # Whatever happened, the next round begins without a curfew.
            await _set_policy(stage, enabled=False)
        stage.tell(Verb.DONE, f"curfew/policy switched off, zone {policy['timezone']}", None)


async def _drive(stage: Stage, events: Seen[CurfewEvent]) -> None:
    started = driving.started(stage.rng, stage.parked)
    sent = stage.tcu.send(Uplink.ENGINE, messages.engine(stage.rng, EngineEvent.START, started, stage.tcu.now()))
    await stage.stored(sent, "engine START")
    opened = await _seen(stage, events, lambda event: event.type in _OPENED, sent.at_s)
    listed = (await _get(stage, "curfew/violations"))["violations"][0]
    if listed["violationId"] != opened.violation_id or listed["resolved"]:
        raise StoryFailed(f"curfew/violations begins with {listed}, expected {opened.violation_id}, not resolved")
    stage.tell(Verb.READ, f"curfew/violations · {opened.violation_id} {listed['severity']}", None)

    granted, since_s = await stage.done(_grant(stage), "curfew/exception by the guardian")
    await _seen(
        stage,
        events,
        lambda event: event.type in _ENDED and event.violation_id == opened.violation_id,
        since_s,
    )
    await stage.read(_get(stage, "curfew/explain"), "curfew/explain", inside=False, reason="EXCEPTION")
    stopped = replace(started, engine_status=EngineStatus.OFF, battery_voltage=driving.RESTING_V)
    stop = stage.tcu.send(Uplink.ENGINE, messages.engine(stage.rng, EngineEvent.STOP, stopped, stage.tcu.now()))
    await stage.stored(stop, "engine STOP")
    stage.parked = stopped
    cancelling = stage.api.delete(
        f"/vehicles/{stage.tcu.vin}/curfew/exceptions/{granted['exceptionId']}", base=CHILDCARE
    )
    await stage.done(cancelling, f"{granted['exceptionId']} cancelled")


async def _seen(
    stage: Stage, events: Seen[CurfewEvent], matches: Callable[[CurfewEvent], bool], since_s: float
) -> CurfewEvent:
    try:
        arrival = await events.first(matches, timeout_s=EVENT_S)
    except TimeoutError:
        raise StoryFailed(f"the curfew's stream did not bring what was expected within {EVENT_S:.0f} s") from None
    event = arrival.what
    stage.tell(
        Verb.SEEN, f"{event.type} · {event.violation_id} {event.severity} · {event.event_id}",
        (arrival.at_s - since_s) * 1000,
    )  # fmt: skip
    return event


async def _clear(stage: Stage) -> None:
    """Cancel exceptions that an interrupted run has left: they would release the vehicle from this one's curfew."""
    for status in ("active", "scheduled"):
        for left in (await _get(stage, f"curfew/exceptions?status={status}"))["exceptions"]:
            path = f"/vehicles/{stage.tcu.vin}/curfew/exceptions/{left['exceptionId']}"
            await stage.api.delete(path, base=CHILDCARE)
            stage.tell(Verb.DONE, f"{left['exceptionId']} of an earlier run cancelled", None)


async def _set_policy(stage: Stage, *, enabled: bool) -> Json:
    """Set a policy whose window holds now, with the fields of the curfew guide's Policy Setting."""
    now = datetime.now(UTC)
    body = {
        "enabled": enabled,
        "timezone": "UTC",
        "days": list(Day),
        "timeWindow": {"start": f"{now - _AROUND:%H:%M}", "end": f"{now + _AROUND:%H:%M}"},
        "actions": ["notification"],
    }
    return await _put(stage, "curfew/policy", body)


async def _grant(stage: Stage) -> Json:
    """Release the vehicle for an hour, as the curfew guide's Exception Setting does."""
    now = datetime.now(UTC)
    body = {
        "reason": "After-school program ended late",
        "startTime": format_instant(now),
        "endTime": format_instant(now + _AROUND),
    }
    path = f"/vehicles/{stage.tcu.vin}/curfew/exception"
    return await stage.api.post(path, body, idempotency_key=messages.message_id(stage.rng), base=CHILDCARE)


async def _get(stage: Stage, path: str) -> Json:
    return await stage.api.get(f"/vehicles/{stage.tcu.vin}/{path}", base=CHILDCARE)


async def _put(stage: Stage, path: str, body: Json) -> Json:
    return await stage.api.put(f"/vehicles/{stage.tcu.vin}/{path}", body, base=CHILDCARE)
