"""Who takes part in a story, what its steps are, and how it is waited for them: every wait has its end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TypeVar

from schemas.incident import IncidentMessage
from schemas.receipt import ReceiptMessage, ReceiptResult
from simulator import driving
from simulator.garage import Garage
from simulator.public_api import Event, Json, PublicApi
from simulator.seen import Seen
from simulator.tcu import Sent, Tcu

RECEIPT_S = 15.0
EVENT_S = 10.0
INCIDENT_S = 10.0
_LOOK_AGAIN_S = 0.25

PLAYED_BEFORE = "a receipt said DUPLICATE: if this seed was played before, choose another --seed"

T = TypeVar("T")


class StoryFailed(Exception):
    """The story did not go on; the message says what was missing."""


def expect(what: str, found: object, *, wanted: object) -> None:
    """Raise StoryFailed where something is not what it has to be."""
    if found != wanted:
        raise StoryFailed(f"{what} is {found!r}, expected {wanted!r}")


def seed_hint(*tcus: Tcu) -> str:
    """Return what to add to a failure whose reason may be the seed, empty where no first receipt was a DUPLICATE."""
    return f" ({PLAYED_BEFORE})" if any(tcu.tally.receipts[ReceiptResult.DUPLICATE] for tcu in tcus) else ""


class Verb(StrEnum):
    """What a step of a story shows."""

    SENT = "sent"
    STORED = "stored"
    READ = "read by REST"
    DONE = "done by REST"
    SEEN = "seen by SSE"
    SHOWN = "shown in the car"
    WAITED = "waits"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Step:
    """One step that was made; the latency is from its cause to its effect, in milliseconds.

    `part` is empty in a story that is played in one piece.
    """

    story: str
    part: str
    vin: str
    verb: Verb
    what: str
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a story ended; `failure` is None where it reached its end."""

    story: str
    vin: str
    steps: tuple[Step, ...]
    failure: str | None


@dataclass(slots=True)
class Stage:
    """Who takes part in a story: the vehicle, and everybody who uses the API. `garage` has more vehicles."""

    tcu: Tcu
    api: PublicApi
    rng: Random
    parked: driving.VehicleState
    garage: Garage
    say: Callable[[Step], None]
    story: str = ""
    part: str = ""

    def tell(self, verb: Verb, what: str, latency_ms: float | None = None) -> None:
        """Say a step of the story."""
        self.say(Step(self.story, self.part, self.tcu.vin, verb, what, latency_ms))

    async def stored(self, sent: Sent, what: str) -> ReceiptMessage:
        """Return the receipt of a message. Raises StoryFailed where none comes or it is no good one."""
        self.tell(Verb.SENT, f"{what} · messageId {sent.message_id}", None)
        try:
            async with asyncio.timeout(RECEIPT_S):
                arrival = await sent.receipt
        except TimeoutError:
            raise StoryFailed(f"no receipt for {what} ({sent.message_id}) within {RECEIPT_S:.0f} s") from None
        receipt = arrival.what
        if receipt.result is ReceiptResult.QUARANTINED:
            raise StoryFailed(f"{what} ({sent.message_id}) was quarantined: see `tcu quarantine`")
        of_incident = f" · {receipt.cid}" if receipt.cid else ""
        self.tell(Verb.STORED, f"{what} · {receipt.result}{of_incident}", (arrival.at_s - sent.at_s) * 1000)
        return receipt

    async def seen(self, events: Seen[Event], type_: str, cid: str, since_s: float) -> Event:
        """Return an incident's event of this type. Raises StoryFailed where none comes."""
        try:
            arrival = await events.first(lambda event: event.type == type_ and event.data.cid == cid, timeout_s=EVENT_S)
        except TimeoutError:
            raise StoryFailed(f"no {type_} of {cid} on the stream within {EVENT_S:.0f} s") from None
        self.tell(Verb.SEEN, f"{type_} · {cid} · {arrival.what.event_id}", (arrival.at_s - since_s) * 1000)
        return arrival.what

    async def shown(self, cid: str, status: str, since_s: float) -> IncidentMessage:
        """Return what the vehicle shows of an incident in this status. Raises StoryFailed where nothing comes."""
        try:
            arrival = await self.tcu.incidents.first(
                lambda incident: incident.cid == cid and incident.status == status, timeout_s=INCIDENT_S
            )
        except TimeoutError:
            raise StoryFailed(f"no down/incident {status} of {cid} within {INCIDENT_S:.0f} s") from None
        self.tell(Verb.SHOWN, f"{cid} {status}", (arrival.at_s - since_s) * 1000)
        return arrival.what

    async def read(self, answer: Awaitable[Json], what: str, **expected: object) -> Json:
        """Return a REST answer whose fields are as expected. Raises StoryFailed where they are not."""
        began_s = asyncio.get_running_loop().time()
        body = await answer
        for name, value in expected.items():
            if body.get(name) != value:
                raise StoryFailed(f"{what} says {name} {body.get(name)!r}, expected {value!r}")
        told = " ".join(f"{name} {value}" for name, value in expected.items())
        self.tell(Verb.READ, f"{what} · {told}", (asyncio.get_running_loop().time() - began_s) * 1000)
        return body

    async def holds(self, check: Callable[[], Awaitable[T]]) -> T:
        """Return what a check answers as soon as it raises no StoryFailed; raises the last one where it goes on to."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + EVENT_S
        while True:
            try:
                return await check()
            except StoryFailed:
                if loop.time() >= until_s:
                    raise
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def done(self, answer: Awaitable[Json], what: str) -> tuple[Json, float]:
        """Return the answer to an action of call center or partner, and when it was begun."""
        began_s = asyncio.get_running_loop().time()
        body = await answer
        self.tell(Verb.DONE, what, (asyncio.get_running_loop().time() - began_s) * 1000)
        return body, began_s
