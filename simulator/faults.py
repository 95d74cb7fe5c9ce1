"""What goes wrong in the field, done on purpose: each fault, and what the backend must make of it all the same."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from random import Random

from schemas.command import CommandType
from schemas.receipt import ReceiptMessage, ReceiptResult
from schemas.topics import Uplink
from schemas.vehicle import EngineEvent, Uplinked
from simulator import call_center, curfew_checks, drives, driving, guardian, messages
from simulator.garage import Garage
from simulator.public_api import ApiRefused, Json, PublicApi
from simulator.settings import SetupMissing
from simulator.stage import StoryFailed, expect, seed_hint
from simulator.tcu import Answers, Tcu

_CONNECT_S = 30.0
_WAIT_S = 20.0
_LOOK_AGAIN_S = 0.25
_VOID_S = 65.0
"""A time correction is void after 60 s."""
_CLOCK_IS_RIGHT = timedelta(seconds=5)

BROKEN: Mapping[Uplink, Sequence[bytes]] = {
    Uplink.STATUS: (b"", b"{", b"\xff\xfe", b"[]", b'{"messageId": 7}', b'{"speedKph": NaN}'),
    Uplink.ENGINE: (b"null", b'{"event": "FLY"}'),
    Uplink.RSA: (b"help",),
}
"""What no vehicle should say; the worker quarantines it."""


class Fault(StrEnum):
    """What can go wrong."""

    OFFLINE = "offline"
    DUPLICATES = "duplicates"
    REORDERING = "reordering"
    CLOCK = "clock"
    BOUNCE = "bounce"
    MALFORMED = "malformed"
    COMMAND_LATE = "command-late"
    COMMAND_WRONGLY = "command-wrongly"
    COMMAND_NEVER = "command-never"


CORRECTED = frozenset({Fault.CLOCK, Fault.MALFORMED, Fault.COMMAND_LATE, Fault.COMMAND_WRONGLY, Fault.COMMAND_NEVER})
"""Each takes one of the time corrections that an hour allows a vehicle."""


@dataclass(slots=True)
class Injected:
    """One fault of one vehicle: the messages it took, the receipts that came, and what did not hold; None: all did."""

    fault: Fault
    vin: str
    what: str = ""
    messages: int = 0
    receipts: Counter[ReceiptResult] = field(default_factory=Counter)
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class _Bench:
    """A vehicle that a fault is done to, and the API that shows what came of it."""

    tcu: Tcu
    api: PublicApi
    rng: Random
    told: Injected

    async def receipts(self, message_id: str, count: int = 1) -> list[ReceiptMessage]:
        """Return so many receipts of a message. Raises StoryFailed where fewer come."""

        def came() -> list[ReceiptMessage]:
            return [one for one in self.tcu.receipts.so_far() if one.message_id == message_id]

        await _holds(lambda: len(came()) >= count, f"not {count} receipts of {message_id}")
        found = came()
        self.told.receipts.update(one.result for one in found)
        return found

    async def stored(self, kind: Uplink, message: Uplinked) -> str:
        """Send a message and return the cid of its receipt. Raises StoryFailed where that does not say STORED."""
        self.tcu.send(kind, message)
        self.told.messages += 1
        receipt = (await self.receipts(message.message_id))[0]
        expect(f"the receipt of {kind} {message.message_id}", receipt.result, wanted=ReceiptResult.STORED)
        return receipt.cid or ""

    async def settled(self) -> None:
        """Wait until every message is receipted or confirmed. Raises StoryFailed."""
        try:
            async with asyncio.timeout(_WAIT_S):
                await self.tcu.settled()
        except TimeoutError:
            left = len(self.tcu.unreceipted)
            raise StoryFailed(f"{left} messages without a receipt after {_WAIT_S:.0f} s") from None

    async def drive_stored(self, told: drives.Told) -> None:
        """Wait until all of a drive is stored, to the last sample. Raises StoryFailed."""
        await self.settled()
        for kind, message in told:
            if kind is not Uplink.STATUS:
                receipt = (await self.receipts(message.message_id))[0]
                expect(f"the receipt of {kind} {message.message_id}", receipt.result, wanted=ReceiptResult.STORED)
        await drives.in_telemetry(self.api, self.tcu.vin, told, within_s=_WAIT_S)


async def _offline(bench: _Bench) -> None:
    """Out of coverage, a drive is kept; it is delivered afterwards, and nothing of it is lost."""
    bench.told.what = "a drive of a minute without coverage"
    told = _a_drive(bench)
    await bench.tcu.go_offline()
    _tell(bench, told)
    bench.tcu.go_online()
    await bench.drive_stored(told)


async def _duplicates(bench: _Bench) -> None:
    """The same message four times: it counts once."""
    bench.told.what = "an engine stop four times"
    message = messages.engine(bench.rng, EngineEvent.STOP, driving.parked_somewhere(bench.rng), bench.tcu.now())
    for _ in range(3):
        bench.tcu.say(Uplink.ENGINE, messages.payload_of(message))
    bench.tcu.send(Uplink.ENGINE, message)
    bench.told.messages = 4
    results = Counter(receipt.result for receipt in await bench.receipts(message.message_id, 4))
    expect("the receipts", results, wanted=Counter({ReceiptResult.STORED: 1, ReceiptResult.DUPLICATE: 3}))


async def _reordering(bench: _Bench) -> None:
    """A drive in no order: all of it is stored."""
    bench.told.what = "a drive of a minute in no order"
    told = _a_drive(bench)
    bench.rng.shuffle(told)
    _tell(bench, told)
    await bench.drive_stored(told)


async def _clock(bench: _Bench) -> None:
    """A clock that is wrong: the backend notices and corrects it."""
    by = bench.rng.choice((timedelta(hours=1), timedelta(days=365), -timedelta(days=30)))
    bench.told.what = f"a clock {abs(by)} {'ahead' if by > timedelta(0) else 'behind'}"
    await _need_a_correction(bench)
    bench.tcu.misset_clock(by)
    _sample(bench)
    await _holds(lambda: abs(bench.tcu.now() - datetime.now(UTC)) < _CLOCK_IS_RIGHT, "the clock was not corrected")
    await bench.settled()


async def _bounce(bench: _Bench) -> None:
    """A button that bounces: five presses, one emergency."""
    bench.told.what = "five presses of SOS at once"
    state = driving.parked_somewhere(bench.rng)
    await call_center.close_open_sos(bench.api, bench.rng, bench.tcu.vin)
    presses = [messages.sos_from_the_road(bench.rng, state, bench.tcu.now()) for _ in range(5)]
    cids = set(await asyncio.gather(*(bench.stored(Uplink.SOS, press) for press in presses)))
    expect("the number of incidents", len(cids), wanted=1)
    await call_center.close_sos(bench.api, bench.rng, bench.tcu.vin, cids.pop())


async def _malformed(bench: _Bench) -> None:
    """Payloads that no vehicle should send: quarantined, but on SOS an emergency."""
    bench.told.what = "payloads that are no messages"
    for kind, payloads in BROKEN.items():
        for payload in payloads:
            bench.tcu.say(kind, payload)
            bench.told.messages += 1
    named = messages.message_id(bench.rng)
    bench.tcu.send_payload(Uplink.ENGINE, named, json.dumps({"messageId": named, "event": "FLY"}).encode())
    bench.told.messages += 1
    receipt = (await bench.receipts(named))[0]
    expect("the receipt of an engine that flies", receipt.result, wanted=ReceiptResult.QUARANTINED)
    await call_center.close_open_sos(bench.api, bench.rng, bench.tcu.vin)
    corrections = await guardian.commands(bench.api, bench.tcu.vin, CommandType.TIME_SYNC)
    corrected, left = (
        len(bench.tcu.answered.so_far()),
        curfew_checks.corrections_left(corrections, datetime.now(UTC)),
    )
    before = {receipt.cid for receipt in bench.tcu.receipts.so_far()}
    bench.tcu.say(Uplink.SOS, f"help {bench.rng.getrandbits(64)}".encode())
    bench.told.messages += 1

    def raised() -> str | None:
        found = (one.cid for one in bench.tcu.receipts.so_far() if one.message_id is None)
        return next((cid for cid in found if cid is not None and cid not in before), None)

    await _holds(lambda: raised() is not None, "an unreadable SOS raised no incident")
    if left:  # its time could not be read either
        await _holds(lambda: len(bench.tcu.answered.so_far()) > corrected, "no time correction came")
    await call_center.close_sos(bench.api, bench.rng, bench.tcu.vin, raised() or "")


async def _command(bench: _Bench, *, answers: Answers, outcome: str, ack_status: str | None) -> None:
    """A command answered late, wrongly or never: it is told so, and nothing hangs."""
    bench.told.what = f"a time correction answered {answers}"
    known = await _need_a_correction(bench)
    bench.tcu.answers = answers
    try:
        bench.tcu.misset_clock(timedelta(hours=1))
        _sample(bench)
        await _holds(lambda: abs(bench.tcu.now() - datetime.now(UTC)) < _CLOCK_IS_RIGHT, "no time correction came")
        if answers is not Answers.WRONGLY:
            await asyncio.sleep(_VOID_S)
        await bench.settled()
    finally:
        bench.tcu.answers = Answers.PROMPTLY
    entry: Json = {}
    for _ in range(round(_WAIT_S / _LOOK_AGAIN_S)):
        listed = await guardian.commands(bench.api, bench.tcu.vin, CommandType.TIME_SYNC)
        entry = next((one for one in listed if one["commandId"] not in known), {})
        if entry.get("outcome") == outcome:
            break
        await asyncio.sleep(_LOOK_AGAIN_S)
    expect("the outcome of the command", entry.get("outcome"), wanted=outcome)
    expect("the vehicle's answer to the command", entry.get("ackStatus"), wanted=ack_status)


FAULTS: Mapping[Fault, Callable[[_Bench], Awaitable[None]]] = {
    Fault.OFFLINE: _offline,
    Fault.DUPLICATES: _duplicates,
    Fault.REORDERING: _reordering,
    Fault.CLOCK: _clock,
    Fault.BOUNCE: _bounce,
    Fault.MALFORMED: _malformed,
    Fault.COMMAND_LATE: partial(_command, answers=Answers.LATE, outcome="EXPIRED", ack_status=None),
    Fault.COMMAND_WRONGLY: partial(_command, answers=Answers.WRONGLY, outcome="FAILED", ack_status="FAILED"),
    Fault.COMMAND_NEVER: partial(_command, answers=Answers.NEVER, outcome="EXPIRED", ack_status=None),
}


def shares(faults: Sequence[Fault], vehicles: int) -> list[list[Fault]]:
    """Return which of these faults each vehicle suffers: all, but of those that take a time correction three in turn.

    Raises SetupMissing where the vehicles are too few for some of these to be suffered by any. Pure.
    """
    most = curfew_checks.CORRECTIONS_MOST
    corrected = [fault for fault in faults if fault in CORRECTED]
    if len(corrected) > most * vehicles:
        raise SetupMissing(
            f"{', '.join(corrected)} take a time correction each, and a vehicle gets {most} an hour: "
            f"use --vehicles {-(-len(corrected) // most)} or more"
        )
    dealt = []
    for number in range(vehicles):
        own = {corrected[(number * most + place) % len(corrected)] for place in range(min(most, len(corrected)))}
        dealt.append([fault for fault in faults if fault in own or fault not in CORRECTED])
    return dealt


async def inject(
    faults: Sequence[Fault],
    *,
    garage: Garage,
    vins: Sequence[str],
    api: PublicApi,
    seed: int,
    say: Callable[[Injected], None],
) -> list[Injected]:
    """Do its share of these faults to each vehicle, in an order of its own, and return what came of each.

    `say` is given each as it ends. Raises Unreachable where a vehicle cannot connect, and SetupMissing as `shares`.
    """

    async def suffer(vin: str, own: Sequence[Fault]) -> list[Injected]:
        rng = Random(f"{seed}:{vin}")
        found = []
        async with garage.tcu(vin) as tcu:
            await tcu.connected(timeout_s=_CONNECT_S)
            for fault in rng.sample(own, len(own)):
                told = Injected(fault, vin)
                try:
                    await FAULTS[fault](_Bench(tcu, api, Random(f"{seed}:{vin}:{fault}"), told))
                except (StoryFailed, ApiRefused) as failure:
                    told.failure = f"{failure}{seed_hint(tcu)}"
                say(told)
                found.append(told)
        return found

    suffering = (suffer(vin, own) for vin, own in zip(vins, shares(faults, len(vins)), strict=True))
    return [told for each in await asyncio.gather(*suffering) for told in each]


def _a_drive(bench: _Bench) -> list[tuple[Uplink, Uplinked]]:
    """Return what a vehicle says of a drive that has just ended."""
    return drives.a_drive(bench.rng, ended=bench.tcu.now(), seconds=60, step_s=3)


def _tell(bench: _Bench, told: drives.Told) -> None:
    """Hand messages over in this order."""
    for kind, message in told:
        if kind is Uplink.STATUS:
            bench.tcu.report_payload(messages.payload_of(message))
        else:
            bench.tcu.send(kind, message)
    bench.told.messages += len(told)


def _sample(bench: _Bench) -> None:
    bench.tcu.report(messages.status(bench.rng, driving.parked_somewhere(bench.rng), bench.tcu.now()))
    bench.told.messages += 1


async def _need_a_correction(bench: _Bench) -> set[str]:
    """Return the ids of the corrections so far. Raises StoryFailed where the hour allows no other."""
    listed = await guardian.commands(bench.api, bench.tcu.vin, CommandType.TIME_SYNC)
    if not curfew_checks.corrections_left(listed, datetime.now(UTC)):
        raise StoryFailed(f"{curfew_checks.CORRECTIONS_MOST} time corrections an hour are used up: take other vehicles")
    return {entry["commandId"] for entry in listed}


async def _holds(condition: Callable[[], bool], otherwise: str) -> None:
    for _ in range(round(_WAIT_S / _LOOK_AGAIN_S)):
        if condition():
            return
        await asyncio.sleep(_LOOK_AGAIN_S)
    raise StoryFailed(f"{otherwise} within {_WAIT_S:.0f} s")
