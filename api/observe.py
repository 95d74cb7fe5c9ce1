"""Around every request: its id, the bound on its body, its log line, its metrics, and an answer whatever goes wrong."""

import asyncio
import re
import time
from contextlib import suppress
from http import HTTPStatus
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors, logs
from api.limits import Quota
from api.metrics import Metrics

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 32
BODY_S = 10.0
"""A body has to be there within this time, however slowly it drips."""
LINGER_S = 5.0
"""So long is the rest of a body that is too large still taken in and thrown away: a client that is cut off while it
sends never reads why."""
_SHAPE = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""What every answer says unless it says otherwise: it is data, nothing to run, to frame or to keep."""
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_log = structlog.get_logger()


class Observe:
    """ASGI middleware that sees a request first and its answer last."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; lifespan and others pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_ID.fullmatch(given) else str(uuid4())
        logs.begin(request_id)
        answer = _Answer(scope, send, request_id)
        started_at_s = time.perf_counter()
        try:
            await self._serve(scope, receive, answer)
        finally:
            self._note(scope, answer, time.perf_counter() - started_at_s)

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            try:
                body = await _body(scope, receive)
            except _RefusedError as refused:
                await _refuse(refused, scope, receive, answer)
            except _LeftError:
                pass  # there is nobody to answer
            else:
                await self._app(scope, receive if body is None else _replaying(body, receive), answer.send)
        except Exception as error:  # noqa: BLE001 - the outermost place: whatever it is, the caller gets an answer
            if answer.status is None:
                _log.exception("request failed")
                await errors.unexpected()(scope, receive, answer.send)
            else:
                # The answer has begun, a stream most likely: it can only be cut off.
                _log.warning("answer cut off", exc_info=error)

    def _note(self, scope: Scope, answer: "_Answer", seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "(none)"
        status = answer.status or 499  # the client left before there was an answer
        self._metrics.count(
            method=scope["method"], route=route, status=status, seconds=seconds, stream=answer.is_stream
        )
        if route not in {"/livez", "/readyz", "/metrics"} or status >= HTTPStatus.BAD_REQUEST:
            _log.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))


class _Answer:
    """The answer as it passes: notes the status, adds the request id and what is left of the caller's minute."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self.status: int | None = None
        self.is_stream = False

    async def send(self, message: Message) -> None:
        """Pass a message of the answer on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            for name, value in _SAFE.items():
                headers.setdefault(name, value)
            quota: Quota | None = self._scope.get("state", {}).get("quota")
            if quota is not None:
                headers.update(quota.headers())
            self.is_stream = headers.get("content-type", "").startswith("text/event-stream")
        await self._send(message)


class _RefusedError(Exception):
    """A body that is not even looked at."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class _LeftError(Exception):
    """The client has gone before its body was whole."""


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """Return the whole body, None where the method has none. Raises _RefusedError and _LeftError."""
    if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
        return None
    declared = Headers(scope=scope).get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_S):
            body = await _taken(receive)
    except TimeoutError as error:
        detail = f"expected the body within {BODY_S:g} s"
        raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, "BODY_TOO_SLOW", detail) from error
    if depth(body) > MAX_DEPTH:
        detail = f"expected JSON that is nested at most {MAX_DEPTH} deep"
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "JSON_TOO_DEEP", detail)
    return body


async def _taken(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _LeftError
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> _RefusedError:
    detail = f"expected a body of at most {MAX_BODY_BYTES} bytes"
    return _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BODY_TOO_LARGE", detail)


async def _refuse(refused: _RefusedError, scope: Scope, receive: Receive, answer: _Answer) -> None:
    """Answer whole, and take in what still comes for a moment, before the connection is closed."""
    response = errors.problem(refused.status, refused.code, refused.detail, headers={"Connection": "close"})

    async def all_but_the_end(message: Message) -> None:
        last = message["type"] == "http.response.body"
        await answer.send({**message, "more_body": True} if last else message)

    await response(scope, receive, all_but_the_end)
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                continue
    await answer.send({"type": "http.response.body", "body": b""})


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the whole body at once."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay


def depth(body: bytes) -> int:
    """Return how deep the brackets of a JSON text are nested, those in strings left out."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return 0  # not worth a closer look
    deepest = present = 0
    for found in _SHAPE.finditer(body):
        sign = found.group()
        if sign in b"[{":
            present += 1
            deepest = max(deepest, present)
        elif sign in b"]}":
            present -= 1
    return deepest
