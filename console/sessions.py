"""Who is signed in: a token and what was learnt with it, by the random name that the browser's cookie carries."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from console.board import Board
from console.public_api import PublicApi
from console.settings import ConsoleSettings
from schemas.access import Role, WhoAmI

COOKIE = "tcu_console"
LONGEST_S = 12 * 3600.0
IDLE_S = 3600.0
_CHECK_S = 30.0

CENTER = frozenset({Role.AGENT, Role.OPERATOR})
GUARDIANS = frozenset({Role.OWNER, Role.GUARDIAN, Role.DRIVER})


class NoPageError(Exception):
    """The key is valid, and there is no page for its role."""


@dataclass(eq=False, slots=True)
class Session:
    """A signed-in browser. The token itself is in `api` and nowhere else."""

    name: str
    who: WhoAmI
    role: Role
    api: PublicApi
    board: Board
    began_s: float
    used_s: float
    pages: int = 0
    ends: list[Callable[[], None]] = field(default_factory=list)
    """Called when the session ends, by each page that is open."""
    keeping: asyncio.Task[None] | None = None

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
    """All sessions of this process."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._open: dict[str, Session] = {}

    async def begin(self, token: str) -> Session:
        """Return a new session. Raises ApiRefused for a token that the API does not take, and NoPageError."""
        api = PublicApi(self._settings.api_url, token)
        try:
            who, role = await _known(api)
        except BaseException:
            await api.close()
            raise
        name = secrets.token_urlsafe(32)
        now_s = time.monotonic()
        board = Board(api, ended=lambda: self.end(name))
        session = Session(name, who, role, api, board, began_s=now_s, used_s=now_s)
        session.keeping = asyncio.create_task(self._keep(session), name="console-board")
        self._open[name] = session
        return session

    def find(self, name: str | None) -> Session | None:
        """Return the session of that name, if it has not ended."""
        session = self._open.get(name or "")
        if session is not None:
            session.used_s = time.monotonic()
        return session

    def end(self, name: str) -> None:
        """Forget a session and its token; its pages are sent to the sign-in."""
        session = self._open.pop(name, None)
        if session is None:
            return
        if session.keeping is not None:
            session.keeping.cancel()
        for ended in list(session.ends):
            ended()

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
                idle = not session.pages and now_s - session.used_s > IDLE_S
                if idle or now_s - session.began_s > LONGEST_S:
                    self.end(name)

    async def _keep(self, session: Session) -> None:
        try:
            await session.board.run()
        finally:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(session.api.close())


async def _known(api: PublicApi) -> tuple[WhoAmI, Role]:
    who = WhoAmI.model_validate(await api.get("/api/v1/me"))
    if who.role is None or who.role not in CENTER | GUARDIANS:
        raise NoPageError(who.role)
    return who, who.role
