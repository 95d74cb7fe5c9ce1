"""The application: signing in and out, the pages, and what lives as long as it does."""

import asyncio
import html
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from nicegui import app as pages
from nicegui import background_tasks, core, ui
from nicegui.client import Client, ClientConnectionTimeout

from console.board import Viewer
from console.guard import Guard
from console.pages.center import CenterPage
from console.pages.guardian import GuardianPage
from console.pages.operator import OperatorPage
from console.public_api import ApiRefused
from console.sessions import COOKIE, NoPageError, Session, Sessions
from console.settings import ConsoleSettings
from console.texts import say
from schemas.production import Environment

_STATIC = Path(__file__).parent / "static"
_RECONNECT_S = 120.0
"""How long a page that lost its connection can come back and be told what it missed; after that it loads anew."""
_PING_EVERY_S, _PONG_WITHIN_S = 5, 4
_MESSAGES_KEPT = 10_000
_CONNECTS_WITHIN_S = 30.0
_SENT_AWAY_S = 2.0


class Page(Viewer, Protocol):
    """An open page."""

    async def begin(self) -> None:
        """Fill the page; the browser is there."""


def create_app(settings: ConsoleSettings) -> FastAPI:
    """Return the application; there can be one in a process."""
    sessions = Sessions(settings)
    app = FastAPI(title=say("title"), docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=_STATIC))
    _add_signing(app, sessions, guarded=settings.environment is Environment.PRODUCTION)
    _add_pages(settings, sessions)
    _add_lifetime(sessions)
    ui.run_with(
        app,
        title=say("title"),
        favicon=_STATIC / "icon.svg",
        language="en-US",
        dark=False,  # the pages have their own light and dark
        tailwind=False,
        reconnect_timeout=_RECONNECT_S,
        message_history_length=_MESSAGES_KEPT,
        show_welcome_message=False,
    )
    app.add_middleware(Guard, sessions=sessions, tile_origin=settings.tile_origin)
    return app


def _add_lifetime(sessions: Sessions) -> None:
    watching: list[asyncio.Task[None]] = []

    def start() -> None:
        # Derived from the time to reconnect otherwise; a lost connection has to be seen much sooner.
        core.sio.eio.ping_interval, core.sio.eio.ping_timeout = _PING_EVERY_S, _PONG_WITHIN_S
        watching.append(asyncio.create_task(sessions.watch(), name="console-sessions"))

    async def stop() -> None:
        sessions.end_all()
        for task in watching:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    pages.on_startup(start)
    pages.on_shutdown(stop)


def _add_signing(app: FastAPI, sessions: Sessions, *, guarded: bool) -> None:
    """Add signing in and out; `guarded`: the browser gives the cookie to https alone, whoever ends TLS before us."""

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/sign-in")
    async def ask(why: str = "") -> Response:
        return _sign_in_page("sign_in.ended" if why == "ended" else None)

    @app.post("/sign-in")
    async def sign_in(request: Request, token: Annotated[str, Form(max_length=8192)] = "") -> Response:
        try:
            session = await sessions.begin(token.strip())
        except NoPageError:
            return _sign_in_page("sign_in.no_page", status=HTTPStatus.FORBIDDEN)
        except UnicodeEncodeError:  # no header can carry it, so no key looks like this
            return _sign_in_page("sign_in.refused", status=HTTPStatus.UNAUTHORIZED)
        except ApiRefused as refused:
            if refused.ends_session:
                return _sign_in_page("sign_in.refused", status=HTTPStatus.UNAUTHORIZED)
            return _sign_in_page("sign_in.unreachable", status=HTTPStatus.BAD_GATEWAY)
        sessions.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(COOKIE, session.name, httponly=True, samesite="strict", secure=guarded or _is_https(request))
        return answer

    @app.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        sessions.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/sign-in?why=ended", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=guarded or _is_https(request))
        return answer

    @app.get("/")
    async def home(request: Request) -> Response:
        session = sessions.find(request.cookies.get(COOKIE))
        return RedirectResponse("/sign-in" if session is None else _home_of(session), HTTPStatus.SEE_OTHER)


def _is_https(request: Request) -> bool:
    return request.url.scheme == "https"


def _sign_in_page(problem: str | None, *, status: HTTPStatus = HTTPStatus.OK) -> HTMLResponse:
    texts = {key: html.escape(say(key)) for key in ("title", "sign_in", "sign_in.token", "sign_in.lead")}
    texts["problem"] = f'<p class="note bad" role="alert">{html.escape(say(problem))}</p>' if problem else ""
    page = (_STATIC / "sign_in.html").read_text()
    for key, text in texts.items():
        page = page.replace(f"{{{{{key}}}}}", text)
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})


def _home_of(session: Session) -> str:
    return "/center" if session.sees_center else "/guardian"


def _add_pages(settings: ConsoleSettings, sessions: Sessions) -> None:
    @ui.page("/center", title=f"{say('nav.center')} · {say('title')}")
    async def center(request: Request, cid: str | None = None) -> Response | None:
        session = sessions.find(request.cookies.get(COOKIE))
        if session is None or not session.sees_center:
            return _elsewhere(session)
        client = ui.context.client
        await _live(session, client, CenterPage(session, settings, client, cid=cid))
        return None

    @ui.page("/guardian", title=f"{say('nav.guardian')} · {say('title')}")
    async def guardian(request: Request, vin: str | None = None) -> Response | None:
        session = sessions.find(request.cookies.get(COOKIE))
        if session is None or not session.sees_family:
            return _elsewhere(session)
        client = ui.context.client
        await _live(session, client, GuardianPage(session, client, vin=vin))
        return None

    @ui.page("/operator", title=f"{say('nav.operator')} · {say('title')}")
    async def operator(request: Request) -> Response | None:
        session = sessions.find(request.cookies.get(COOKIE))
        if session is None or not session.sees_operation:
            return _elsewhere(session)
        client = ui.context.client
        await _live(session, client, OperatorPage(session, client))
        return None


def _elsewhere(session: Session | None) -> Response:
    return RedirectResponse("/sign-in" if session is None else _home_of(session), HTTPStatus.SEE_OTHER)


async def _live(session: Session, client: Client, page: Page) -> None:
    """Let the page live with its session: told of what changes while it is open, sent away when the session ends."""
    ended = _sender_away(client)
    session.board.viewers.add(page)
    session.opened(ended)

    def left() -> None:
        session.board.viewers.discard(page)
        session.closed(ended)

    client.on_delete(left)
    try:
        await client.connected(timeout=_CONNECTS_WITHIN_S)
    except ClientConnectionTimeout:
        return  # fetched and never opened
    await page.begin()


def _sender_away(client: Client) -> Callable[[], None]:
    async def leave() -> None:
        client.open("/sign-in?why=ended")
        await asyncio.sleep(_SENT_AWAY_S)
        client.delete()

    def send() -> None:
        background_tasks.create(leave(), name="console-leave")

    return send
