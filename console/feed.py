"""One event stream, followed for as long as the session lives; after a loss it resumes where it was."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import structlog
from httpx_sse import SSEError

from console.public_api import ApiRefused, Json, PublicApi

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0
_log = structlog.get_logger()


class Feed:
    """Follows a stream. `lost_since` is None while it is open."""

    def __init__(
        self,
        api: PublicApi,
        path: str,
        *,
        took: Callable[[Json], None],
        began: Callable[[], None],
        turned: Callable[[], None],
    ) -> None:
        """Call `took` with each event, `began` where what came before is unknown, `turned` when lost or open again."""
        self._api = api
        self._path = path
        self._took = took
        self._began = began
        self._turned = turned
        self._last_id = ""
        self.lost_since: datetime | None = datetime.now(UTC)

    async def run(self) -> None:
        """Follow until cancelled. Raises ApiRefused where the key has no right to it, or no longer."""
        try:
            await self._follow()
        finally:
            self._turn(self.lost_since or datetime.now(UTC))

    async def _follow(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            wait_s = 0.0
            try:
                async with self._api.stream(self._path, last_id=self._last_id) as source:
                    pause_s = _FIRST_PAUSE_S
                    if not self._last_id:
                        self._began()
                    self._turn(None)
                    async for message in source.aiter_sse():
                        self._last_id = message.id or self._last_id
                        if message.event == "reset":
                            self._began()
                        elif message.data:
                            self._took(json.loads(message.data))
            except ApiRefused as refused:
                if refused.is_for_good:
                    raise
                wait_s = refused.retry_after_s
            except (httpx.HTTPError, SSEError, json.JSONDecodeError) as error:
                _log.info("stream lost", stream=self._path, error=type(error).__name__)
            self._turn(self.lost_since or datetime.now(UTC))
            await asyncio.sleep(max(pause_s, wait_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _turn(self, lost_since: datetime | None) -> None:
        changed = self.lost_since != lost_since
        self.lost_since = lost_since
        if changed:
            self._turned()
