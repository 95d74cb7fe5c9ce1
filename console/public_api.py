"""The public REST and SSE API with one token: all that the console knows comes from here."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
from httpx_sse import EventSource, aconnect_sse

SAFETY = "/api/v1/safety"
CHILDCARE = "/api/v1/childcare"
OPERATIONS = "/api/v1/operations"
_ANSWER_S = 10.0
_SILENCE_S = 40.0
"""A stream pings every 15 s; after two missed ones it is dead."""
_UNAUTHORIZED, _FORBIDDEN = 401, 403

Json = dict[str, Any]


class ApiRefused(Exception):
    """The API could not be reached (`status` is None) or answered with an error.

    `detail` is for people; `fields` has what was expected of each field that could not be taken, `retry_after_s` how
    long the API wants to be left alone.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        fields: Mapping[str, str] | None = None,
        retry_after_s: float = 0,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.fields = dict(fields or {})
        self.retry_after_s = retry_after_s

    @property
    def ends_session(self) -> bool:
        """Whether the key is not valid, or no longer."""
        return self.status == _UNAUTHORIZED

    @property
    def is_for_good(self) -> bool:
        """Whether asking again is of no use: the key is not valid, or may not do this."""
        return self.status in {_UNAUTHORIZED, _FORBIDDEN}


class PublicApi:
    """A client of the API with one token; `close` it."""

    def __init__(self, base_url: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_ANSWER_S,
            limits=httpx.Limits(max_connections=40, max_keepalive_connections=20),
        )

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def get(self, path: str, **params: Any) -> Json:
        """Return the JSON answer of a GET. Raises ApiRefused."""
        return (await self.read(path, **params))[0]

    async def read(self, path: str, **params: Any) -> tuple[Json, str | None]:
        """Return the JSON answer of a GET and its ETag. Raises ApiRefused."""
        said = {name: value for name, value in params.items() if value is not None}
        response = await self._ask("GET", path, params=said)
        return response.json(), response.headers.get("ETag")

    async def send(self, method: str, path: str, body: Json | None = None, *, if_match: str | None = None) -> Json:
        """Return the JSON answer of a change that has one effect, however often it had to be sent. Raises ApiRefused.

        With the ETag that was read, it is refused where somebody else was first.
        """
        headers = {} if if_match is None else {"If-Match": if_match}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid4())
        try:
            response = await self._ask(method, path, json=body, headers=headers)
        except ApiRefused as refused:
            if refused.status is not None or method != "POST":
                raise
            response = await self._ask(method, path, json=body, headers=headers)  # the answer may have been lost
        answer: Json = response.json()
        return answer

    @asynccontextmanager
    async def stream(self, path: str, *, last_id: str) -> AsyncIterator[EventSource]:
        """Give an open event stream that begins behind the last id. Raises ApiRefused and httpx's errors."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        timeout = httpx.Timeout(_ANSWER_S, read=_SILENCE_S)
        async with aconnect_sse(self._client, "GET", path, headers=headers, timeout=timeout) as source:
            if source.response.is_error:
                await source.response.aread()
                raise _refusal(source.response)
            yield source

    async def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = await self._client.request(method, path, **request)
        except httpx.HTTPError as error:
            raise ApiRefused(f"the service cannot be reached ({type(error).__name__})") from error
        if response.is_error:
            raise _refusal(response)
        return response


def _refusal(response: httpx.Response) -> ApiRefused:
    """Return what an `application/problem+json` says (RFC 9457), or the status of any other answer."""
    status, wait = response.status_code, response.headers.get("Retry-After", "")
    retry_after_s = float(wait) if wait.isdecimal() else 0.0
    try:
        problem = response.json()
        fields = {one["field"]: one["message"] for one in problem.get("errors") or [] if one["place"] == "body"}
        return ApiRefused(problem["detail"], status=status, fields=fields, retry_after_s=retry_after_s)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ApiRefused(f"the service answered {status}", status=status, retry_after_s=retry_after_s)
