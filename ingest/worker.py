"""The worker: it stands by or holds the lease; then its lanes run, and beside the urgent one the downlink."""

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
    """What the worker that holds the lease runs: its lanes.

    What there is once is beside the urgent one: the downlink, the proof of the access list, replays.
    """

    def __init__(self, settings: WorkerSettings, lanes: Sequence[LaneName]) -> None:
        self.has_urgent = LaneName.URGENT in lanes
        self.lanes = [Lane(settings, name=name) for name in lanes]
        self._parts: list[Lane | DownlinkSender] = [*self.lanes]
        if self.has_urgent:
            self._parts.append(DownlinkSender(settings))
        self._settings = settings
        self._stopping = Event()
        self.unproven: str | None = "the access list has not been tried yet" if self.has_urgent else None
        """Why it is not proven that the broker keeps vehicles apart; None once it is, and without the urgent lane."""
        self._proof = Thread(target=self._prove, name="acl-proof")
        for part in self._parts:
            part.start()
        if self.has_urgent:
            self._proof.start()

    def hindrances(self) -> list[str]:
        """Return why messages don't arrive, can't be stored or may come from anybody; empty while all is well."""
        found = [f"{lane.name}: {reason}" for lane in self.lanes for reason in lane.hindrances()]
        return [*found, *([f"access list: {self.unproven}"] if self.unproven is not None else [])]

    def check(self) -> None:
        """Raise RuntimeError where a part ended by itself or does not move."""
        if any(part.failed for part in self._parts):
            raise RuntimeError("a part of the worker ended by itself; see the log")
        stuck = [lane.name for lane in self.lanes if lane.is_stuck()]
        if stuck:
            log.error("lane_does_not_move", lanes=stuck)  # the error itself is not told where the process cannot stop
            raise RuntimeError("a lane does not move")

    def stop(self) -> None:
        """Finish the batches in hand, acknowledge them, and leave the sessions to whoever comes next.

        Where a thread hangs the process ends here, as if it were killed: what was not acknowledged comes again.
        """
        last_resort = Timer(STOPS_WITHIN_S, _end_at_once)
        last_resort.daemon = True
        last_resort.start()
        self._stopping.set()
        for part in self._parts:
            part.stop()
        if self.has_urgent:
            self._proof.join()
        last_resort.cancel()
        log.info("worker_stopped", stored={lane.name: lane.stored for lane in self.lanes})

    def _prove(self) -> None:
        # Again with each new session: the broker may have come back with another list.
        while not self._stopping.wait(0.2):
            if not all(lane.connected for lane in self.lanes):
                self.unproven = self.unproven or "the broker session was lost since the access list was tried"
            elif self.unproven is not None:
                self.unproven = prove(self._settings)
                if self.unproven is not None:
                    log.error("acl_not_proven", reason=self.unproven)
                    self._stopping.wait(PROVE_AGAIN_S)


def _end_at_once() -> None:
    log.error("worker_does_not_stop", waited_s=STOPS_WITHIN_S)
    os._exit(1)


def run(settings: WorkerSettings, lanes: Sequence[LaneName], stopping: Event, readiness: Readiness) -> None:
    """Serve these lanes until `stopping` is set, or stand by while another does; with a group, beside the others in it.

    Raises RuntimeError where a part ended by itself: the process must end, so that it is started again. Raises
    NotShared where there is a group on a broker that was not seen to keep its messages.
    """
    if settings.ingest_group is not None:
        with connect(settings.database_url, name="ingest-house") as conn:
            require_check(conn, settings.broker)
    lease = Lease(settings.database_url, lanes)
    house = House(settings, lanes)
    tenure: Tenure | None = None
    try:
        while True:
            held = settings.ingest_group is not None or lease.check()
            if held and tenure is None:
                log.info("lease_taken")
                tenure = Tenure(settings, lanes)
            elif held is False and tenure is not None:  # while the database is away it is nobody else's either
                log.warning("lease_lost")
                tenure.stop()
                tenure = None
            if tenure is not None:
                tenure.check()
            readiness.tell(house.keep(tenure))
            if stopping.wait(SHORT_TICK_S if tenure is None or tenure.hindrances() else TICK_S):
                return
    finally:
        if tenure is not None:
            tenure.stop()
        lease.give_up()


class House:
    """The worker's heartbeat and metrics, and the replays that operators ask for."""

    def __init__(self, settings: WorkerSettings, lanes: Sequence[LaneName]) -> None:
        self._url = settings.database_url
        self._lanes = lanes
        self._name = processes.worker_name(lanes, f"{socket.gethostname()}:{os.getpid()}")
        self._conn: Connection | None = None
        self._started_at = datetime.now(UTC)
        self._beat_s = 0.0
        self._was_ready = False

    def keep(self, tenure: Tenure | None) -> list[str]:
        """Measure, and once in a while report; a database that is away is reported to later.

        Returns why the worker is not ready.
        """
        lanes = tenure.lanes if tenure is not None else []
        for name in self._lanes:
            metrics.LEADING.labels(name).set(tenure is not None)
        _measure(lanes)
        hindrances = tenure.hindrances() if tenure is not None else ["stands by: another worker has the lease"]
        is_ready = not hindrances
        try:
            if self._conn is None or self._conn.closed:
                self._conn = connect(self._url, name="ingest-house", autocommit=True, answer_within_s=PROMPT_WITHIN_S)
            # At once when readiness is new: whoever waits for this worker sees it without delay.
            if is_ready is not self._was_ready or time.monotonic() - self._beat_s >= BEAT_EVERY_S:
                processes.beat(self._conn, _heartbeat(self._name, lanes, self._started_at, hindrances))
                self._was_ready, self._beat_s = is_ready, time.monotonic()
                if lanes:
                    lanes[0].probe()  # the next beat tells what it took
            replays = tenure is not None and tenure.has_urgent
            replayed = replay(self._conn, now=datetime.now(UTC)) if replays else []
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
        metrics.READY.labels(lane.name).set(lane.ready)
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
            "broker_round_trip_s": lanes[0].publications.round_trip_s,
        }
    return Process(name=name, started_at=started_at, beat_at=now, ready=not hindrances, figures=figures)
