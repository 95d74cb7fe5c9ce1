"""Whether an SOS that is pressed now would be seen: event streams stay open and ping while nothing is told on them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from console.public_api import SAFETY, ApiRefused, Json, PublicApi
from schemas.health import Health, PartHealth

_TOO_OFTEN = 429


class Watch:
    """Asks again and again how the service is. `lost_since` is None while it is well; `why` is a key of the texts."""

    def __init__(
        self, api: PublicApi, *, every_s: float, unannounced: Callable[[], None], turned: Callable[[], None]
    ) -> None:
        """Call `unannounced` each time no event can come of what happens, `turned` when it fails or is well again."""
        self._api = api
        self._every_s = every_s
        self._unannounced = unannounced
        self._turned = turned
        self.why: str | None = "live.lost.long"
        self.lost_since: datetime | None = datetime.now(UTC)

    async def run(self) -> None:
        """Ask until cancelled. Raises ApiRefused where the key has no right to it, or no longer."""
        try:
            while True:
                wait_s = await self._ask()
                await asyncio.sleep(max(self._every_s, wait_s))
        finally:
            self._turn(self.why or "live.lost.long")

    async def _ask(self) -> float:
        """Ask once; return how many seconds the API wants to be left alone."""
        try:
            self._turn(trouble(await self._api.get(f"{SAFETY}/sos/system/health")))
        except ApiRefused as refused:
            if refused.is_for_good:
                raise
            if refused.status != _TOO_OFTEN:  # which says nothing of the service
                self._turn("live.lost.long" if refused.status is None else "live.lost.service")
            return refused.retry_after_s
        if self.why == "live.lost.rules":
            self._unannounced()
        return 0

    def _turn(self, why: str | None) -> None:
        changed = self.why != why
        self.why = why
        self.lost_since = None if why is None else self.lost_since or datetime.now(UTC)
        if changed:
            self._turned()


def trouble(health: Json) -> str | None:
    """Return why an SOS would not be seen at once, as a key of the texts; None where it would."""
    if health["systems"]["rules"]["status"] != PartHealth.OPERATIONAL:  # nobody is there, or nobody leads
        return "live.lost.rules"
    return "live.lost.worker" if health["status"] == Health.DOWN else None
