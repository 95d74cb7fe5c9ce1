"""The worker: both lanes, the downlink, its heartbeat, and the replays that operators ask for."""

import os
import socket
from datetime import UTC, datetime
from threading import Event

import structlog

from db import processes
from db.errors import DatabaseError
from db.pool import Connection, connect
from db.processes import Process
from ingest import metrics
from ingest.downlink import DownlinkSender
from ingest.lane import Lane
from ingest.replay import replay
from ingest.settings import WorkerSettings
from schemas.topics import BULK, URGENT

log = structlog.get_logger()

TICK_S = 1.0
BEAT_EVERY_TICKS = 2


def run(settings: WorkerSettings, stopping: Event) -> None:
    """Work until `stopping` is set: then finish the batches in hand, acknowledge them, and return.

    Raises RuntimeError where a part ended by itself: the process must end, so that it is started again.
    """
    lanes = [Lane(settings, name="urgent", kinds=URGENT), Lane(settings, name="bulk", kinds=BULK)]
    downlink = DownlinkSender(settings)
    started_at = datetime.now(UTC)
    parts: list[Lane | DownlinkSender] = [*lanes, downlink]
    for part in parts:
        part.start()
    try:
        _keep_house(settings, lanes, downlink, stopping, started_at)
    finally:
        for part in parts:
            part.stop()
    log.info("worker_stopped", stored={lane.name: lane.stored for lane in lanes})


def _keep_house(
    settings: WorkerSettings, lanes: list[Lane], downlink: DownlinkSender, stopping: Event, started_at: datetime
) -> None:
    conn: Connection | None = None
    ticks = 0
    while not stopping.wait(TICK_S if ticks else 0.2):
        if downlink.failed or any(lane.failed for lane in lanes):
            raise RuntimeError("a part of the worker ended by itself; see the log")
        _measure(lanes)
        try:
            if conn is None or conn.closed:
                conn = connect(settings.database_url, name="ingest-house", autocommit=True)
            if ticks % BEAT_EVERY_TICKS == 0:
                processes.beat(conn, _heartbeat(lanes, started_at))
                lanes[0].probe()  # the next beat tells what it took
            replayed = replay(conn, now=datetime.now(UTC))
            if replayed:
                log.info("replayed", results=[outcome.result for outcome in replayed])
        except DatabaseError as error:
            log.warning("housekeeping_failed", error=str(error).splitlines()[0])
            if conn is not None:
                conn.close()
        # Beat at once when readiness is new: whoever waits for this worker sees it without delay.
        ticks = ticks + 1 if all(lane.ready for lane in lanes) else 0


def _measure(lanes: list[Lane]) -> None:
    for lane in lanes:
        metrics.WAITING.labels(lane.name).set(lane.waiting)
        metrics.PAUSED.labels(lane.name).set(lane.paused)
        metrics.LAG.labels(lane.name).set(lane.lag_s(datetime.now(UTC)))
        metrics.READY.labels(lane.name).set(lane.ready)
    metrics.RECEIPTS.labels("sent").set(sum(lane.publications.sent for lane in lanes))
    metrics.RECEIPTS.labels("confirmed").set(sum(lane.publications.confirmed for lane in lanes))


def _heartbeat(lanes: list[Lane], started_at: datetime) -> Process:
    now = datetime.now(UTC)
    totals = {
        "lag_s": round(max(lane.lag_s(now) for lane in lanes), 3),
        "receipts_sent": sum(lane.publications.sent for lane in lanes),
        "receipts_confirmed": sum(lane.publications.confirmed for lane in lanes),
        "broker_round_trip_s": lanes[0].publications.round_trip_s,
    }
    return Process(
        name=f"ingest@{socket.gethostname()}:{os.getpid()}",
        started_at=started_at,
        beat_at=now,
        ready=all(lane.ready for lane in lanes),
        figures={
            f"{lane.name}_{name}": value
            for lane in lanes
            for name, value in (("stored", lane.stored), ("waiting", lane.waiting), ("ready", lane.ready))
        }
        | totals,
    )
