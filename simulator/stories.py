"""The stories of a vehicle, each from what the driver does to what the call center sees, with every step told.

A story ends, or raises StoryFailed or ApiRefused with what was missing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from schemas.call import CallStatus
from schemas.incident import Service
from schemas.receipt import ReceiptMessage
from schemas.rsa import RsaStatus
from schemas.topics import Uplink
from simulator import call_center, driving, messages
from simulator.curfew import curfew
from simulator.public_api import ApiRefused, Event
from simulator.seen import Seen
from simulator.stage import RECEIPT_S, Outcome, Stage, Step, StoryFailed, Verb, seed_hint
from simulator.tcu import Sent, Unreachable

TRIP_S = 40.0
TRIP_PACE = 8.0
CALL_S = 3


async def trip(stage: Stage) -> None:
    """A short trip, eight times as fast as it was: engine start, status samples, engine stop."""
    # It is told as having begun so long ago that its end is now: a timestamp from the future would be refused.
    began = stage.tcu.now() - timedelta(seconds=TRIP_S * (1 - 1 / TRIP_PACE))
    samples, step_s = 0, 1.0
    for moment in driving.trip(stage.rng, stage.parked, duration_s=TRIP_S, step_s=step_s):
        at = began + timedelta(seconds=moment.elapsed_s)
        stage.parked = moment.state
        if moment.event is not None:
            sent = stage.tcu.send(Uplink.ENGINE, messages.engine(stage.rng, moment.event, moment.state, at))
            await stage.stored(sent, f"engine {moment.event}")
        else:
            stage.tcu.report(messages.status(stage.rng, moment.state, at))
            samples += 1
            await asyncio.sleep(step_s / TRIP_PACE)
    try:
        async with asyncio.timeout(RECEIPT_S):
            await stage.tcu.settled()
    except TimeoutError:
        raise StoryFailed(f"the broker did not take all status samples within {RECEIPT_S:.0f} s") from None
    stage.tell(Verb.SENT, f"{samples} status samples · odometer {stage.parked.odometer_km:.2f} km", None)


async def sos(stage: Stage) -> None:
    """An SOS from the press of the button over the voice call to the closed incident."""
    for cid in await call_center.close_open_sos(stage.api, stage.rng, stage.tcu.vin):
        stage.tell(Verb.DONE, f"{cid} of an earlier run closed", None)
    async with stage.api.events(Service.SOS) as events:
        cid, agent_id = await _press_sos(stage, events)
        await _talk(stage, events, cid)
        await _close_sos(stage, events, cid, agent_id)
    await _look_back(stage, "sos", agent_id)


async def rsa(stage: Stage) -> None:
    """A breakdown from the press of the button over the partner's tow truck to the closed incident."""
    for cid in await call_center.end_open_rsa(stage.api, stage.rng, stage.tcu.vin):
        stage.tell(Verb.DONE, f"{cid} of an earlier run closed", None)
    async with stage.api.events(Service.RSA) as events:
        cid = await _press_rsa(stage, events)
        ticket = await _dispatch(stage, events, cid)
        await _finish_rsa(stage, events, cid, ticket)
    await _look_back(stage, "rsa", call_center.AGENT)


STORIES: dict[str, Callable[[Stage], Awaitable[None]]] = {"trip": trip, "sos": sos, "rsa": rsa, "curfew": curfew}


async def play(name: str, stage: Stage, say: Callable[[Step], None]) -> Outcome:
    """Play one story and return how it ended; every step is said as it is made."""
    steps: list[Step] = []

    def note(step: Step) -> None:
        steps.append(step)
        say(step)

    stage.story, stage.say = name, note
    failure = None
    try:
        await stage.tcu.connected(timeout_s=RECEIPT_S)
        await STORIES[name](stage)
    except (StoryFailed, ApiRefused, Unreachable) as error:
        failure = f"{error}{seed_hint(stage.tcu)}"
    return Outcome(name, stage.tcu.vin, tuple(steps), failure)


async def _press_sos(stage: Stage, events: Seen[Event]) -> tuple[str, str]:
    vin = stage.tcu.vin
    sent = stage.tcu.send(Uplink.SOS, messages.sos_press(stage.rng, stage.tcu.now()))
    cid = _cid_of(await stage.stored(sent, "SOS press"))
    event = await stage.seen(events, "SOS_INITIATED", cid, sent.at_s)
    await stage.read(call_center.sos_status(stage.api, vin, cid), "sos/status", cid=cid, vin=vin, status="INITIATED")
    await stage.shown(cid, "INITIATED", sent.at_s)
    return cid, (event.data.model_extra or {}).get("agentId") or call_center.AGENT


async def _talk(stage: Stage, events: Seen[Event], cid: str) -> None:
    vin = stage.tcu.vin
    session_id = (await call_center.sos_voice_call(stage.api, vin, cid)).get("sessionId")
    await stage.stored(_call(stage, CallStatus.CONNECTING, cid, session_id), "call CONNECTING")
    connected = _call(stage, CallStatus.CONNECTED, cid, session_id)
    await stage.stored(connected, "call CONNECTED")
    await stage.seen(events, "SOS_CONNECTED", cid, connected.at_s)
    await stage.read(call_center.sos_status(stage.api, vin, cid), "sos/status", status="CONNECTED")
    await asyncio.sleep(CALL_S)
    ended = _call(stage, CallStatus.ENDED, cid, session_id, duration_s=CALL_S, battery_voltage=12.5)
    await stage.stored(ended, f"call ENDED after {CALL_S} s")
    voice_call = call_center.sos_voice_call(stage.api, vin, cid)
    await stage.read(voice_call, "sos/status voiceCall", status="ENDED", duration=CALL_S)


async def _close_sos(stage: Stage, events: Seen[Event], cid: str, agent_id: str) -> None:
    vin = stage.tcu.vin
    closing = call_center.close_sos(stage.api, stage.rng, vin, cid, agent_id)
    _, since_s = await stage.done(closing, f"sos/close by {agent_id}")
    await stage.seen(events, "SOS_CLOSED", cid, since_s)
    await stage.shown(cid, "CLOSED", since_s)
    await stage.read(call_center.sos_of_history(stage.api, vin, cid), "sos/history", cid=cid, status="CLOSED")


async def _press_rsa(stage: Stage, events: Seen[Event]) -> str:
    vin = stage.tcu.vin
    sent = stage.tcu.send(Uplink.RSA, messages.rsa_press(stage.rng, stage.tcu.now()))
    cid = _cid_of(await stage.stored(sent, "RSA press"))
    await stage.seen(events, "RSA_REQUESTED", cid, sent.at_s)
    await stage.read(call_center.rsa_status(stage.api, vin, cid), "rsa/status", cid=cid, vin=vin, status="REQUESTED")
    await stage.shown(cid, "REQUESTED", sent.at_s)
    return cid


async def _dispatch(stage: Stage, events: Seen[Event], cid: str) -> str:
    dispatching = call_center.dispatch_rsa(stage.api, stage.rng, stage.tcu.vin, cid)
    dispatched, since_s = await stage.done(dispatching, f"rsa/dispatch to {call_center.PARTNER}")
    await stage.seen(events, "RSA_DISPATCHED", cid, since_s)
    await stage.shown(cid, "DISPATCHED", since_s)
    ticket = dispatched.get("partnerTicketId") or f"SFT_{stage.rng.randrange(100_000):05d}"
    confirming = call_center.confirm_dispatch(stage.api, stage.rng, cid, ticket)
    _, since_s = await stage.done(confirming, f"dispatch/confirm with {ticket}")
    await stage.seen(events, "RSA_CONFIRMED", cid, since_s)
    for status in (RsaStatus.EN_ROUTE, RsaStatus.ARRIVED):
        telling = call_center.tell_position(stage.api, stage.rng, cid, ticket, status)
        _, since_s = await stage.done(telling, f"dispatch/location {status}")
        await stage.seen(events, f"RSA_{status}", cid, since_s)
        await stage.shown(cid, status, since_s)
    return ticket


async def _finish_rsa(stage: Stage, events: Seen[Event], cid: str, ticket: str) -> None:
    vin = stage.tcu.vin
    _, since_s = await stage.done(
        call_center.complete_service(stage.api, stage.rng, cid, ticket), "service/complete by the partner"
    )
    await stage.seen(events, "RSA_COMPLETED", cid, since_s)
    closing = call_center.close_rsa(stage.api, stage.rng, vin, cid, ticket)
    _, since_s = await stage.done(closing, f"rsa/close by {call_center.AGENT}")
    await stage.seen(events, "RSA_CLOSED", cid, since_s)
    await stage.shown(cid, "CLOSED", since_s)
    await stage.read(call_center.rsa_of_history(stage.api, vin, cid), "rsa/history", cid=cid, status="COMPLETED")


async def _look_back(stage: Stage, service: str, agent_id: str) -> None:
    """The center looks at the volume, its counselor and the system (guides, Scenario 4)."""
    await stage.read(stage.api.get(f"/{service}/stats"), f"{service}/stats", period="30d")
    performance = stage.api.get(f"/{service}/agents/{agent_id}/performance")
    await stage.read(performance, f"{service}/agents performance", agentId=agent_id)
    if service == "sos":
        health = await stage.read(stage.api.get("/sos/system/health"), "sos/system/health")
        stage.tell(Verb.READ, f"the system is {health['status']}", None)


def _call(
    stage: Stage,
    status: CallStatus,
    cid: str,
    session_id: str | None,
    *,
    duration_s: int | None = None,
    battery_voltage: float | None = None,
) -> Sent:
    message = messages.call(
        stage.rng,
        status,
        stage.tcu.now(),
        cid=cid,
        session_id=session_id,
        duration_s=duration_s,
        battery_voltage=battery_voltage,
    )
    return stage.tcu.send(Uplink.CALL, message)


def _cid_of(receipt: ReceiptMessage) -> str:
    if receipt.cid is None:
        raise StoryFailed(f"the receipt {receipt.result} of the press names no cid")
    return receipt.cid
