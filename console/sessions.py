"""Who is signed in: by the random name that a browser's cookie carries, the desk that a token has opened."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from console.board import Board
from console.public_api import PublicApi
from console.settings import ConsoleSettings
from schemas.access import Role, WhoAmI

COOKIE = "tcu_console"
LONGEST_S = 12 * 3600.0
IDLE_S = 3600.0
_CHECK_S = 30.0
_AGAIN_S = 1.0
_OFTEN_S, _SELDOM_S = 5.0, 15.0
"""Between two questions how the service is: a counselor's key may ask much more in a minute than a family's."""
_log = structlog.get_logger()

CENTER = frozenset({Role.AGENT, Role.OPERATOR})
GUARDIANS = frozenset({Role.OWNER, Role.GUARDIAN, Role.DRIVER})


class NoPageError(Exception):
    """The key is valid, and there is no page for its role."""


@dataclass(eq=False, slots=True)
class Desk:
    """What one token gives to all browsers that signed in with it: client and board. Only the client has the token."""

    who: WhoAmI
    role: Role
    api: PublicApi
    board: Board
    keeping: asyncio.Task[None] | None = None
    sessions: set[str] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Session:
    """A signed-in browser. Each page that is open has one of `ends`."""

    name: str
    desk: Desk
    began_s: float
    used_s: float
    ends: list[Callable[[], None]] = field(default_factory=list)

    def opened(self, ended: Callable[[], None]) -> None:
        """Note that a page was opened; `ended` is called when the session ends."""
        self.ends.append(ended)

    def closed(self, ended: Callable[[], None]) -> None:
        """Note that this page is not open any more; it was in use until now."""
        self.ends.remove(ended)
        self.used_s = time.monotonic()

    def is_over(self, now_s: float) -> bool:
        """Tell whether nobody has used it for long, or it has lasted for as long as one may."""
        return (not self.ends and now_s - self.used_s > IDLE_S) or now_s - self.began_s > LONGEST_S

    @property
    def who(self) -> WhoAmI:
        """Who signed in."""
        return self.desk.who

    @property
    def role(self) -> Role:
        """The role that decides which pages there are."""
        return self.desk.role

    @property
    def api(self) -> PublicApi:
        """The public API with the token's rights."""
        return self.desk.api

    @property
    def board(self) -> Board:
        """What the token shows of incidents."""
        return self.desk.board

    @property
    def sees_center(self) -> bool:
        """Whether the call center's page is for this role."""
        return self.role in CENTER

    @property
    def sees_family(self) -> bool:
        """Whether the guardian's page is for this role."""
        return self.role in GUARDIANS or self.role is Role.OPERATOR

    @property
    def sees_operation(self) -> bool:
        """Whether the operator's page is for this role."""
        return self.role is Role.OPERATOR


class Sessions:
    """All sessions of this process, and their desks by the hash of the token."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._open: dict[str, Session] = {}
        self._desks: dict[bytes, Desk] = {}

    async def begin(self, token: str) -> Session:
        """Return a new session. Raises ApiRefused for a token that the API does not take, and NoPageError."""
        api = PublicApi(self._settings.api_url, token)
        try:
            who, role = await _known(api)
        except BaseException:
            await api.close()
            raise
        # Streams are counted by their caller: a second browser with the same token takes no more of them.
        desk_name = hashlib.sha256(token.encode()).digest()
        desk = self._desks.get(desk_name)
        if desk is None:
            desk = self._desks[desk_name] = self._desk(desk_name, who, role, api)
        else:
            await api.close()
        name, now_s = secrets.token_urlsafe(32), time.monotonic()
        session = self._open[name] = Session(name, desk, began_s=now_s, used_s=now_s)
        desk.sessions.add(name)
        return session

    def find(self, name: str | None) -> Session | None:
        """Return the session of that name, if it has not ended."""
        session = self._open.get(name or "")
        if session is not None:
            session.used_s = time.monotonic()
        return session

    def end(self, name: str) -> None:
        """Forget a session; its pages are sent to the sign-in. With the last one of a token, the token is forgotten."""
        session = self._open.pop(name, None)
        if session is None:
            return
        for ended in list(session.ends):
            ended()
        session.desk.sessions.discard(name)
        if not session.desk.sessions:
            self._desks = {known: desk for known, desk in self._desks.items() if desk is not session.desk}
            keeping = session.desk.keeping
            if keeping is not None and keeping is not asyncio.current_task():  # which is about to end by itself
                keeping.cancel()

    def end_all(self) -> None:
        """Forget all sessions: the process is leaving."""
        for name in list(self._open):
            self.end(name)

    async def watch(self) -> None:
        """End the sessions whose time is over, until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_S)
            now_s = time.monotonic()
            for name, session in list(self._open.items()):
                if session.is_over(now_s):
                    self.end(name)

    def _desk(self, desk_name: bytes, who: WhoAmI, role: Role, api: PublicApi) -> Desk:
        def ended() -> None:
            found = self._desks.get(desk_name)
            for name in list(found.sessions) if found is not None else ():
                self.end(name)

        board = Board(api, ended=ended, asks_every_s=_OFTEN_S if role in CENTER else _SELDOM_S)
        desk = Desk(who, role, api, board)
        desk.keeping = asyncio.create_task(_keep(desk), name="console-board")
        return desk


async def _keep(desk: Desk) -> None:
    """Keep the board until the key is not valid any more; a defect of ours must not leave a page that looks live."""
    try:
        while True:
            try:
                await desk.board.run()
            except Exception:  # noqa: BLE001 - the outermost loop of a board, and it is logged
                _log.exception("board failed")
                await asyncio.sleep(_AGAIN_S)
            else:
                return
    finally:
        await desk.api.close()


async def _known(api: PublicApi) -> tuple[WhoAmI, Role]:
    who = WhoAmI.model_validate(await api.get("/api/v1/me"))
    if who.role is None or who.role not in CENTER | GUARDIANS:
        raise NoPageError(who.role)
    return who, who.role
