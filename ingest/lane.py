"""A lane: one session, one database connection, one thread that stores batch after batch."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event, Thread

import structlog

from db.errors import DatabaseError, Refused
from db.pool import PROMPT_WITHIN_S, Connection, connect
from ingest import metrics
from ingest.broker import PROBE_TOPIC, Outgoing, Publications, Session
from ingest.decode import Step, decode
from ingest.inbox import Received
from ingest.pipeline import Outcome, store, store_refused
from ingest.receipts import receipt
from ingest.recent import RecentIds
from ingest.settings import WorkerSettings
from ingest.sights import EngineSeen
from rules.logs import brief
from schemas.topics import RECEIPTED, LaneName, Uplink, uplink_topic

log = structlog.get_logger()

BACKOFF_MAX_S = 2.0
STEPWISE_MOST = {LaneName.URGENT: 200, LaneName.ENGINE: 25}
"""Messages in a batch of what is stored step by step. An urgent one holds the incidents' lock, for which everybody at
the API waits; one of engine events the locks of vehicles that are judged, for which a press of theirs does."""
STUCK_AFTER_S = 120.0
IN_HAND_MOST_S = 10.0
"""A batch takes milliseconds; one that takes so long waits for a lock, or for a database that hangs."""


class Lane:
    """Urgent, engine or bulk: they share nothing, so that no backlog of the one delays the other.

    A batch is stored, then acknowledged and receipted; while the database is away the batch waits, unacknowledged, and
    the broker keeps what follows. A message that PostgreSQL refuses is found by halving its batch, and quarantined.
    """

    def __init__(self, settings: WorkerSettings, *, name: LaneName) -> None:
        self.name = name
        self.stored = 0
        self._settings = settings
        share = "" if settings.ingest_group is None else f"$share/{settings.ingest_group}/"
        topics = [f"{share}{uplink_topic('+', kind)}" for kind in name.kinds]
        others = [f"{share}{uplink_topic('+', kind)}" for kind in Uplink if kind not in name.kinds]
        # Status only: it has the backlogs, and any other message takes five times the room once it is decoded.
        read_ahead = _read_ahead if name is LaneName.BULK else None
        # In a group each message goes to one, and each member has a session of its own.
        of_own = name if settings.ingest_group is None else f"{name}-{settings.ingest_member}"
        self._session = Session(settings, name=of_own, filters=topics, given_up=others, read_ahead=read_ahead)
        self._most = min(settings.ingest_batch_max, STEPWISE_MOST.get(name, settings.ingest_batch_max))
        self._known_vins: set[str] = set()
        self._engines: dict[str, EngineSeen] = {}
        self._recent = RecentIds()
        self._in_hand_since: datetime | None = None
        self._taken_s = 0.0
        self._attempted_s = time.monotonic()
        self._stopping = Event()
        self._conn: Connection | None = None
        self._thread = Thread(target=self._run, name=f"lane-{name}")

    @property
    def ready(self) -> bool:
        """True while messages arrive and can be stored."""
        return not self.hindrances()

    def hindrances(self) -> list[str]:
        """Return why messages don't arrive or can't be stored; empty while they do and can."""
        found = [] if self._session.ready else ["no session with the broker"]
        if self._conn is None or self._conn.closed:
            found.append("no connection to the database")
        if not self._thread.is_alive():
            found.append("does not run")
        in_hand_s = time.monotonic() - self._taken_s
        if self._in_hand_since is not None and in_hand_s > IN_HAND_MOST_S:
            found.append(f"the batch in hand has waited for {in_hand_s:.0f} s")
        return found

    @property
    def connected(self) -> bool:
        """True while the broker session stands."""
        return self._session.ready

    @property
    def waiting(self) -> int:
        """Messages received and not yet taken into a batch."""
        return len(self._session.inbox)

    @property
    def publications(self) -> Publications:
        """What this lane published and the broker confirmed."""
        return self._session.publications

    def lag_s(self, now: datetime) -> float:
        """Return the age of the oldest message that was received and is not stored, 0 while there is none."""
        oldest_at = self._in_hand_since or self._session.inbox.oldest_at
        return max(0.0, (now - oldest_at).total_seconds()) if oldest_at is not None else 0.0

    def is_stuck(self) -> bool:
        """True where a batch is in hand that nothing was tried with for longer than any statement may take."""
        return self._in_hand_since is not None and time.monotonic() - self._attempted_s > STUCK_AFTER_S

    def probe(self) -> None:
        """Measure a round trip to the broker by a message that nobody reads; nothing while there is no session."""
        if self._session.ready:
            self._session.settle((), (Outgoing(PROBE_TOPIC, b""),))

    @property
    def paused(self) -> bool:
        """True while the buffer is full and reading waits."""
        return self._session.inbox.full

    def start(self) -> None:
        """Begin to receive and store."""
        self._thread.start()
        self._session.start()

    def stop(self) -> None:
        """Finish the batch in hand, acknowledge it, and leave; what was not begun stays with the broker."""
        self._stopping.set()
        self._session.inbox.close()
        self._thread.join()
        self._session.stop()
        if self._conn is not None:
            self._conn.close()

    @property
    def failed(self) -> bool:
        """True where the lane ended without being asked to: the process must end, and be started again."""
        return self._session.failed or (not self._thread.is_alive() and not self._stopping.is_set())

    def _run(self) -> None:
        self._connection()
        while not self._stopping.is_set():
            batch = self._session.inbox.take(most=self._most, linger_s=self._settings.ingest_linger_s)
            if batch:
                self._taken_s = time.monotonic()
                self._in_hand_since = batch[0].received_at
                outcomes = self._store(batch)
                self._settle(batch, outcomes)
                self._in_hand_since = None

    def _settle(self, batch: Sequence[Received], outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return  # stopped while the database was away: nothing is acknowledged, all of it comes again
        now = datetime.now(UTC)
        told = [outcome for outcome in outcomes if outcome.kind in RECEIPTED]
        receipts = [message for outcome in told if (message := receipt(outcome, now=now)) is not None]
        self._session.settle(batch, receipts)
        self.stored += len(batch)
        metrics.RECEIVE_TO_COMMIT_SECONDS.labels(self.name).observe((now - batch[0].received_at).total_seconds())
        for (kind, result), count in Counter((outcome.kind, outcome.result) for outcome in outcomes).items():
            metrics.MESSAGES.labels(self.name, kind or "unknown", result).inc(count)

    def _store(self, batch: Sequence[Received]) -> list[Outcome]:
        """Store a batch whatever it takes; empty only where the worker stops while the database is away."""
        pause_s = 0.1
        while True:
            self._attempted_s = time.monotonic()
            conn = self._connection()
            if conn is None:
                return []
            try:
                return self._attempt(conn, batch)
            except DatabaseError as error:
                log.warning("database_unavailable", lane=self.name, error=brief(error))
                metrics.DATABASE_RETRIES.labels(self.name).inc()
                conn.close()
            if self._stopping.wait(pause_s):
                return []
            pause_s = min(pause_s * 2, BACKOFF_MAX_S)

    def _attempt(self, conn: Connection, batch: Sequence[Received]) -> list[Outcome]:
        """Store a batch; halve it where one of its messages is refused, down to that one.

        Raises DatabaseError where the database as a whole is the trouble, so that the batch can be tried again.
        """
        self._attempted_s = began = time.monotonic()
        try:
            now = datetime.now(UTC)
            outcomes = store(
                conn, batch, known_vins=self._known_vins, engines=self._engines, recent=self._recent, now=now
            )
        except Exception as error:
            self._known_vins.clear()  # a vehicle may have been erased meanwhile
            self._engines.clear()
            self._recent.clear()
            if isinstance(error, DatabaseError) and not isinstance(error, Refused):
                raise
            if len(batch) == 1:
                return [self._store_refused(conn, batch[0], error)]
            half = len(batch) // 2
            return self._attempt(conn, batch[:half]) + self._attempt(conn, batch[half:])
        metrics.BATCH_SIZE.labels(self.name).observe(len(batch))
        metrics.BATCH_SECONDS.labels(self.name).observe(time.monotonic() - began)
        return outcomes

    def _store_refused(self, conn: Connection, received: Received, error: Exception) -> Outcome:
        metrics.REFUSED.labels(self.name).inc()
        # An error of ours gets its trace; PostgreSQL's text may quote the row, and stays in the quarantine table.
        trace = None if isinstance(error, Refused) else error
        log.error("message_refused", lane=self.name, error=type(error).__name__, exc_info=trace)
        return store_refused(conn, received, error, now=datetime.now(UTC))

    def _connection(self) -> Connection | None:
        pause_s = 0.1
        while self._conn is None or self._conn.closed:
            try:
                self._conn = connect(
                    self._settings.database_url,
                    name=f"ingest-{self.name}",
                    autocommit=True,
                    answer_within_s=PROMPT_WITHIN_S,
                )
            except DatabaseError as error:
                log.warning("database_unreachable", lane=self.name, error=brief(error))
                self._attempted_s = time.monotonic()
                if self._stopping.wait(pause_s):
                    return None
                pause_s = min(pause_s * 2, BACKOFF_MAX_S)
        return self._conn


def _read_ahead(received: Received) -> Step | None:
    """Decode in the session's thread, while the lane's waits for the database."""
    try:
        return decode(received)
    except Exception:  # noqa: BLE001 - the lane meets it again, and keeps a message that cannot be decoded
        return None
