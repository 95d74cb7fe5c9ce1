"""What a session sees of incidents and violations, kept up to date by its event streams.

An event only says that something has changed; the state itself is read by REST. So there is one form of an incident,
and what was missed while the connection was lost is made good by the events that come behind the last one.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from console.feed import Feed
from console.public_api import CHILDCARE, SAFETY, ApiRefused, Json, PublicApi
from console.watch import Watch

_BETWEEN_READS_S = 0.4
_AGAIN_S = 1.0
_MOST_AT_ONCE = 100
_PAGE = 1000
OVER = frozenset({"CLOSED", "CANCELLED"})


class Viewer(Protocol):
    """A page that shows the board."""

    def replaced(self) -> None:
        """All incidents were read anew."""

    def changed(self, rows: list[Json], gone: list[str]) -> None:
        """These incidents are new or have changed; those are over."""

    def happened(self, service: str, event: Json) -> None:
        """An event has come."""

    def turned(self) -> None:
        """What is shown may be out of date from now on, or is live again."""


class Board:
    """The open incidents by cid in `rows`, and the streams that keep them so."""

    def __init__(self, api: PublicApi, *, ended: Callable[[], None], asks_every_s: float = 5.0) -> None:
        """Call `ended` when the key is not valid any more; ask that often how the service is."""
        self._api = api
        self._ended = ended
        self.rows: dict[str, Json] = {}
        self.loaded = False
        self.viewers: set[Viewer] = set()
        self._touched: set[str] = set()
        self._reload = False
        self._wake = asyncio.Event()
        self._behind_since: datetime | None = None
        self._watch = Watch(api, every_s=asks_every_s, unannounced=self._begin, turned=self._turned)
        self._feeds = {
            "SOS": self._feed("SOS", f"{SAFETY}/sos/events"),
            "RSA": self._feed("RSA", f"{SAFETY}/rsa/events"),
            "CURFEW": self._feed("CURFEW", f"{CHILDCARE}/curfew/events"),
        }

    def end(self) -> None:
        """Tell that the key turned out not to be valid any more."""
        self._ended()

    @property
    def lost_since(self) -> datetime | None:
        """Since when what is shown may be out of date; None while all that happens is told, and can be read."""
        lost = [self._behind_since, self._watch.lost_since, *(feed.lost_since for feed in self._feeds.values())]
        return min((since for since in lost if since is not None), default=None)

    @property
    def lost_why(self) -> str:
        """Why it may be, as a key of the texts."""
        if any(feed.lost_since is not None for feed in self._feeds.values()):
            return "live.lost.long"
        return self._watch.why or "live.lost.service"

    async def run(self) -> None:
        """Keep the board until cancelled, or until the key is not valid any more; begins by reading all of it."""
        self._begin()
        try:
            async with asyncio.TaskGroup() as tasks:
                for feed in self._feeds.values():
                    tasks.create_task(feed.run())
                tasks.create_task(self._watch.run())
                tasks.create_task(self._read())
        except* ApiRefused:
            self._ended()

    def _feed(self, service: str, path: str) -> Feed:
        def took(event: Json) -> None:
            cid = event.get("data", {}).get("cid")
            if cid is not None:
                self._touched.add(cid)
                self._wake.set()
            for viewer in list(self.viewers):
                viewer.happened(service, event)

        return Feed(self._api, path, took=took, began=self._begin, turned=self._turned)

    def _begin(self) -> None:
        self._reload = True
        self._wake.set()

    def _turned(self) -> None:
        for viewer in list(self.viewers):
            viewer.turned()

    async def _read(self) -> None:
        """Read what has changed, at once and then at most a few times a second."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self._reload:
                    await self._read_all()
                if self._touched:
                    await self._read_touched()
                self._fall_behind(None)
            except ApiRefused as refused:
                if refused.ends_session:
                    raise
                self._fall_behind(self._behind_since or datetime.now(UTC))
                self._wake.set()
                await asyncio.sleep(max(_AGAIN_S, refused.retry_after_s))
            await asyncio.sleep(_BETWEEN_READS_S)

    def _fall_behind(self, since: datetime | None) -> None:
        changed = self._behind_since != since
        self._behind_since = since
        if changed:
            self._turned()

    async def _read_all(self) -> None:
        # What happens while the pages are read comes by the streams, which are open already.
        self._reload = False
        rows: dict[str, Json] = {}
        after: str | None = ""
        try:
            while after is not None:
                page = await self._api.get(f"{SAFETY}/incidents", after=after, limit=_PAGE)
                rows |= {row["cid"]: row for row in page["incidents"]}
                after = page["next"]
        except ApiRefused:
            self._reload = True
            raise
        self.rows = rows
        self.loaded = True
        for viewer in list(self.viewers):
            viewer.replaced()

    async def _read_touched(self) -> None:
        cids = sorted(self._touched)[:_MOST_AT_ONCE]
        self._touched.difference_update(cids)
        try:
            found = (await self._api.get(f"{SAFETY}/incidents", cid=cids))["incidents"]
        except ApiRefused:
            self._touched.update(cids)
            raise
        if self._touched:
            self._wake.set()
        changed = [row for row in found if row["status"] not in OVER]
        gone = [row["cid"] for row in found if row["status"] in OVER]
        self.rows |= {row["cid"]: row for row in changed}
        for cid in gone:
            self.rows.pop(cid, None)
        for viewer in list(self.viewers):
            viewer.changed(changed, gone)
