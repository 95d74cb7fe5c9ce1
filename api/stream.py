"""Server-sent events: resume by `Last-Event-ID`, then live, each event once and in order (design, section 6)."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus
from starlette.types import Receive, Scope, Send

from api import access
from api.access import Principal
from api.hub import Sent, Subscription, encode
from api.resources import Resources
from db import events
from db.audit import Entry
from db.errors import Unavailable
from db.events import Event, KnownRange
from db.pool import Pool

PING_S = 15
_POSITION_S = 60.0
"""A stream that has sent nothing for so long tells its client from where to resume."""
_PAGE = 500
_LONGEST_NUMBER = 18
_log = structlog.get_logger()

# The hub ends the streams when the process leaves, each with a complete answer; the library would cut them off.
AppStatus.enable_automatic_graceful_drain = False


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: after this number, and why not where the client asked for."""

    after: int
    reset: str | None = None


async def open_stream(
    parts: Resources,
    *,
    caller: Principal,
    service: str,
    vin: str | None,
    last_event_id: str | None,
    noted: Entry,
) -> EventSourceResponse:
    """Return a stream of the service's events that the caller may see.

    Registered with the hub before the first header is sent: what happens from then on is not missed.
    Raises UnavailableError while the event reader does not run, LimitedError where the caller has too many open.
    """

    def wants(event: Event) -> bool:
        return event.service == service and vin in {None, event.vin} and access.sees(caller, event)

    subscription = parts.hub.subscribe(wants)
    try:
        start = Start(subscription.position)
        if last_event_id:
            known = await run_in_threadpool(_known_range, parts.pool)
            start = begin_at(last_event_id, known, position=subscription.position)
        await parts.open_streams.add(subscription, caller, noted)
    except BaseException:
        parts.hub.unsubscribe(subscription)
        raise
    return _Response(parts, _Stream(parts, subscription, start))


def begin_at(last_event_id: str, known: KnownRange, *, position: int) -> Start:
    """Return where to resume; with a reason for a reset where what follows that id can't be told completely."""
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= _LONGEST_NUMBER):
        return Start(position, reset="Last-Event-ID is not a number of an event")
    last_seen = int(last_event_id)
    # Both are 0 where there is no event yet; the hub may lag behind the database, or the database behind a restore.
    if last_seen > max(known.last or 0, position):
        return Start(position, reset="Last-Event-ID is newer than the last event")
    if known.first is not None and last_seen < known.first - 1:
        return Start(position, reset="Last-Event-ID is older than the events that are kept")
    return Start(last_seen)


class _Response(EventSourceResponse):
    """Ends its registration however the response ends, also before the first event."""

    def __init__(self, parts: Resources, stream: "_Stream") -> None:
        super().__init__(stream.blocks(), ping=PING_S, send_timeout=parts.settings.stream_send_timeout_s)
        self._parts = parts
        self._subscription = stream.subscription

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._parts.open_streams.remove(self._subscription)
            self._parts.hub.unsubscribe(self._subscription)


class _Stream:
    """What one client is sent."""

    def __init__(self, parts: Resources, subscription: Subscription, start: Start) -> None:
        self.subscription = subscription
        self._parts = parts
        self._start = start

    async def blocks(self) -> AsyncIterator[bytes]:
        """Give the blocks to send; ends when the client has to come again."""
        done = self._start.after
        yield _reset(self._start) if self._start.reset else _position(done)
        async for sent in self._missed():
            done = sent.sequence
            yield sent.block
        if self.subscription.ended:
            return
        done = max(done, self._start.after, self.subscription.position)
        while True:
            try:
                live = await self.subscription.next(timeout_s=_POSITION_S)
            except TimeoutError:
                if self.subscription.waiting():
                    continue
                # Nothing waits, so what the hub has passed was not for this client: it may resume behind it.
                done = max(done, self._parts.hub.position or 0)
                yield _position(done)
                continue
            if live is None:
                return
            if live.sequence > done:
                done = live.sequence
                yield live.block

    async def _missed(self) -> AsyncIterator[Sent]:
        """Give what the client missed, up to where live events take over, page by page."""
        after, until = self._start.after, self.subscription.position
        while after < until and not self.subscription.ended:
            try:
                page = await run_in_threadpool(_page, self._parts.pool, after)
            except Unavailable as error:
                _log.warning("stream ended while it resumed", exc_info=error)
                self.subscription.end()
                return
            for event in page:
                if event.sequence <= until and self.subscription.wants(event):
                    yield encode(event)
            after = page[-1].sequence if page else until


def _known_range(pool: Pool) -> KnownRange:
    with pool.connection() as conn:
        return events.known_range(conn)


def _page(pool: Pool, after: int) -> list[Event]:
    with pool.connection() as conn:
        return events.after(conn, after, limit=_PAGE)


def _position(sequence: int) -> bytes:
    """Return a block that is no event and only moves the client's Last-Event-ID (HTML, Server-sent events)."""
    return f": position\r\nid: {sequence}\r\n\r\n".encode()


def _reset(start: Start) -> bytes:
    data = json.dumps({"reason": start.reset, "lastSequence": start.after})
    return f"event: reset\r\nid: {start.after}\r\ndata: {data}\r\n\r\n".encode()
