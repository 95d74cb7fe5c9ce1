"""The open streams by who opened them: no more than each may have, and those whose rights are gone are ended."""

import asyncio
from dataclasses import dataclass

import structlog
from fastapi.concurrency import run_in_threadpool

from api.access import Principal
from api.hub import Subscription
from api.key_ring import KeyRing
from api.limits import LimitedError
from db import audit, limits
from db.audit import Entry
from db.errors import DatabaseError
from db.pool import Pool

RECHECK_S = 2.0
_RETRY_AFTER_S = 5
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Opened:
    stream_id: int
    caller: Principal


class OpenStreams:
    """The streams of this process. Lives on the event loop."""

    def __init__(self, pool: Pool, key_ring: KeyRing, *, process: str) -> None:
        self._pool = pool
        self._key_ring = key_ring
        self._process = process
        self._opened: dict[Subscription, _Opened] = {}
        self._closed: list[int] = []
        self._closing = asyncio.Event()

    async def add(self, subscription: Subscription, caller: Principal, noted: Entry) -> None:
        """Note who opens a stream, in the audit too; from now on it lasts no longer than the caller's rights.

        Raises LimitedError where the caller has as many open as it may, in all processes together.
        """
        stream_id = await run_in_threadpool(self._open, caller, noted)
        if stream_id is None:
            raise LimitedError(
                "TOO_MANY_STREAMS", f"expected at most {caller.streams} open streams", retry_after_s=_RETRY_AFTER_S
            )
        self._opened[subscription] = _Opened(stream_id, caller)

    def remove(self, subscription: Subscription) -> None:
        """Forget a stream; once more does nothing."""
        opened = self._opened.pop(subscription, None)
        if opened is not None:
            self._closed.append(opened.stream_id)
            self._closing.set()

    async def keep_checking(self) -> None:
        """End the streams whose caller has other rights than when it came, until cancelled.

        With other rights the client comes again. One statement asks for all; a database that does not answer ends none:
        without it there are no events either.
        """
        while True:
            await asyncio.sleep(RECHECK_S)
            asked = dict(self._opened)
            if not asked:
                continue
            try:
                valid = await run_in_threadpool(self._key_ring.still_valid, [one.caller for one in asked.values()])
            except DatabaseError as error:
                _log.warning("streams not checked", exc_info=error)
                continue
            except Exception:  # noqa: BLE001 - nobody stays in because the question was never answered
                _log.exception("streams not checked")
                valid = [False] * len(asked)
            for subscription, still in zip(asked, valid, strict=True):
                if not still:
                    subscription.end()

    async def keep_counting(self) -> None:
        """Tell the other processes of streams that have ended, at once, until cancelled."""
        await self._forget_former()
        while True:
            await self._closing.wait()
            self._closing.clear()
            closed, self._closed = self._closed, []
            try:
                await run_in_threadpool(self._close, closed)
            except DatabaseError as error:
                _log.warning("closed streams not told", exc_info=error)
                self._closed += closed
                self._closing.set()
                await asyncio.sleep(RECHECK_S)

    async def _forget_former(self) -> None:
        """Forget the streams of a process of this name that was killed, as soon as the database answers."""
        while True:
            try:
                await run_in_threadpool(self._forget)
            except DatabaseError as error:
                _log.warning("streams of a former process not forgotten", exc_info=error)
                await asyncio.sleep(RECHECK_S)
            else:
                return

    def _forget(self) -> None:
        with self._pool.connection() as conn:
            limits.forget_process(conn, self._process)

    def _open(self, caller: Principal, noted: Entry) -> int | None:
        with self._pool.connection() as conn:
            stream_id = limits.open_stream(conn, caller.credential.who, process=self._process, most=caller.streams)
            if stream_id is not None:
                audit.append(conn, noted, only_reads=True)
            return stream_id

    def _close(self, stream_ids: list[int]) -> None:
        with self._pool.connection() as conn:
            limits.close_streams(conn, stream_ids)
