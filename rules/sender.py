"""The sender of webhooks: posts what is due while this process is elected. It reads the clock, as the jobs do."""

import asyncio
import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import httpx
import structlog

from db import webhooks
from db.errors import DatabaseError
from db.pool import Pool, open_pool
from db.webhooks import Leased
from rules.settings import RulesSettings
from rules.webhooks import Outcome, delay, headers, outcome

log = structlog.get_logger()

POLL_S = 0.25
CONNECTIONS = 4
LOOKUPS = 64
"""Threads that look up names; a lookup that hangs can't be cancelled, so one receiver's must not take them all."""
IN_FLIGHT_MOST = 500
"""Attempts at a time over all receivers: below the usual limit of 1024 open files."""


class WebhookSender:
    """Leases due deliveries, posts them outside of any transaction, and notes what became of them.

    One thread with an event loop: a receiver that hangs costs a socket and a share of its own bound, no thread, so it
    delays nobody else. Killed between an attempt and its note, the lease runs out and the delivery is posted again
    under the same webhook-id.
    """

    def __init__(self, settings: RulesSettings, leads: Callable[[], bool]) -> None:
        self._settings = settings
        self._leads = leads
        self._stopping = Event()
        self._database = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="webhook-database")
        self._thread = Thread(target=self._run, name="webhooks")

    @property
    def failed(self) -> bool:
        """True where the thread ended without being asked to."""
        return not self._thread.is_alive() and not self._stopping.is_set()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the attempts in hand and leave."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pool = open_pool(self._settings.database_url, name="rules-webhooks", max_size=CONNECTIONS)
        try:
            asyncio.run(self._send(pool))
        finally:
            pool.close()
            self._database.shutdown()

    async def _send(self, pool: Pool) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(LOOKUPS, thread_name_prefix="webhook-lookup"))
        under_way: set[asyncio.Task[None]] = set()
        # The total is bounded in _post; httpx bounds each step only, and a receiver that drips would hold it for ever.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        async with httpx.AsyncClient(timeout=self._settings.webhook_timeout_s, limits=limits) as client:
            while not self._stopping.is_set():
                room = IN_FLIGHT_MOST - len(under_way)
                for leased in await loop.run_in_executor(self._database, self._claim, pool, room):
                    under_way.add(asyncio.create_task(self._attempt(client, pool, leased)))
                if under_way:
                    _, under_way = await asyncio.wait(under_way, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(POLL_S)
            if under_way:
                await asyncio.wait(under_way)

    def _claim(self, pool: Pool, limit: int) -> list[Leased]:
        if not self._leads() or not limit:
            return []
        now = datetime.now(UTC)
        try:
            with pool.connection() as conn:
                return webhooks.claim(
                    conn,
                    now=now,
                    leased_until=now + self._settings.webhook_lease,
                    parallel=self._settings.webhook_parallel,
                    limit=limit,
                )
        except DatabaseError as error:
            log.warning("webhooks_interrupted", error=type(error).__name__)
            self._stopping.wait(1)
            return []

    async def _attempt(self, client: httpx.AsyncClient, pool: Pool, leased: Leased) -> None:
        try:
            found, error = await self._post(client, leased)
        except Exception as unexpected:  # noqa: BLE001 - one receiver's address or answer must not stop the others'
            found, error = Outcome.AGAIN, type(unexpected).__name__
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._database, self._note, pool, leased, found, error)
        except DatabaseError as unavailable:  # the lease runs out and it is posted again
            log.warning("webhook_not_noted", webhook_id=str(leased.delivery_id), error=type(unavailable).__name__)

    async def _post(self, client: httpx.AsyncClient, leased: Leased) -> tuple[Outcome, str]:
        body = json.dumps(leased.payload, ensure_ascii=False, separators=(",", ":"))
        signed = headers(leased.secret, str(leased.delivery_id), body, at=datetime.now(UTC))
        try:
            async with (
                asyncio.timeout(self._settings.webhook_timeout_s),
                client.stream("POST", leased.url, content=body.encode(), headers=signed) as response,
            ):
                return outcome(response.status_code), f"HTTP {response.status_code}"
        except (TimeoutError, httpx.TimeoutException):
            return Outcome.AGAIN, f"no answer within {self._settings.webhook_timeout_s:g} s"
        except httpx.HTTPError as error:
            return Outcome.AGAIN, type(error).__name__

    def _note(self, pool: Pool, leased: Leased, found: Outcome, error: str) -> None:
        now = datetime.now(UTC)
        with pool.connection() as conn:
            match found:
                case Outcome.DELIVERED:
                    webhooks.delivered(conn, leased.delivery_id, at=now)
                    if leased.attempts > 1:  # it had failed: the receiver is back
                        webhooks.hasten(conn, leased.delivery_id, at=now)
                case Outcome.REFUSED:
                    webhooks.failed(conn, leased.delivery_id, error=error, at=now)
                case Outcome.AGAIN:
                    wait = delay(
                        leased.attempts,
                        first=timedelta(seconds=self._settings.webhook_retry_first_s),
                        most=timedelta(seconds=self._settings.webhook_retry_most_s),
                        spread=random.random(),  # noqa: S311 - spreads load, hides nothing
                    )
                    webhooks.put_off(conn, leased.delivery_id, error=error, next_attempt_at=now + wait)
        if found is not Outcome.DELIVERED:
            log.warning(
                "webhook_not_taken",
                webhook_id=str(leased.delivery_id),
                cid=leased.cid,
                attempts=leased.attempts,
                error=error,
                final=found is Outcome.REFUSED,
            )
