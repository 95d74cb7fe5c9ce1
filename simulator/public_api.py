"""The public REST and SSE API, as call center, partner and app use it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import EventSource, SSEError, aconnect_sse
from pydantic import ConfigDict, ValidationError

from schemas.base import Instant, Vin, Wire
from schemas.curfew import CurfewEvent
from schemas.incident import Service
from schemas.rsa import Priority
from simulator.seen import Seen
from simulator.settings import Settings, api_of

SAFETY = "/api/v1/safety"
CHILDCARE = "/api/v1/childcare"
_ANSWER_S = 10.0
_SILENCE_S = 45.0
"""A stream pings every 15 s (design, Events and SSE); after three missed ones it is dead."""

Json = dict[str, Any]


class ApiRefused(Exception):
    """The API could not be reached or answered with an error; the message says which."""


class EventData(Wire):
    """What an event is about; more fields than these are kept as they come."""

    model_config = ConfigDict(extra="allow")

    cid: str
    vin: Vin


class Event(Wire):
    """An event of the SOS and RSA streams (SOS guide, SOS Real-time Event)."""

    event_id: str
    type: str
    timestamp: Instant
    priority: Priority
    data: EventData


_Event = TypeVar("_Event", Event, CurfewEvent)


class PublicApi:
    """A client of the API with one token. As a context manager it keeps its connections open.

    Raises SetupMissing where the settings name no API.
    """

    def __init__(self, settings: Settings, notify: Callable[[str], None]) -> None:
        address = api_of(settings)
        self._notify = notify
        self._client = httpx.AsyncClient(
            base_url=address.url,
            headers={"Authorization": f"Bearer {address.token.get_secret_value()}"},
            timeout=_ANSWER_S,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, base: str = SAFETY) -> Json:
        """Return the JSON answer of a GET below a base path. Raises ApiRefused."""
        return await self._ask("GET", base + path, params=params)

    async def post(self, path: str, body: Json, *, idempotency_key: str, base: str = SAFETY) -> Json:
        """Return the JSON answer of a POST below a base path. Raises ApiRefused."""
        return await self._ask("POST", base + path, json=body, headers={"Idempotency-Key": idempotency_key})

    async def put(self, path: str, body: Json, *, base: str) -> Json:
        """Return the JSON answer of a PUT below a base path. Raises ApiRefused."""
        return await self._ask("PUT", base + path, json=body)

    async def delete(self, path: str, *, base: str) -> Json:
        """Return the JSON answer of a DELETE below a base path. Raises ApiRefused."""
        return await self._ask("DELETE", base + path)

    async def _ask(self, method: str, path: str, **request: Any) -> Json:
        try:
            response = await self._client.request(method, path, **request)
        except httpx.HTTPError as error:
            raise ApiRefused(f"{method} {path}: {type(error).__name__} {error}".rstrip()) from error
        if not response.is_success:
            raise ApiRefused(f"{method} {path} answered {response.status_code}: {_problem(response)}")
        try:
            answer: Json = response.json()
        except ValueError as error:
            raise ApiRefused(f"{method} {path} answered {response.status_code} without JSON") from error
        return answer

    def events(self, service: Service) -> AbstractAsyncContextManager[Seen[Event]]:
        """Give what the stream of SOS or RSA brings, as `_opened` does."""
        return self._opened(f"{SAFETY}/{service.lower()}/events", Event)

    def curfew_events(self, vin: str) -> AbstractAsyncContextManager[Seen[CurfewEvent]]:
        """Give what the stream of a vehicle's curfew brings, as `_opened` does."""
        return self._opened(f"{CHILDCARE}/vehicles/{vin}/curfew/events", CurfewEvent)

    @asynccontextmanager
    async def _opened(self, path: str, model: type[_Event]) -> AsyncIterator[Seen[_Event]]:
        """Give what a stream brings, connected before this enters; it resumes after a disconnect.

        Raises ApiRefused where the stream can't be opened in time.
        """
        seen: Seen[_Event] = Seen()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        following = asyncio.create_task(self._follow(path, model, seen, opened))
        try:
            async with asyncio.timeout(_ANSWER_S):
                await opened
            yield seen
        except TimeoutError:
            raise ApiRefused(f"the stream {path} did not open within {_ANSWER_S:.0f} s") from None
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    async def _follow(self, path: str, model: type[_Event], seen: Seen[_Event], opened: asyncio.Future[None]) -> None:
        last_id = ""
        while True:
            try:
                async with self._stream(path, last_id) as source:
                    if not opened.done():
                        opened.set_result(None)
                    async for message in source.aiter_sse():
                        last_id = message.id or last_id
                        self._note(message.event, message.data, model, seen)
                self._notify(f"stream {path} ended; resumes after {last_id or 'now'}")
            except ApiRefused as refused:
                if opened.done():
                    self._notify(str(refused))
                else:
                    opened.set_exception(refused)
                return
            except (httpx.HTTPError, SSEError) as error:
                self._notify(f"stream {path} lost ({type(error).__name__}); resumes after {last_id or 'now'}")
            await asyncio.sleep(1.0)

    @asynccontextmanager
    async def _stream(self, path: str, last_id: str) -> AsyncIterator[EventSource]:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        timeout = httpx.Timeout(_ANSWER_S, read=_SILENCE_S)
        async with aconnect_sse(self._client, "GET", path, headers=headers, timeout=timeout) as source:
            if source.response.is_client_error:
                await source.response.aread()
                raise ApiRefused(f"GET {path} answered {source.response.status_code}: {_problem(source.response)}")
            source.response.raise_for_status()
            yield source

    def _note(self, name: str, data: str, model: type[_Event], seen: Seen[_Event]) -> None:
        if name == "reset":
            self._notify("the stream could not be resumed where it was lost: events are missing")
            return
        if not data:
            return
        try:
            seen.add(model.model_validate_json(data))
        except ValidationError as error:
            self._notify(f"cannot read the event {data[:200]}: {error}")


def _problem(response: httpx.Response) -> str:
    """Return what an `application/problem+json` says (RFC 9457), or the start of any other answer."""
    try:
        problem = response.json()
    except ValueError:
        return response.text[:200]
    if not isinstance(problem, dict):
        return response.text[:200]
    told = [str(problem[name]) for name in ("code", "title", "detail") if problem.get(name)]
    return " · ".join(told) or response.text[:200]
