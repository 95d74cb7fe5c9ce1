"""How the system is, derived from what was measured a moment ago."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.answers.words import milliseconds, sos_duration, whole_seconds
from db.processes import STALE_AFTER, WORKER, Process
from db.sos import CenterLoad, Pace
from db.webhooks import DeliveryLoad
from schemas import health as wire
from schemas.health import Health, PartHealth
from schemas.topics import LaneName

_GOOD_RATE = 0.99
_LONG_LAG_S = 5
_NOTHING_ATTACHED = "nothing is attached that could be measured"


@dataclass(frozen=True, slots=True)
class Measured:
    """What was just read; durations in seconds."""

    database_s: float
    connections: int
    processes: Sequence[Process]
    load: CenterLoad
    pace: Pace
    active_calls: int
    webhooks: DeliveryLoad
    rsa_dispatches: int
    available_agents: int
    api_latency_s: float | None
    api_uptime_s: float
    api_ready: bool


def health_response(measured: Measured, *, now: datetime) -> wire.SystemHealthResponse:
    """Return the SOS guide's System Health Status Response."""
    lanes = {lane: _of([p for p in measured.processes if lane in p.lanes], now=now) for lane in LaneName}
    ingest = _workers(lanes, measured.processes, now=now)
    rules = _of([p for p in measured.processes if p.kind == "rules"], now=now)
    api = PartHealth.OPERATIONAL if measured.api_ready else PartHealth.DEGRADED
    load = measured.load
    figures = _figures("ingest", measured.processes, now=now)
    return wire.SystemHealthResponse(
        status=_overall(ingest.status, rules.status, api),
        timestamp=now,
        systems=wire.Systems(
            api=wire.ApiHealth(
                status=api,
                response_time=milliseconds(measured.api_latency_s),
                response_time_seconds=_rounded(measured.api_latency_s),
                uptime=None,  # a share of time up can't be measured from inside the process
                uptime_seconds=int(measured.api_uptime_s),
            ),
            database=wire.DatabaseHealth(
                status=PartHealth.OPERATIONAL,
                response_time=f"{round(measured.database_s * 1000)}ms",
                response_time_seconds=round(measured.database_s, 6),
                connections=measured.connections,
            ),
            broker=_broker(figures),
            ingest=wire.WorkerHealth(
                **ingest.model_dump(),
                lag_seconds=max(_named(figures, "lag_s"), default=None),
                waiting=_waiting(figures),
            ),
            rules=rules,
            voice_system=wire.VoiceHealth(
                status=PartHealth.UNKNOWN,
                reason=_NOTHING_ATTACHED,
                active_calls=measured.active_calls,
                queue_length=load.queued,
                average_wait_time=sos_duration(measured.pace.response_s),
                average_wait_seconds=whole_seconds(measured.pace.response_s),
            ),
            dispatch_system=wire.DispatchHealth(
                status=PartHealth.UNKNOWN,
                reason=_NOTHING_ATTACHED,
                active_dispatches=load.dispatched + measured.rsa_dispatches,
                average_response_time=None,
            ),
            notification_system=_notifications(measured, figures, now=now),
        ),
        metrics=wire.HealthMetrics(
            total_incidents_today=load.today,
            active_incidents=load.active,
            available_agents=measured.available_agents,
            system_load=f"{round(100 * os.getloadavg()[0] / (os.cpu_count() or 1))}%",
        ),
        alerts=tuple(_alerts(measured, _named_workers(lanes, ingest) | {"rules": rules}, now=now)),
    )


def _workers(
    lanes: dict[LaneName, wire.ProcessHealth], processes: Sequence[Process], *, now: datetime
) -> wire.ProcessHealth:
    """Return how the workers are: DOWN where nobody serves presses, whatever becomes of the rest."""
    states = {lane.status for lane in lanes.values()}
    status = PartHealth.DEGRADED
    if lanes[LaneName.URGENT].status is PartHealth.DOWN or states == {PartHealth.OPERATIONAL}:
        status = lanes[LaneName.URGENT].status
    return _of([p for p in processes if p.lanes], now=now).model_copy(update={"status": status})


def _named_workers(
    lanes: dict[LaneName, wire.ProcessHealth], workers: wire.ProcessHealth
) -> dict[str, wire.ProcessHealth]:
    """Return whom an alert names: the workers, or each lane's where one lane is worse off than another."""
    if len({lane.status for lane in lanes.values()}) == 1:
        return {WORKER: workers}
    return {f"{WORKER}-{name}": lane for name, lane in lanes.items()}


def _of(known: Sequence[Process], *, now: datetime) -> wire.ProcessHealth:
    """Return how these processes are, which do the same."""
    alive = [process for process in known if now - process.beat_at < STALE_AFTER]
    ready = [process for process in alive if process.ready]
    status = PartHealth.OPERATIONAL if ready else PartHealth.DEGRADED if alive else PartHealth.DOWN
    return wire.ProcessHealth(
        status=status,
        alive=len(alive),
        ready=len(ready),
        last_beat=max((process.beat_at for process in known), default=None),
    )


def _figures(kind: str, processes: Sequence[Process], *, now: datetime) -> list[dict[str, Any]]:
    """Return what the living processes of a kind measured."""
    return [p.figures for p in processes if p.kind == kind and now - p.beat_at < STALE_AFTER]


def _named(figures: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [one[name] for one in figures if one.get(name) is not None]


def _waiting(figures: Sequence[dict[str, Any]]) -> int | None:
    counts = [count for lane in LaneName for count in _named(figures, f"{lane}_waiting")]
    return int(sum(counts)) if counts else None


def _broker(figures: Sequence[dict[str, Any]]) -> wire.BrokerHealth:
    trips_s = _named(figures, "broker_round_trip_s")
    slowest_s = max(trips_s, default=None)
    lacking = [lane for lane in LaneName if figures and not any(one.get(f"{lane}_ready") for one in figures)]
    if LaneName.URGENT in lacking:
        status = PartHealth.DOWN
    elif lacking:
        status = PartHealth.DEGRADED
    else:
        status = PartHealth.OPERATIONAL if trips_s else PartHealth.UNKNOWN
    reason = None if trips_s else "no worker has measured it yet"
    if lacking:
        reason = "no worker has a session"
        if len(lacking) < len(LaneName):
            reason += f" for the {' and the '.join(lacking)} lane"
    return wire.BrokerHealth(
        status=status,
        reason=reason,
        response_time=milliseconds(slowest_s),
        response_time_seconds=_rounded(slowest_s),
    )


def _notifications(measured: Measured, figures: Sequence[dict[str, Any]], *, now: datetime) -> wire.NotificationHealth:
    webhooks = measured.webhooks
    sent, confirmed = (int(sum(_named(figures, f"receipts_{name}"))) for name in ("sent", "confirmed"))
    ended = sent + webhooks.delivered + webhooks.failed
    rate = (confirmed + webhooks.delivered) / ended if ended else None
    status = PartHealth.UNKNOWN
    if rate is not None:
        status = PartHealth.OPERATIONAL if rate >= _GOOD_RATE else PartHealth.DEGRADED
    return wire.NotificationHealth(
        status=status,
        reason="nothing has been sent yet" if rate is None else None,
        # Rounded down: 100 % is said only where nothing is missing.
        delivery_rate=None if rate is None else f"{math.floor(1000 * rate) / 10}%",
        pending_notifications=sent - confirmed + webhooks.pending,
        receipts_sent=sent,
        receipts_confirmed=confirmed,
        webhooks_delivered=webhooks.delivered,
        webhooks_failed=webhooks.failed,
        webhooks_pending=webhooks.pending,
        open_streams=int(sum(_named(_figures("api", measured.processes, now=now), "openStreams"))),
    )


def _overall(ingest: PartHealth, rules: PartHealth, api: PartHealth) -> Health:
    if PartHealth.DOWN in {ingest, rules}:  # no SOS can come in, or none can be seen to
        return Health.DOWN
    return Health.HEALTHY if {ingest, rules, api} == {PartHealth.OPERATIONAL} else Health.DEGRADED


def _alerts(measured: Measured, kinds: dict[str, wire.ProcessHealth], *, now: datetime) -> list[wire.Alert]:
    said: list[tuple[str, str]] = []
    for name, kind in kinds.items():
        if kind.status is PartHealth.DOWN:
            since = "never seen" if kind.last_beat is None else "silent"
            said.append(("CRITICAL", f"no {name} process is alive ({since})"))
        elif kind.status is PartHealth.DEGRADED:
            said.append(("WARNING", f"no {name} process is ready"))
    if not measured.api_ready:
        said.append(("WARNING", "this api process is not ready"))
    lag_s = max(_named(_figures("ingest", measured.processes, now=now), "lag_s"), default=0.0)
    if lag_s >= _LONG_LAG_S:
        said.append(("WARNING", f"the oldest message that is not stored has waited {round(lag_s)} s"))
    if measured.load.queued:
        noun = "incident waits" if measured.load.queued == 1 else "incidents wait"
        said.append(("WARNING", f"{measured.load.queued} {noun} for a counselor"))
    if not measured.available_agents:
        said.append(("INFO", "no counselor is available"))
    return [wire.Alert(level=level, message=message, timestamp=now) for level, message in said]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
