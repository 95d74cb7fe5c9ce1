"""Hands each event to the streams that may see it. Lives on the event loop; nothing here is called from a thread."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from api.errors import UnavailableError
from api.metrics import Metrics
from db.events import Event
from schemas import curfew
from schemas.base import format_instant

_SHORTEST_NUMBER = 3


@dataclass(frozen=True, slots=True)
class Sent:
    """An event as a stream sends it: its number, and its block of lines (HTML, Server-sent events)."""

    sequence: int
    block: bytes


def encode(event: Event) -> Sent:
    """Return the event in its guide's envelope; no `event:` field, for `onmessage`."""
    envelope = _curfew_envelope(event) if event.service == curfew.SERVICE else _envelope(event)
    text = json.dumps(envelope, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Sent(event.sequence, f"id: {event.sequence}\r\ndata: {text}\r\n\r\n".encode())


def _envelope(event: Event) -> dict[str, Any]:
    """Return the envelope of SOS and RSA (SOS guide, SOS Real-time Event)."""
    return {
        "eventId": _event_id(event),
        "type": event.type,
        "timestamp": format_instant(event.occurred_at),
        "priority": event.priority,
        "data": event.data,
    }


def _curfew_envelope(event: Event) -> dict[str, Any]:
    """Return the curfew's own, flatter envelope (curfew guide, Real-time Violation Event) with what the others have."""
    about = {name: value for name, value in event.data.items() if name not in {"severity", "data"}}
    severity = {"severity": event.data["severity"]} if "severity" in event.data else {}
    return {
        "eventId": _event_id(event),
        "eventType": event.type,
        "type": event.type,
        "priority": event.priority,
        **about,
        "vin": event.vin,
        "timestamp": format_instant(event.occurred_at),
        **severity,
        "data": event.data["data"],
    }


def _event_id(event: Event) -> str:
    return f"EVT_{event.sequence:0{_SHORTEST_NUMBER}d}"


class Subscription:
    """One stream's place in the hub: the events it is to send, at most `bound` of them waiting."""

    def __init__(self, wants: Callable[[Event], bool], *, position: int, bound: int) -> None:
        self.wants = wants
        self.position = position
        """The hub's last event when this stream was registered: everything after it comes by `next`."""
        self.ended = False
        self.overflowed = False
        self._bound = bound
        self._waiting: deque[Sent] = deque()
        self._wake = asyncio.Event()

    def offer(self, sent: Sent) -> None:
        """Queue an event; a stream that is too far behind ends, and its client resumes where it was."""
        if len(self._waiting) >= self._bound:
            self.overflowed = True
            self.end()
            return
        self._waiting.append(sent)
        self._wake.set()

    def end(self) -> None:
        """Make `next` return None from now on."""
        self.ended = True
        self._waiting.clear()
        self._wake.set()

    def waiting(self) -> bool:
        """Tell whether `next` has something to return at once."""
        return bool(self._waiting) or self.ended

    async def next(self, *, timeout_s: float) -> Sent | None:
        """Return the next event, None when the stream has ended. Raises TimeoutError when nothing came in time."""
        async with asyncio.timeout(timeout_s):
            while not self.waiting():
                self._wake.clear()
                await self._wake.wait()
        return None if self.ended else self._waiting.popleft()


class Hub:
    """The open streams of this process, and how far its reader has come."""

    def __init__(self, metrics: Metrics, *, bound: int) -> None:
        self._metrics = metrics
        self._bound = bound
        self._subscriptions: set[Subscription] = set()
        self._closing = False
        self.position: int | None = None

    def subscribe(self, wants: Callable[[Event], bool]) -> Subscription:
        """Register a stream. Raises UnavailableError while the reader has not begun, or the process ends."""
        if self.position is None or self._closing:
            raise UnavailableError("the event reader does not run")
        subscription = Subscription(wants, position=self.position, bound=self._bound)
        self._subscriptions.add(subscription)
        self._metrics.open_streams.set(len(self._subscriptions))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a stream; once more does nothing."""
        if subscription in self._subscriptions:
            self._subscriptions.discard(subscription)
            self._metrics.open_streams.set(len(self._subscriptions))
            if subscription.overflowed:
                self._metrics.closed_slow.inc()

    def begin(self, position: int) -> None:
        """Set where the reader starts; a number that is not its last one ends the streams, which resume or reset."""
        if self.position is not None and self.position != position:
            self._end_all()
        self.position = position

    def publish(self, events: Iterable[Event]) -> None:
        """Hand on events that follow the position, in order."""
        for event in events:
            sent: Sent | None = None
            for subscription in self._subscriptions:
                if subscription.wants(event):
                    sent = sent or encode(event)
                    subscription.offer(sent)
            self.position = event.sequence

    def close(self) -> None:
        """End all streams and take no new ones: the process is leaving."""
        self._closing = True
        self._end_all()

    def open_streams(self) -> int:
        """Return how many streams are open."""
        return len(self._subscriptions)

    def _end_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.end()
