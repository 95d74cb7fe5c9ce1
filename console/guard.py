"""What stands before every page: this origin only, signed in for the socket, and headers that keep the browser so."""

from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.sessions import COOKIE, Sessions

_SAFE = frozenset({"GET", "HEAD"})
_SOCKET = "/_nicegui_ws/"


class Guard:
    """Refuses requests that another site made the browser send, and sockets without a session."""

    def __init__(self, app: ASGIApp, *, sessions: Sessions, tile_origin: str | None) -> None:
        self._app = app
        self._sessions = sessions
        self._headers = {
            "Content-Security-Policy": policy(tile_origin),
            "Referrer-Policy": "same-origin",  # with none, a form of our own would say Origin: null
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "geolocation=(), camera=(), microphone=()",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._may_pass(scope, headers):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("refused", HTTPStatus.FORBIDDEN)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, with_headers)

    def _may_pass(self, scope: Scope, headers: Headers) -> bool:
        """Tell whether a request that can change something is this origin's own; a socket needs a session too."""
        socket = scope["path"].startswith(_SOCKET)
        if not socket and scope["type"] == "http" and scope["method"] in _SAFE:
            return True
        origin = headers.get("origin")
        if origin is None and not socket:  # an old browser's form; SameSite=Strict keeps its cookie at home
            return headers.get("sec-fetch-site") in {None, "same-origin", "none"}
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            return False
        return not socket or self._sessions.find(_cookie(headers)) is not None


def policy(tile_origin: str | None) -> str:
    """Return the Content-Security-Policy: nothing from elsewhere but tiles, where a tile server was set.

    The pages' framework writes scripts into the page and compiles templates there: that takes both `unsafe-` sources.
    """
    images = " ".join(["'self'", "data:", *([tile_origin] if tile_origin else [])])
    return "; ".join(
        [
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            f"img-src {images}",
            "font-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


def _cookie(headers: Headers) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value
