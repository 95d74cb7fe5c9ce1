"""A scenario, run: each step is done or awaited, and the first that does not hold is told with its line."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from pydantic import ValidationError

from schemas.curfew import CurfewEvent
from schemas.incident import Service
from schemas.receipt import ReceiptResult
from schemas.topics import Uplink
from schemas.vehicle import Uplinked
from simulator import call_center, drives, driving, messages, nights
from simulator.garage import Garage
from simulator.public_api import ApiRefused, PublicApi
from simulator.public_api import Event as IncidentEvent
from simulator.scenario import (
    BadScenario,
    Call,
    Count,
    Drive,
    Engine,
    Event,
    Press,
    Receipt,
    Rest,
    Scenario,
    Send,
    Shown,
    Step,
    Stream,
    at_path,
    filled,
    instant,
    load_scenario,
)
from simulator.seen import Seen
from simulator.stage import StoryFailed, expect, seed_hint
from simulator.stopping import to_its_end
from simulator.tcu import Tcu, Unreachable

_CONNECT_S = 20.0
_GRACE_S = 10.0
"""What comes this much too late is told as late; what comes later still, as missing."""
_AFTERWARDS_S = 20.0
"""After Ctrl-C what is left is undone for so long at most."""
_LOOK_AGAIN_S = 0.2
_SAMPLE_S = 5.0
_TELLING = ("method", "path", "service", "type", "event", "status", "result", "kind")


@dataclass(frozen=True, slots=True)
class Checked:
    """One step of a scenario: where it is in the file, what it says, how long it took, and what did not hold."""

    scenario: str
    line: int
    what: str
    took_ms: float
    failure: str | None


@dataclass(slots=True)
class _Vehicle:
    tcu: Tcu
    covered: bool = True
    sent: dict[str, tuple[Uplink, bytes]] = field(default_factory=dict)
    owed: list[tuple[Uplink, str]] = field(default_factory=list)
    """What must be stored, by kind and id; and the drives, samples and all."""
    driven: list[drives.Told] = field(default_factory=list)


@dataclass(slots=True)
class _Run:
    """What a running scenario knows: vehicles by name, streams, what was saved, and when something was last done."""

    api: PublicApi
    rng: Random
    vehicles: dict[str, _Vehicle]
    streams: dict[tuple[Stream, str], Seen[IncidentEvent] | Seen[CurfewEvent]]
    known: dict[str, Any]
    since_s: float

    def acts(self) -> None:
        """Something is being done: what it leads to is timed from here."""
        self.since_s = asyncio.get_running_loop().time()

    def fill(self, value: Any) -> Any:
        """Return a value with its placeholders filled in."""
        return filled(value, self.known, datetime.now(UTC))

    def told(self, error: Exception) -> str:
        """Return what did not hold, and whether the seed may be the reason."""
        return f"{error}{seed_hint(*(vehicle.tcu for vehicle in self.vehicles.values()))}"


async def check(
    path: Path, *, garage: Garage, api: PublicApi, seed: int, say: Callable[[Checked], None]
) -> list[Checked]:
    """Run the scenario of a file and return its steps as they went; the first that failed, if one did, is the cause.

    `say` is given each step as it ends. Raises BadScenario.
    """
    scenario, lines = load_scenario(path)
    told: list[Checked] = []

    async def go_through(run: _Run, steps: list[Step], places: list[int]) -> bool:
        for step, line in zip(steps, places, strict=True):
            told.append(await _checked(run, step, f"{path.name}", line))
            say(told[-1])
            if told[-1].failure is not None:
                return False
        return True

    async def go_through_afterwards(run: _Run, *, held: bool) -> None:
        for step, line in zip(scenario.afterwards, lines.afterwards, strict=True):
            if held or _can_be_done(run, step):
                await go_through(run, [step], [line])

    async with AsyncExitStack() as stack:
        try:
            run = await _prepared(scenario, stack, garage, api, Random(f"{seed}:{scenario.title}"))
        except (StoryFailed, ApiRefused, Unreachable) as failure:
            told.append(Checked(path.name, 1, "set-up", 0.0, str(failure)))
            say(told[-1])
            return told
        held = False
        try:
            held = await go_through(run, scenario.steps, lines.steps)
            if held:
                told.append(await _all_stored(run, path.name, lines.steps[-1]))
                say(told[-1])
        finally:
            await to_its_end(go_through_afterwards(run, held=held), at_most_s=_AFTERWARDS_S)
    return told


async def _prepared(scenario: Scenario, stack: AsyncExitStack, garage: Garage, api: PublicApi, rng: Random) -> _Run:
    """Connect the vehicles, close what earlier runs left open, and open the streams that the steps speak of."""
    vehicles = {}
    for name, vin in scenario.vehicles.items():
        vehicles[name] = _Vehicle(await stack.enter_async_context(garage.tcu(vin)))
        await vehicles[name].tcu.connected(timeout_s=_CONNECT_S)
        await call_center.close_open_sos(api, rng, vin)
        await call_center.end_open_rsa(api, rng, vin)
    first = next(iter(vehicles))
    streams: dict[tuple[Stream, str], Seen[IncidentEvent] | Seen[CurfewEvent]] = {}
    for step in (*scenario.steps, *scenario.afterwards):
        watched = step.event or step.count
        if watched is None:
            continue
        key = (watched.stream, step.vehicle or first)
        if key in streams:
            continue
        if watched.stream is Stream.CURFEW:
            vin = scenario.vehicles[step.vehicle or first]
            streams[key] = await stack.enter_async_context(api.curfew_events(vin))
        else:
            streams[key] = await stack.enter_async_context(api.events(Service(watched.stream.upper())))
    known: dict[str, Any] = {name: {"vin": vehicle.tcu.vin} for name, vehicle in vehicles.items()}
    known["night"] = {"zone": nights.zone_at_night(datetime.now(UTC))}
    return _Run(api, rng, vehicles, streams, known, asyncio.get_running_loop().time())


def _can_be_done(run: _Run, step: Step) -> bool:
    """Tell whether all that a step speaks of was saved; what was never made need not be undone."""
    try:
        run.fill(step.model_dump(mode="json"))
    except BadScenario:
        return False
    return True


async def _checked(run: _Run, step: Step, scenario: str, line: int) -> Checked:
    began_s = asyncio.get_running_loop().time()
    failure = None
    try:
        name = step.vehicle or next(iter(run.vehicles))
        run.known["vin"] = run.vehicles[name].tcu.vin
        await _DOES[step.kind](run, name, getattr(step, step.kind))
    except (StoryFailed, ApiRefused, BadScenario) as error:
        failure = run.told(error)
    took_ms = 1000 * (asyncio.get_running_loop().time() - began_s)
    return Checked(scenario, line, step.note or _named(step), took_ms, failure)


def _named(step: Step) -> str:
    said = getattr(step, step.kind)
    if isinstance(said, str | float | int):
        return f"{step.kind} {said}"
    words = [str(getattr(said, name)) for name in _TELLING if hasattr(said, name)]
    return " ".join([step.kind, *words])


async def _press(run: _Run, name: str, press: Press) -> None:
    tcu = run.vehicles[name].tcu
    kind = Uplink(press.service)
    made = (messages.sos_press if kind is Uplink.SOS else messages.rsa_press)(run.rng, tcu.now())
    body = made.model_dump(mode="json", by_alias=True, exclude_none=True) | run.fill(press.fields)
    try:
        message = type(made).model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadScenario(f"fields.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    unknown = _unknown(body, message.model_dump(mode="json", by_alias=True, exclude_unset=True))
    if unknown is not None:
        raise BadScenario(f"fields.{unknown}: expected a field of up/{kind}")
    await _hand_over(run, name, kind, message, save=press.save, within_s=press.within)


def _unknown(body: dict[str, Any], understood: dict[str, Any]) -> str | None:
    """Return the path of the first field that was not understood, None where all were."""
    for name, value in body.items():
        if name not in understood:
            return name
        within = _unknown(value, understood[name]) if isinstance(value, dict) else None
        if within is not None:
            return f"{name}.{within}"
    return None


async def _engine(run: _Run, name: str, engine: Engine) -> None:
    at = instant(engine.at, run.vehicles[name].tcu.now())
    message = messages.engine(run.rng, engine.event, driving.parked_somewhere(run.rng), at)
    await _hand_over(run, name, Uplink.ENGINE, message, save=engine.save, within_s=engine.within)


async def _call(run: _Run, name: str, call: Call) -> None:
    tcu = run.vehicles[name].tcu
    cid = run.fill("{" + call.of + ".cid}")
    message = messages.call(run.rng, call.status, tcu.now(), cid=cid, duration_s=call.duration)
    await _hand_over(run, name, Uplink.CALL, message, save=None, within_s=call.within)


async def _hand_over(
    run: _Run, name: str, kind: Uplink, message: Uplinked, *, save: str | None, within_s: float
) -> None:
    """Send a message and, in coverage, see that its receipt comes in time and says STORED."""
    vehicle = run.vehicles[name]
    run.acts()
    vehicle.tcu.send(kind, message)
    vehicle.owed.append((kind, message.message_id))
    saved: dict[str, Any] = {"messageId": message.message_id}
    if save is not None:
        vehicle.sent[save] = (kind, messages.payload_of(message))
        run.known[save] = saved
    if vehicle.covered:
        receipt = await _receipt_of(run, name, message.message_id, result=ReceiptResult.STORED, within_s=within_s)
        saved["cid"] = receipt.get("cid")


async def _drive(run: _Run, name: str, drive: Drive) -> None:
    vehicle = run.vehicles[name]
    ended = instant(drive.ended, vehicle.tcu.now())
    told = drives.a_drive(run.rng, ended=ended, seconds=drive.seconds, step_s=_SAMPLE_S)
    if drive.shuffled:
        run.rng.shuffle(told)
    run.acts()
    for kind, message in told:
        if kind is Uplink.STATUS:
            vehicle.tcu.report_payload(messages.payload_of(message))
        else:
            vehicle.tcu.send(kind, message)
            vehicle.owed.append((kind, message.message_id))
    vehicle.driven.append(told)
    if vehicle.covered:
        await _stored(run, name, drive.within)


async def _send(run: _Run, name: str, send: Send) -> None:
    payload = run.fill(send.payload)
    run.acts()
    if isinstance(payload, dict):
        made = {"messageId": messages.message_id(run.rng)} | payload
        run.vehicles[name].tcu.say(send.kind, _json(made))
    else:
        run.vehicles[name].tcu.say(send.kind, str(payload).encode())


async def _again(run: _Run, name: str, saved: str) -> None:
    if saved not in run.vehicles[name].sent:
        raise BadScenario(f"again {saved}: expected what a step of this vehicle has saved")
    kind, payload = run.vehicles[name].sent[saved]
    run.acts()
    run.vehicles[name].tcu.say(kind, payload)


async def _coverage(run: _Run, name: str, coverage: str) -> None:
    vehicle = run.vehicles[name]
    vehicle.covered = coverage == "back"
    run.acts()
    if not vehicle.covered:
        await vehicle.tcu.go_offline()
        return
    vehicle.tcu.go_online()
    try:
        await vehicle.tcu.connected(timeout_s=_CONNECT_S)
    except Unreachable as error:
        raise StoryFailed(str(error)) from error


async def _rest(run: _Run, _name: str, rest: Rest) -> None:
    if rest.method != "GET":
        run.acts()
    path, body, wanted = run.fill(rest.path), run.fill(rest.body), run.fill(rest.expect)
    until_s = asyncio.get_running_loop().time() + (rest.within or 0)
    while True:
        try:
            answer = await _judged(run, rest, path, body, wanted)
            break
        except (StoryFailed, ApiRefused):
            if asyncio.get_running_loop().time() >= until_s:
                raise
        await asyncio.sleep(_LOOK_AGAIN_S)
    if rest.save is not None and answer is not None:
        run.known[rest.save] = answer


async def _judged(
    run: _Run, rest: Rest, path: str, body: dict[str, Any], wanted: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Ask once and return an answer as expected, None for the expected refusal. Raises StoryFailed, ApiRefused."""
    try:
        answer = await _asked(run, rest.method, path, body)
    except ApiRefused as refused:
        if rest.refused is not None and f"answered {rest.refused}" in str(refused):
            return None
        raise
    if rest.refused is not None:
        raise StoryFailed(f"{rest.method} {path} was done, expected to be refused with {rest.refused}")
    differs = _difference(answer, wanted)
    if differs is not None:
        raise StoryFailed(f"{rest.method} {path}: {differs}")
    return answer


async def _asked(run: _Run, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "GET":
            return await run.api.get(path, base="")
        case "PUT":
            return await run.api.put(path, body, base="")
        case "DELETE":
            return await run.api.delete(path, base="")
        case _:
            return await run.api.post(path, body, idempotency_key=messages.message_id(run.rng), base="")


async def _wait(_run: _Run, _name: str, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _receipt(run: _Run, name: str, receipt: Receipt) -> None:
    of = receipt.of
    if of is not None and of in run.known:
        of = run.fill("{" + of + ".messageId}")
    elif of is not None:
        of = run.fill(of)
    found = await _receipt_of(run, name, of, result=receipt.result, within_s=receipt.within, count=receipt.count)
    if receipt.of in run.known and isinstance(run.known[receipt.of], dict):
        run.known[receipt.of].setdefault("cid", found.get("cid"))
    if receipt.save is not None:
        run.known[receipt.save] = found


async def _receipt_of(
    run: _Run, name: str, message_id: str | None, *, result: ReceiptResult, within_s: float, count: int = 1
) -> dict[str, Any]:
    """Return the last of so many receipts with this result. Raises StoryFailed where they don't come in time."""
    until_s = run.since_s + within_s
    while True:
        so_far = [one for one in run.vehicles[name].tcu.receipts.so_far() if one.message_id == message_id]
        right = [one for one in so_far if one.result is result]
        if len(right) >= count:
            return right[-1].model_dump(mode="json", by_alias=True)
        if asyncio.get_running_loop().time() >= until_s:
            came = ", ".join(one.result for one in so_far) or "none"
            what = message_id or "what had no readable id"
            raise StoryFailed(f"receipts of {what} within {within_s:g} s: {came}; expected {count} {result}")
        await asyncio.sleep(0.02)


async def _stored(run: _Run, name: str, within_s: float) -> None:
    """Wait until all that a vehicle has told is stored, to the last sample of its drives. Raises StoryFailed."""
    vehicle = run.vehicles[name]
    try:
        async with asyncio.timeout(within_s):
            await vehicle.tcu.settled()
    except TimeoutError:
        left = ", ".join(f"{kept.kind} {kept.message_id}" for kept in vehicle.tcu.unreceipted) or "status samples"
        raise StoryFailed(f"not delivered within {within_s:g} s: {left}") from None
    receipts = vehicle.tcu.receipts.so_far()
    for kind, message_id in vehicle.owed:
        results = [one.result for one in receipts if one.message_id == message_id]
        if ReceiptResult.STORED not in results:
            raise StoryFailed(f"receipts of {kind} {message_id}: {', '.join(results)}; expected STORED")
    for drive in vehicle.driven:
        await drives.in_telemetry(run.api, vehicle.tcu.vin, drive, within_s=_GRACE_S)


async def _event(run: _Run, name: str, event: Event) -> None:
    where, wanted = run.fill(event.where), run.fill(event.expect)
    seen = run.streams[event.stream, name]

    def matches(found: IncidentEvent | CurfewEvent) -> bool:
        return found.type == event.type and _difference(_body(found), where) is None

    loop = asyncio.get_running_loop()
    wait_s = max(0.0, run.since_s + event.within - loop.time()) + _GRACE_S
    told = f"{event.type} on the stream of {event.stream}"
    try:
        arrival = await seen.first(matches, timeout_s=wait_s)
    except TimeoutError:
        raise StoryFailed(f"no {told} within {event.within + _GRACE_S:g} s") from None
    after_s = arrival.at_s - run.since_s
    if after_s > event.within:
        raise StoryFailed(f"{told} came after {after_s:.1f} s, expected within {event.within:g} s")
    differs = _difference(_body(arrival.what), wanted)
    if differs is not None:
        raise StoryFailed(f"{told}: {differs}")
    if event.save is not None:
        run.known[event.save] = _body(arrival.what)


async def _count(run: _Run, name: str, count: Count) -> None:
    where = run.fill(count.where)
    found = [one for one in run.streams[count.stream, name].so_far() if one.type == count.type]
    found = [one for one in found if _difference(_body(one), where) is None]
    expect(f"the number of {count.type} on the stream of {count.stream}", len(found), wanted=count.events)


async def _shown(run: _Run, name: str, shown: Shown) -> None:
    cid = run.fill("{" + shown.of + ".cid}")
    wait_s = max(0.0, run.since_s + shown.within - asyncio.get_running_loop().time())
    try:
        await run.vehicles[name].tcu.incidents.first(
            lambda incident: incident.cid == cid and incident.status == shown.status, timeout_s=wait_s
        )
    except TimeoutError:
        raise StoryFailed(f"no down/incident {shown.status} of {cid} within {shown.within:g} s") from None


async def _all_stored(run: _Run, scenario: str, line: int) -> Checked:
    """Every message is stored: what every scenario expects in the end."""
    began_s, failure = asyncio.get_running_loop().time(), None
    try:
        for name, vehicle in run.vehicles.items():
            if vehicle.covered:
                await _stored(run, name, _GRACE_S)
    except (StoryFailed, ApiRefused) as error:
        failure = run.told(error)
    took_ms = 1000 * (asyncio.get_running_loop().time() - began_s)
    return Checked(scenario, line, "every message is stored", took_ms, failure)


_DOES: Mapping[str, Callable[[_Run, str, Any], Awaitable[None]]] = {
    "press": _press,
    "engine": _engine,
    "drive": _drive,
    "call": _call,
    "send": _send,
    "again": _again,
    "coverage": _coverage,
    "rest": _rest,
    "wait": _wait,
    "receipt": _receipt,
    "event": _event,
    "count": _count,
    "shown": _shown,
}


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _body(event: IncidentEvent | CurfewEvent) -> dict[str, Any]:
    return event.model_dump(mode="json", by_alias=True)


def _difference(body: Any, wanted: Mapping[str, Any]) -> str | None:
    """Return the first field that is not as wanted, None where all are; `*` wants anything but null."""
    for path, value in wanted.items():
        found = at_path(body, path)
        if found is None if value == "*" else found != value:
            return f"{path} is {found!r}, expected {'something' if value == '*' else repr(value)}"
    return None
