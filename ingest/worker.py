"""The worker: each of its lanes stands by, or holds the lease and runs; beside the urgent one runs the downlink."""

import os
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event, Thread, Timer

import structlog

from db import processes
from db.errors import DatabaseError
from db.pool import PROMPT_WITHIN_S, Connection, connect
from db.processes import Process
from ingest import metrics
from ingest.acl_proof import prove
from ingest.downlink import DownlinkSender
from ingest.lane import Lane
from ingest.lease import Lease
from ingest.probes import Readiness
from ingest.replay import replay
from ingest.settings import WorkerSettings
from ingest.sharing import require_check
from rules.logs import brief
from schemas.topics import LaneName

log = structlog.get_logger()

TICK_S = 1.0
SHORT_TICK_S = 0.2
BEAT_EVERY_S = 2.0
PROVE_AGAIN_S = 2.0
STOPS_WITHIN_S = 60.0
"""A batch in hand is stored or given up well before; what takes longer hangs, and would never end."""


class Tenure:
    """What the worker that holds a lane's lease runs: the lane.

    What there is once runs beside the urgent one: the downlink and the proof of the access list.
    """

    def __init__(self, settings: WorkerSettings, lane: LaneName) -> None:
        self.lane = Lane(settings, name=lane)
        self._parts: list[Lane | DownlinkSender] = [self.lane]
        self._settings = settings
        self._stopping = Event()
        self.unproven: str | None = None
        """Why it is not proven that the broker keeps vehicles apart; None once it is, or where it is not ours to do."""
        self._proof: Thread | None = None
        if lane is LaneName.URGENT:
            self._parts.append(DownlinkSender(settings))
            self.unproven = "the access list has not been tried yet"
            self._proof = Thread(target=self._prove, name="acl-proof")
            self._proof.start()
        for part in self._parts:
            part.start()

    def hindrances(self) -> list[str]:
        """Return why messages don't arrive, can't be stored or may come from anybody; empty while all is well."""
        found = [f"{self.lane.name}: {reason}" for reason in self.lane.hindrances()]
        return [*found, *([f"access list: {self.unproven}"] if self.unproven is not None else [])]

    def check(self) -> None:
        """Raise RuntimeError where a part ended by itself or does not move."""
        if any(part.failed for part in self._parts):
            raise RuntimeError("a part of the worker ended by itself; see the log")
        if self.lane.is_stuck():
            # The error itself is not told where the process cannot stop.
            log.error("lane_does_not_move", lane=self.lane.name)
            raise RuntimeError("a lane does not move")

    def stop(self) -> None:
        """Finish the batch in hand, acknowledge it, and leave the session to whoever comes next.

        Where a thread hangs the process ends here, as if it were killed: what was not acknowledged comes again.
        """
        last_resort = Timer(STOPS_WITHIN_S, _end_at_once)
        last_resort.daemon = True
        last_resort.start()
        self._stopping.set()
        for part in self._parts:
            part.stop()
        if self._proof is not None:
            self._proof.join()
        last_resort.cancel()
        log.info("lane_stopped", lane=self.lane.name, stored=self.lane.stored)

    def _prove(self) -> None:
        # Again with each new session: the broker may have come back with another list.
        while not self._stopping.wait(0.2):
            if not self.lane.connected:
                self.unproven = self.unproven or "the broker session was lost since the access list was tried"
            elif self.unproven is not None:
                self.unproven = prove(self._settings)
                if self.unproven is not None:
                    log.error("acl_not_proven", reason=self.unproven)
                    self._stopping.wait(PROVE_AGAIN_S)


def _end_at_once() -> None:
    log.error("worker_does_not_stop", waited_s=STOPS_WITHIN_S)
    os._exit(1)


class Post:
    """A lane's place in this worker: it stands by, or holds the lease and works. With a group nobody stands by."""

    def __init__(self, settings: WorkerSettings, lane: LaneName) -> None:
        self.lane = lane
        self.tenure: Tenure | None = None
        self._settings = settings
        self._lease = None if settings.ingest_group is not None else Lease(settings.database_url, lane)

    def check(self) -> None:
        """Take the lease or note its loss. Raises RuntimeError where a part of the lane ended or does not move."""
        held = self._lease is None or self._lease.check()
        if held and self.tenure is None:
            log.info("lease_taken", lane=self.lane)
            self.tenure = Tenure(self._settings, self.lane)
        elif held is False and self.tenure is not None:  # while the database is away it is nobody else's either
            log.warning("lease_lost", lane=self.lane)
            self.tenure.stop()
            self.tenure = None
        if self.tenure is not None:
            self.tenure.check()

    def hindrances(self) -> list[str]:
        """Return why this worker does not serve the lane; empty while it does."""
        return [f"{self.lane}: stands by: another has the lease"] if self.tenure is None else self.tenure.hindrances()

    def leave(self) -> None:
        """Stop, and let another have the lease."""
        if self.tenure is not None:
            self.tenure.stop()
        if self._lease is not None:
            self._lease.give_up()


def run(settings: WorkerSettings, lanes: Sequence[LaneName], stopping: Event, readiness: Readiness) -> None:
    """Serve these lanes until `stopping` is set, each by itself, or stand by for one while another worker serves it.

    Raises RuntimeError where a part ended by itself: the process must end, so that it is started again. Raises
    NotShared where there is a group on a broker that was not seen to keep its messages.
    """
    if settings.ingest_group is not None:
        with connect(settings.database_url, name="ingest-house") as conn:
            require_check(conn, settings.broker)
    house = House(settings, lanes)
    posts = [Post(settings, lane) for lane in lanes]
    try:
        while True:
            for post in posts:
                post.check()
            readiness.tell(house.keep(posts))
            if stopping.wait(SHORT_TICK_S if any(post.hindrances() for post in posts) else TICK_S):
                return
    finally:
        for post in posts:
            post.leave()


class House:
    """The worker's heartbeat and metrics, and the replays that operators ask for."""

    def __init__(self, settings: WorkerSettings, lanes: Sequence[LaneName]) -> None:
        self._url = settings.database_url
        self._name = processes.worker_name(lanes, f"{socket.gethostname()}:{os.getpid()}")
        self._conn: Connection | None = None
        self._started_at = datetime.now(UTC)
        self._beat_s = 0.0
        self._was_ready = False

    def keep(self, posts: Sequence[Post]) -> list[str]:
        """Measure, and once in a while report; a database that is away is reported to later.

        Returns why the worker is not ready.
        """
        lanes = {post.lane: post.tenure.lane for post in posts if post.tenure is not None}
        urgent = lanes.get(LaneName.URGENT)
        for post in posts:
            metrics.LEADING.labels(post.lane).set(post.lane in lanes)
            if post.lane not in lanes:
                metrics.forget(post.lane)
        _measure(list(lanes.values()))
        hindrances = [reason for post in posts for reason in post.hindrances()]
        is_ready = not hindrances
        try:
            if self._conn is None or self._conn.closed:
                self._conn = connect(self._url, name="ingest-house", autocommit=True, answer_within_s=PROMPT_WITHIN_S)
            # At once when readiness is new: whoever waits for this worker sees it without delay.
            if is_ready is not self._was_ready or time.monotonic() - self._beat_s >= BEAT_EVERY_S:
                processes.beat(self._conn, _heartbeat(self._name, list(lanes.values()), self._started_at, hindrances))
                self._was_ready, self._beat_s = is_ready, time.monotonic()
                if urgent is not None:  # a backlog of status would be in the way of the answer
                    urgent.probe()  # the next beat tells what it took
            replayed = replay(self._conn, now=datetime.now(UTC)) if urgent is not None else []
            if replayed:
                log.info("replayed", results=[outcome.result for outcome in replayed])
        except DatabaseError as error:
            log.warning("housekeeping_failed", error=brief(error))
            if self._conn is not None:
                self._conn.close()
            hindrances.append("the database does not answer")
        return hindrances


def _measure(lanes: list[Lane]) -> None:
    for lane in lanes:
        metrics.WAITING.labels(lane.name).set(lane.waiting)
        metrics.PAUSED.labels(lane.name).set(lane.paused)
        metrics.LAG.labels(lane.name).set(lane.lag_s(datetime.now(UTC)))
        metrics.CONNECTED.labels(lane.name).set(lane.connected)
    metrics.RECEIPTS.labels("sent").set(sum(lane.publications.sent for lane in lanes))
    metrics.RECEIPTS.labels("confirmed").set(sum(lane.publications.confirmed for lane in lanes))


def _heartbeat(name: str, lanes: list[Lane], started_at: datetime, hindrances: list[str]) -> Process:
    now = datetime.now(UTC)
    figures: dict[str, object] = {"standing_by": not lanes}
    if lanes:
        if hindrances:
            figures["not_ready"] = "; ".join(hindrances)
        figures |= {
            f"{lane.name}_{what}": value
            for lane in lanes
            for what, value in (("stored", lane.stored), ("waiting", lane.waiting), ("ready", lane.ready))
        }
        figures |= {
            "lag_s": round(max(lane.lag_s(now) for lane in lanes), 3),
            "receipts_sent": sum(lane.publications.sent for lane in lanes),
            "receipts_confirmed": sum(lane.publications.confirmed for lane in lanes),
        }
        trips_s = [lane.publications.round_trip_s for lane in lanes if lane.name is LaneName.URGENT]
        if trips_s:
            figures["broker_round_trip_s"] = trips_s[0]
    return Process(name=name, started_at=started_at, beat_at=now, ready=not hindrances, figures=figures)
