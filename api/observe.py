"""Around every request: its id, the bound on its body, its log line, its metrics, and an answer whatever goes wrong."""

import re
import time
from http import HTTPStatus
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors, logs
from api.metrics import Metrics

MAX_BODY_BYTES = 64 * 1024
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
        answer = _Answer(send, request_id)
        started_at_s = time.perf_counter()
        try:
            await self._serve(scope, receive, answer)
        finally:
            self._note(scope, answer, time.perf_counter() - started_at_s)

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            taken = await _take_body(scope, receive)
            if taken is None:
                detail = f"expected a body of at most {MAX_BODY_BYTES} bytes"
                too_large = errors.problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BODY_TOO_LARGE", detail)
                too_large.headers["Connection"] = "close"  # the rest of the body is not read
                await too_large(scope, receive, answer.send)
                return
            await self._app(scope, taken, answer.send)
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
    """The answer as it passes: notes the status, adds the request id."""

    def __init__(self, send: Send, request_id: str) -> None:
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
            self.is_stream = headers.get("content-type", "").startswith("text/event-stream")
        await self._send(message)


async def _take_body(scope: Scope, receive: Receive) -> Receive | None:
    """Return a `receive` that gives the whole body at once; None where it is too large."""
    if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
        return receive
    declared = Headers(scope=scope).get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        return None
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return receive
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            return None
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay
