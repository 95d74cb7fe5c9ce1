"""The one thread that reads the numbered events for all streams of this process."""

import asyncio
import threading
import time

import structlog

from api.hub import Hub
from db import events
from db.errors import DatabaseError
from db.pool import PROMPT_WITHIN_S, Connection, connect

POLL_S = 0.25
"""Also how long the process waits for the thread when it leaves; a poll that finds nothing is one index look-up."""
STALE_AFTER_S = 10.0
_PAGE = 500
_BACK_OFF_S = (0.2, 0.5, 1.0, 2.0)
_log = structlog.get_logger()


class EventReader:
    """Follows the event numbers on a connection of its own and publishes them to the hub on its loop."""

    def __init__(self, url: str, hub: Hub, loop: asyncio.AbstractEventLoop, *, name: str) -> None:
        self._url = url
        self._hub = hub
        self._loop = loop
        self._name = name
        self._leaving = threading.Event()
        self._position: int | None = None
        self._current_at_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it is gone after one poll at the latest."""
        self._leaving.set()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout=10)

    def lag_s(self) -> float | None:
        """Return the time since the streams were last up to date, None before the first read."""
        return None if self._current_at_s is None else time.monotonic() - self._current_at_s

    def is_running(self) -> bool:
        """Tell whether the streams are up to date, or were a moment ago."""
        lag_s = self.lag_s()
        return lag_s is not None and lag_s < STALE_AFTER_S

    def _run(self) -> None:
        failures = 0
        while not self._leaving.is_set():
            try:
                with connect(self._url, name=self._name, autocommit=True, answer_within_s=PROMPT_WITHIN_S) as conn:
                    events.listen(conn, "events_sequenced")
                    self._begin(conn)
                    failures = 0
                    self._follow(conn)
            except DatabaseError as error:
                _log.warning("event reader lost the database", exc_info=error)
                self._leaving.wait(_BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)])
                failures += 1

    def _begin(self, conn: Connection) -> None:
        last = events.known_range(conn).last or 0
        if self._position is None or last < self._position:
            # The first time; or the database was restored to an earlier state, where these numbers mean other events.
            self._position = last
            self._on_loop(self._hub.begin, last)

    def _follow(self, conn: Connection) -> None:
        while not self._leaving.is_set():
            assert self._position is not None  # noqa: S101 - set by _begin
            page = events.after(conn, self._position, limit=_PAGE)
            if page:
                self._position = page[-1].sequence
                self._on_loop(self._hub.publish, page)
            if len(page) < _PAGE:
                self._current_at_s = time.monotonic()
                events.wait(conn, timeout_s=POLL_S)

    def _on_loop(self, job: object, value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(job, value)  # type: ignore[arg-type]
        except RuntimeError:
            self._leaving.set()  # the loop is closed: the process ends
