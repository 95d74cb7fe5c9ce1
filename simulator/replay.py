"""A trace, played again: by vehicles that keep, send again and answer as any other."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from pydantic import TypeAdapter, ValidationError

from schemas.base import MessageId, format_instant, parse_instant
from schemas.receipt import ReceiptResult
from schemas.topics import RECEIPTED, Uplink
from simulator.garage import Garage, in_coverage
from simulator.tcu import Tcu
from simulator.traces import BadTrace, Said

_RECEIPT_S = 30.0
_IDS = UUID("0d6a8a30-4f0e-4b52-8d6c-0f5c59b2c4e7")
_OWN = frozenset({Uplink.PRESENCE, Uplink.COMMAND_ACK})
"""What the vehicle that plays the trace says by itself: its own presence, and its own answers to commands."""
_message_id = TypeAdapter(MessageId)


class Times(StrEnum):
    """What becomes of the times in a trace."""

    ORIGINAL = "original"
    """They stay. The backend judges what is up to seven days old at its own time."""
    SHIFTED = "shifted"
    """All move alike, so that the newest message is said when it happens; each message gets a new id."""


@dataclass(slots=True)
class Replayed:
    """What was played; `unreceipted` are messages whose receipt did not come in time.

    `status_unconfirmed` are samples that the broker did not take: they were handed over, and are not in `sent`.
    """

    vehicles: int
    sent: Counter[Uplink] = field(default_factory=Counter)
    status_unconfirmed: int = 0
    left_out: Counter[Uplink] = field(default_factory=Counter)
    receipts: Counter[ReceiptResult] = field(default_factory=Counter)
    unreceipted: list[str] = field(default_factory=list)


def recast(trace: Sequence[Said], roles: Sequence[str]) -> list[Said]:
    """Return the trace with other vehicles: each role is OLD=NEW, or only NEW where the trace has one vehicle.

    Raises BadTrace where a role names nobody in the trace.
    """
    vins = {said.vin for said in trace}
    cast = {}
    for role in roles:
        old, _, new = role.rpartition("=")
        if not old and len(vins) == 1:
            old = next(iter(vins))
        if old not in vins:
            raise BadTrace(f"--as {role}: expected OLD=NEW with OLD one of {', '.join(sorted(vins)[:5])}")
        cast[old] = new
    return [replace(said, vin=cast.get(said.vin, said.vin)) for said in trace]


def prepared(trace: Sequence[Said], *, times: Times, speed: float, seed: int, now: datetime) -> list[Said]:
    """Return what is to be said, in the trace's order: `at` tells the pace, payloads are ready. Pure.

    A call that names the incident of a press before it names the press instead: the incident will have another number.
    """
    if not trace:
        return []
    shift = timedelta(0)
    if times is Times.SHIFTED:
        newest = max(said.at for said in trace)  # not always the last: two recordings may be in one file
        shift = now + (newest - trace[0].at) / max(speed, 1) - newest  # slower, what is said first would not be yet
    presses: dict[tuple[str, str], str] = {}
    ready = []
    for said in trace:
        body = _object(said.payload)
        if said.kind in _OWN or body is None:
            ready.append(said)
            continue
        if times is Times.SHIFTED:
            _shift(body, shift, f"{seed}:{said.vin}")
        if said.kind in {Uplink.SOS, Uplink.RSA} and isinstance(body.get("messageId"), str):
            presses[said.vin, said.kind.upper()] = body["messageId"]
        if said.kind is Uplink.CALL and isinstance(body.get("cid"), str):
            press = presses.get((said.vin, body["cid"].partition("_")[0]))
            if press is not None:
                del body["cid"]
                body["requestMessageId"] = press
        ready.append(replace(said, payload=json.dumps(body).encode()))
    return ready


async def replay(
    ready: Sequence[Said], garage: Garage, *, speed: float, stop: asyncio.Event, notify: Callable[[str], None]
) -> Replayed:
    """Play a prepared trace and return what came of it. Each vehicle says one thing after another, in order.

    Raises Unreachable where a vehicle cannot connect.
    """
    by_vehicle: Mapping[str, list[Said]] = defaultdict(list)
    for said in ready:
        by_vehicle[said.vin].append(said)
    counted = Replayed(len(by_vehicle))
    tcus = [garage.tcu(vin) for vin in by_vehicle]
    async with in_coverage(tcus, stop):
        zero_s, zero = asyncio.get_running_loop().time(), ready[0].at if ready else None

        async def due(at: datetime) -> bool:
            """Wait until it is time for what was said then; false where `stop` comes first."""
            with suppress(TimeoutError):
                async with asyncio.timeout_at(zero_s + (at - (zero or at)).total_seconds() / speed):
                    await stop.wait()
            return not stop.is_set()

        async with asyncio.TaskGroup() as playing:
            for tcu in tcus:
                playing.create_task(_play(tcu, by_vehicle[tcu.vin], due, counted))
        for tcu in tcus:
            counted.status_unconfirmed += tcu.samples_waiting + tcu.tally.status_given_up
            counted.receipts += tcu.tally.receipts
            counted.unreceipted += [f"{tcu.vin} {kept.kind} {kept.message_id}" for kept in tcu.unreceipted]
        counted.sent -= Counter({Uplink.STATUS: counted.status_unconfirmed})
    notify(f"{counted.sent.total()} messages of {counted.vehicles} vehicles played")
    return counted


async def _play(tcu: Tcu, trace: Sequence[Said], due: Callable[[datetime], Awaitable[bool]], counted: Replayed) -> None:
    for said in trace:
        if said.kind in _OWN:
            counted.left_out[said.kind] += 1
            continue
        if not await due(said.at):
            return
        await _say(tcu, said)
        counted.sent[said.kind] += 1


async def _say(tcu: Tcu, said: Said) -> None:
    """Say one thing and return when the broker has it, and the database what has a receipt, or after a while."""
    message_id = _readable_id(said.payload)
    if said.kind is Uplink.STATUS:
        tcu.report_payload(said.payload)
    elif said.kind in RECEIPTED and message_id is not None:
        tcu.send_payload(said.kind, message_id, said.payload)
    else:
        tcu.say(said.kind, said.payload)
    with suppress(TimeoutError):  # counted at the end, if it has no receipt then
        async with asyncio.timeout(_RECEIPT_S):
            await tcu.settled()


def _shift(body: dict[str, Any], by: timedelta, seed: str) -> None:
    """Move a message's times, and give it and what it refers to new ids: equal ones stay equal."""
    for name in ("messageId", "requestMessageId"):
        if isinstance(body.get(name), str):
            body[name] = str(uuid5(_IDS, f"{seed}:{body[name].lower()}"))
    for part in (body, body.get("customerConsent")):
        if isinstance(part, dict) and isinstance(part.get("timestamp"), str):
            with suppress(ValueError, OverflowError):  # what the vehicle got wrong stays wrong
                part["timestamp"] = format_instant(parse_instant(part["timestamp"]) + by)


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _readable_id(payload: bytes) -> str | None:
    body = _object(payload)
    try:
        return None if body is None else _message_id.validate_python(body.get("messageId"))
    except ValidationError:
        return None
