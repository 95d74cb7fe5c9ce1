"""The open streams by who opened them: those whose rights are gone are ended."""

import asyncio

import structlog
from fastapi.concurrency import run_in_threadpool

from api.access import Principal
from api.hub import Subscription
from api.key_ring import KeyRing
from db.errors import DatabaseError

RECHECK_S = 2.0
_log = structlog.get_logger()


class OpenStreams:
    """The streams of this process. Lives on the event loop."""

    def __init__(self, key_ring: KeyRing) -> None:
        self._key_ring = key_ring
        self._callers: dict[Subscription, Principal] = {}

    def add(self, subscription: Subscription, caller: Principal) -> None:
        """Note who opened a stream; from now on it lasts no longer than the caller's rights."""
        self._callers[subscription] = caller

    def remove(self, subscription: Subscription) -> None:
        """Forget a stream; once more does nothing."""
        self._callers.pop(subscription, None)

    async def keep_checking(self) -> None:
        """End the streams whose caller has other rights than when it came, until cancelled.

        With other rights the client comes again. One statement asks for all; a database that does not answer ends none:
        without it there are no events either.
        """
        while True:
            await asyncio.sleep(RECHECK_S)
            asked = dict(self._callers)
            if not asked:
                continue
            try:
                valid = await run_in_threadpool(self._key_ring.still_valid, asked.values())
            except DatabaseError as error:
                _log.warning("streams not checked", exc_info=error)
                continue
            for subscription, still in zip(asked, valid, strict=True):
                if not still:
                    subscription.end()
