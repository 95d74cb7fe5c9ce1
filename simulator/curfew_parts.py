"""The parts of the curfew's story that are about when driving is a violation."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from functools import partial

from schemas.base import format_instant
from schemas.command import CommandType
from schemas.curfew import CurfewAction, CurfewEvent, Day
from schemas.demo import NIGHT_WINDOW
from schemas.topics import Uplink
from schemas.vehicle import EngineEvent
from simulator import call_center, curfew_checks, driving, guardian, messages, nights
from simulator.curfew_checks import Trip
from simulator.nights import Night
from simulator.public_api import Json
from simulator.seen import Seen
from simulator.stage import EVENT_S, RECEIPT_S, Stage, StoryFailed, Verb, expect
from simulator.tcu import Sent

AWAY = timedelta(hours=2)
"""How long the vehicle that delivers late was out of coverage."""
_LATE_MOST = timedelta(days=6, hours=20)
"""Data is judged at its own time for seven days; a little less, so that it still is when it arrives."""
_AROUND_THE_NIGHT = timedelta(minutes=30)
_YEAR = timedelta(days=365)
_CLOCK_IS_RIGHT = timedelta(seconds=5)
_BEFORE_THE_CHANGE = time(1, 30)
_LAST_BEFORE_A_GAP = time(1, 59, 59)
"""New York's clocks are changed at 02:00."""


async def clock_change(stage: Stage) -> None:
    """A night of which the clock change takes or gives an hour: told by the policy, and driven through."""
    tcu, api = stage.tcu, stage.api
    tcu.go_online()
    async with curfew_set(stage, zone=nights.NEW_YORK, days=(Day.SATURDAY,), window=nights.WINDOW):
        for changed in nights.changed_nights(nights.NEW_YORK, datetime.now(UTC)):
            await _explained(stage, changed)
    now = datetime.now(UTC)
    night = nights.night_to_drive(now - _LATE_MOST, now - 2 * _AROUND_THE_NIGHT)
    run = (night.begins - _AROUND_THE_NIGHT, night.ends + _AROUND_THE_NIGHT)
    for event, at in zip((EngineEvent.START, EngineEvent.STOP), run, strict=True):
        await stage.stored(send_engine(stage, event, at), f"engine {event} of {format_instant(at)}, told late")
    tried = await guardian.dry_run(
        api, stage.rng, tcu.vin, night.zone, days=(night.day,), window=nights.WINDOW, since=run[0], until=run[1]
    )
    curfew_checks.flagged(tried, [(night.begins, night.ends)])
    stage.tell(
        Verb.READ, f"curfew/dry-run · the drive through {_named(night)} would break it for {tried['minutes']} minutes"
    )


async def exception_on_the_way(stage: Stage) -> None:
    """A drive in the night of today, from the warning to the exception that ends the violation on the way."""
    vin, api = stage.tcu.vin, stage.api
    await stand(stage)
    known = {command["commandId"] for command in await guardian.commands(api, vin)}
    actions = (CurfewAction.NOTIFICATION, CurfewAction.IN_VEHICLE_WARNING)
    async with api.curfew_events(vin) as events, curfew_set(stage, actions=actions):
        at = stage.tcu.now()
        start = send_engine(stage, EngineEvent.START, at)
        await stage.stored(start, "engine START")
        opened = await _seen(stage, events, "CURFEW_VIOLATION", start.at_s)
        listed = await _newest_violation(stage, at)
        expect("the newest of curfew/violations", listed["violationId"], wanted=opened.violation_id)
        expect(f"resolved of {opened.violation_id}", listed["resolved"], wanted=False)
        expect(f"detectedLate of {opened.violation_id}", listed["detectedLate"], wanted=False)
        stage.tell(Verb.READ, f"curfew/violations · {opened.violation_id} {listed['severity']}, goes on")
        await command(stage, CommandType.IN_VEHICLE_WARNING, known, "EXECUTED")

        granted, since_s = await stage.done(
            guardian.grant(api, stage.rng, vin, datetime.now(UTC)), "curfew/exception by the guardian"
        )
        ended = await _seen(
            stage,
            events,
            "CURFEW_VIOLATION_RESOLVED",
            since_s,
            lambda event: event.violation_id == opened.violation_id,
        )
        expect(f"resolution of {opened.violation_id}", ended.data.get("resolution"), wanted="EXCEPTION")
        explained = guardian.explain(api, vin)
        await stage.read(
            explained, "curfew/explain", inside=False, reason="EXCEPTION", exceptionId=granted["exceptionId"]
        )
        await stage.stored(send_engine(stage, EngineEvent.STOP, stage.tcu.now()), "engine STOP")
        listed = await _newest_violation(stage, at)
        expect(f"endedAt of {opened.violation_id}", listed["endedAt"], wanted=granted["startTime"])
        expect(f"resolution of {opened.violation_id}", listed["resolution"], wanted="EXCEPTION")
        stage.tell(Verb.READ, f"curfew/violations · {opened.violation_id} ended by the exception")
    await stage.done(guardian.cancel(api, vin, granted["exceptionId"]), f"{granted['exceptionId']} cancelled")


def late_trips(now: datetime) -> list[Trip]:
    """Return the two short trips of a vehicle that left coverage two hours ago and parked soon after."""
    gone = (now - AWAY).replace(microsecond=0)
    return [(gone + timedelta(minutes=start), gone + timedelta(minutes=start + 3)) for start in (2, 7)]


async def offline(stage: Stage, trips: Sequence[Trip]) -> None:
    """A vehicle comes back after two hours and tells of trips inside its curfew, in no order."""
    vin, api = stage.tcu.vin, stage.api
    since = trips[0][0] - timedelta(minutes=1)
    zone = (await guardian.explain(api, vin, since))["timezone"]
    known = {entry["commandId"] for entry in await guardian.commands(api, vin)}
    (start1, stop1), (start2, stop2) = trips
    kept = [
        (EngineEvent.START, start2),
        (EngineEvent.STOP, stop1),
        (EngineEvent.STOP, stop2),
        (EngineEvent.START, start1),
    ]
    async with api.curfew_events(vin) as events:
        sent = [(send_engine(stage, event, at), event, at) for event, at in kept]
        running = driving.started(stage.rng, stage.parked)
        for start, stop in reversed(trips):
            stage.tcu.report(messages.status(stage.rng, running, start + (stop - start) / 2))
        stage.tell(Verb.WAITED, f"out of coverage for two hours; keeps {len(kept)} messages")
        stage.tcu.go_online()
        for message, event, at in sent:
            await stage.stored(message, f"engine {event} of {format_instant(at)}")
        await settled(stage)

        async def listed() -> list[Json]:
            found = await guardian.violations(api, vin, since)
            curfew_checks.told_late(found, trips)
            return found

        found = await stage.holds(listed)
        ids = [entry["violationId"] for entry in found]
        stage.tell(Verb.READ, f"curfew/violations · {', '.join(ids)} at their own times, detectedLate")
        tried = await guardian.dry_run(
            api, stage.rng, vin, zone, since=since, until=trips[-1][1] + timedelta(minutes=1)
        )
        curfew_checks.flagged(tried, trips)
        stage.tell(Verb.READ, f"curfew/dry-run · the same {tried['violations']} over the same time in order")

        async def told() -> int:
            return curfew_checks.quiet(events.so_far(), ids)

        count = await stage.holds(told)
        stage.tell(Verb.SEEN, f"{count} events, all with priority LOW and detectedLate")
    warned = [entry for entry in await guardian.commands(api, vin) if entry["commandId"] not in known]
    expect("what the driver was told of trips that are over", warned, wanted=[])
    stage.tell(Verb.READ, "commands · no warning of trips that are over")


async def wrong_clock(stage: Stage) -> None:
    """A clock that jumps a year ahead: what happens counts when it is received, and the clock is corrected."""
    tcu, api = stage.tcu, stage.api
    await stand(stage)
    for cid in await call_center.close_open_sos(api, stage.rng, tcu.vin):
        stage.tell(Verb.DONE, f"{cid} of an earlier run closed")
    async with curfew_set(stage):
        for tells in (_tells_start, _tells_sos, partial(_tells_stop, going_on=1), partial(_tells_stop, going_on=0)):
            synced = await guardian.commands(api, tcu.vin, CommandType.TIME_SYNC)
            known = {entry["commandId"] for entry in synced}
            left = curfew_checks.corrections_left(synced, datetime.now(UTC))
            tcu.misset_clock(datetime.now(UTC) - tcu.now() + _YEAR)
            stage.tell(Verb.SHOWN, f"the clock reads {format_instant(tcu.now())}")
            await tells(stage)
            if left:
                await command(stage, CommandType.TIME_SYNC, known, "EXECUTED")
                if abs(tcu.now() - datetime.now(UTC)) > _CLOCK_IS_RIGHT:
                    raise StoryFailed(f"the vehicle obeyed TIME_SYNC and its clock reads {tcu.now()}")
                stage.tell(Verb.SHOWN, f"the clock reads {format_instant(tcu.now())} again")
            else:
                # The receipt comes after the commit, and a correction would have been issued in that transaction.
                after = await guardian.commands(api, tcu.vin, CommandType.TIME_SYNC)
                beyond = [entry for entry in after if entry["commandId"] not in known]
                expect("what is issued beyond three an hour", beyond, wanted=[])
                stage.tell(Verb.READ, "commands · no TIME_SYNC: three in an hour are the most")
        tcu.misset_clock(datetime.now(UTC) - tcu.now())


async def _tells_start(stage: Stage) -> None:
    sent_at = datetime.now(UTC)
    receipt = await stage.stored(send_engine(stage, EngineEvent.START, stage.tcu.now()), "engine START in a year")
    violation = await _newest_violation(stage, sent_at)
    curfew_checks.received("the violation", violation["timestamp"], sent_at, receipt.server_time)
    stage.tell(Verb.READ, f"curfew/violations · {violation['violationId']} begins when the START was received")


async def _tells_stop(stage: Stage, *, going_on: int) -> None:
    api, vin, sent_at = stage.api, stage.tcu.vin, datetime.now(UTC)
    goes_on = [v for v in await guardian.violations(api, vin, sent_at - timedelta(hours=1)) if not v["resolved"]]
    expect("the number of violations that go on", len(goes_on), wanted=going_on)
    receipt = await stage.stored(send_engine(stage, EngineEvent.STOP, stage.tcu.now()), "engine STOP in a year")
    ended = {v["violationId"]: v for v in await guardian.violations(api, vin, sent_at - timedelta(hours=1))}
    for violation in goes_on:
        ended_at = ended.get(violation["violationId"], {}).get("endedAt")
        curfew_checks.received("the end of the violation", ended_at, sent_at, receipt.server_time)
        stage.tell(Verb.READ, f"curfew/violations · {violation['violationId']} ends when the STOP was received")


async def _tells_sos(stage: Stage) -> None:
    api, vin, sent_at = stage.api, stage.tcu.vin, datetime.now(UTC)
    press = messages.sos_press(stage.rng, stage.tcu.now()).model_copy(update={"test_call": True})
    receipt = await stage.stored(stage.tcu.send(Uplink.SOS, press), "SOS press, as a test call")
    if receipt.cid is None:
        raise StoryFailed("the receipt of the press names no cid")
    incident = await call_center.sos_status(api, vin, receipt.cid)
    curfew_checks.received(receipt.cid, incident["timestamp"], sent_at, receipt.server_time)
    if "CLOCK_SUSPECT" not in incident["anomalies"]:
        raise StoryFailed(f"anomalies of {receipt.cid} are {incident['anomalies']}, expected CLOCK_SUSPECT among them")
    stage.tell(Verb.READ, f"sos/status · {receipt.cid} is noted as CLOCK_SUSPECT, at the time of receiving")
    await call_center.close_sos(api, stage.rng, vin, receipt.cid)


@asynccontextmanager
async def curfew_set(
    stage: Stage,
    *,
    zone: str | None = None,
    days: Sequence[Day] = tuple(Day),
    window: dict[str, str] = NIGHT_WINDOW,
    actions: Sequence[CurfewAction] = (CurfewAction.NOTIFICATION,),
) -> AsyncIterator[None]:
    """Give the vehicle a curfew, with its driver's consent and in a zone where it is night now; switch it off after."""
    api, vin = stage.api, stage.tcu.vin
    zone = zone or nights.zone_at_night(datetime.now(UTC))
    told = f"curfew/policy by the guardian · {zone} {window['start']}-{window['end']}"
    await stage.done(guardian.consent(api, vin), "consents by the driver")
    try:
        await stage.done(
            guardian.set_policy(api, vin, zone, days=days, window=window, actions=actions),
            f"{told} · {', '.join(actions)}",
        )
        await stage.read(guardian.policy(api, vin), "curfew/policy", enabled=True, evaluated=True, note=None)
        yield
    finally:
        # Whatever happened, the next round begins without a curfew.
        await guardian.set_policy(api, vin, zone, enabled=False)
    stage.tell(Verb.DONE, "curfew/policy switched off")


async def stand(stage: Stage) -> None:
    """Come into coverage with the engine off and no exceptions, whatever an interrupted run has left."""
    stage.tcu.go_online()
    await stage.tcu.connected(timeout_s=RECEIPT_S)
    await stage.stored(send_engine(stage, EngineEvent.STOP, stage.tcu.now()), "engine STOP")
    for exception_id in await guardian.cancel_all(stage.api, stage.tcu.vin):
        stage.tell(Verb.DONE, f"{exception_id} of an earlier run cancelled")


def send_engine(stage: Stage, event: EngineEvent, at: datetime) -> Sent:
    """Let the vehicle start or stop its engine where it stands."""
    if event is EngineEvent.START:
        stage.parked = driving.started(stage.rng, stage.parked)
    else:
        stage.parked = driving.stopped(stage.parked)
    return stage.tcu.send(Uplink.ENGINE, messages.engine(stage.rng, event, stage.parked, at))


async def command(stage: Stage, type_: CommandType, known: set[str], *outcomes: str) -> Json:
    """Return a command that is none of those known, once it has come to one of these outcomes."""

    async def answered() -> Json:
        entries = await guardian.commands(stage.api, stage.tcu.vin, type_)
        new = [entry for entry in entries if entry["commandId"] not in known]
        found = next((entry for entry in new if entry["outcome"] in outcomes), None)
        if found is None:
            seen = ", ".join(entry["outcome"] for entry in new) or "none"
            raise StoryFailed(f"of new {type_} commands there are {seen}, expected one {' or '.join(outcomes)}")
        return found

    entry = await stage.holds(answered)
    reason = entry["ackReason"] or entry["reason"]
    stage.tell(Verb.READ, f"commands · {type_} {entry['outcome']}{f' · {reason}' if reason else ''}")
    return entry


async def _newest_violation(stage: Stage, since: datetime) -> Json:
    # A little before: what is stored has milliseconds.
    found = await guardian.violations(stage.api, stage.tcu.vin, since - timedelta(seconds=1))
    if not found:
        raise StoryFailed(f"curfew/violations has none since {format_instant(since)}")
    return found[-1]


async def _explained(stage: Stage, night: Night) -> None:
    """The night is as long as its clock makes it; nothing of it is lost, and what is repeated counts twice."""
    if night.lasts < nights.ORDINARY:
        changed = (night.at(_LAST_BEFORE_A_GAP) + timedelta(seconds=1), "03:00:00")
    else:
        changed = (night.at(_BEFORE_THE_CHANGE, fold=1), "01:30:00")
    before, last = (night.at(_BEFORE_THE_CHANGE), "01:30:00"), (night.ends - timedelta(seconds=1), "04:59:59")
    for at, shows in (before, changed, last):
        explained = await guardian.explain(stage.api, stage.tcu.vin, at)
        found = (explained["inside"], explained["clock"][11:19])
        expect(f"curfew/explain at {format_instant(at)}", found, wanted=(True, shows))
        curfew_checks.night(explained, night)
    explained = await guardian.explain(stage.api, stage.tcu.vin, night.ends)
    expect(f"reason of curfew/explain at {format_instant(night.ends)}", explained["reason"], wanted="OUTSIDE_WINDOW")
    stage.tell(Verb.READ, f"curfew/explain · {_named(night)} lasts {night.lasts}, until {format_instant(night.ends)}")


def _named(night: Night) -> str:
    return f"the night of {night.day.capitalize()} {night.evening} in {night.zone}"


async def _seen(
    stage: Stage,
    events: Seen[CurfewEvent],
    type_: str,
    since_s: float,
    matches: Callable[[CurfewEvent], bool] = lambda _event: True,
) -> CurfewEvent:
    try:
        arrival = await events.first(lambda event: event.type == type_ and matches(event), timeout_s=EVENT_S)
    except TimeoutError:
        raise StoryFailed(f"no {type_} on the curfew's stream within {EVENT_S:.0f} s") from None
    event = arrival.what
    stage.tell(
        Verb.SEEN, f"{event.type} · {event.violation_id} {event.severity} · {event.event_id}",
        (arrival.at_s - since_s) * 1000,
    )  # fmt: skip
    return event


async def settled(stage: Stage) -> None:
    """Wait until the broker has every message. Raises StoryFailed."""
    try:
        async with asyncio.timeout(RECEIPT_S):
            await stage.tcu.settled()
    except TimeoutError:
        raise StoryFailed(f"the broker did not take all status samples within {RECEIPT_S:.0f} s") from None
