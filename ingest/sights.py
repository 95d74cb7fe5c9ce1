"""Which vehicles of a batch are to be judged for their curfew, and over what time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from db import curfew
from db.curfew import StatusSeen, Watched
from db.errors import DatabaseError, Refused
from db.pool import Connection
from db.telemetry import StatusRow
from ingest import metrics
from rules.apply.curfew import judge
from rules.clock import LATE_AFTER
from schemas.vehicle import EngineStatus

log = structlog.get_logger()

Sight = tuple[str, datetime, bool | None]
"""(VIN, when, whether the engine ran); None for a press, which ends a violation whatever the engine does."""


_ASKED_AGAIN_AFTER = timedelta(seconds=5)
"""Well below the time after which an engine event is judged once more (rules/apply/curfew.py)."""

_WITHOUT_A_GAP = timedelta(seconds=15)
"""Between two sights of an engine that goes on; with more between them, it may have been driven there."""

_RUNS: dict[str, bool] = {EngineStatus.ON: True, EngineStatus.CRANKING: True, EngineStatus.OFF: False}


def running(status: StatusRow) -> bool | None:
    """Return whether a status shows the engine running; None where it does not tell."""
    runs = _RUNS.get(status.engine_status or "")
    return True if runs is None and status.speed_kph else runs


@dataclass(slots=True)
class EngineSeen:
    """How a vehicle's last status showed its engine, and until when going on like that is no news to anybody."""

    runs: bool
    at: datetime
    until: datetime


def note_status(conn: Connection, rows: Iterable[StatusRow], engines: dict[str, EngineSeen], *, now: datetime) -> None:
    """Note for the curfew what status messages showed, in the caller's transaction.

    They are judged by a job, at most a second later: so a backlog of status waits for no judgement, and a vehicle that
    changed often within it is judged once. Of a vehicle that goes on as `engines` remembers it the database is asked
    at most every few seconds: what it learnt meanwhile from an engine event is judged once more later than that.
    """
    seen: dict[str, StatusSeen] = {}
    for row in rows:
        runs = running(row)
        if runs is None:
            continue
        vin, at = row.vin, row.occurred_at
        known = engines.get(vin)
        goes_on = known is not None and known.runs is runs and known.at < at <= known.at + _WITHOUT_A_GAP
        if known is not None and goes_on and now < known.until:
            known.at = at
            continue
        one = seen.get(vin)
        if one is None:
            seen[vin] = StatusSeen(vin, at, at, runs, runs)
            continue
        if one.runs is not runs:
            one.runs = None
        one.first_at = min(one.first_at, at)
        if at > one.last_at or (at == one.last_at and not runs):  # of two at once, standing counts
            one.last_at, one.last_runs = at, runs
    if seen:
        curfew.note_seen(conn, list(seen.values()), now=now)
    for one in seen.values():
        known = engines.get(one.vin)
        if known is None or known.at <= one.last_at:  # what comes late is not how the engine goes on
            engines[one.vin] = EngineSeen(one.last_runs, one.last_at, now + _ASKED_AGAIN_AFTER)


def judge_curfews(conn: Connection, sights: Iterable[Sight], *, now: datetime) -> None:
    """Judge the vehicles whose engine was seen to change, in the caller's transaction.

    A vehicle that goes on as it was last seen needs no judgement for it: what the clock alone changes is a job's work.
    But one that stands and waits for a start block does, for a block needs a fresh status.
    Nor does one whose engine changes while nothing is restricted; that is only noted. A judgement that fails undoes
    nothing but itself: what the vehicles said is stored all the same.
    """
    by_vin: dict[str, list[tuple[datetime, bool | None]]] = {}
    for vin, at, runs in sights:
        by_vin.setdefault(vin, []).append((at, runs))
    if not by_vin:
        return
    unjudged: list[tuple[str, bool, datetime]] = []
    for watch in curfew.news(conn, [_summary(vin, seen) for vin, seen in by_vin.items()], now=now):
        seen = by_vin[watch.vin]
        last_at, last_runs = max(seen, key=lambda sight: (sight[0], not sight[1]))  # of two at once, standing counts
        if last_runs is not None and all(_is_quiet(watch, at, runs=runs) for at, runs in seen):
            unjudged.append((watch.vin, last_runs, last_at))
        else:
            times = [at for at, _ in seen]
            # A press ends what was driven from then on, however much of that another lane has stored already. Of one
            # that comes late that may be a week: a job reads it, for whoever presses meanwhile waits for this lane.
            pressed = any(runs is None for _, runs in seen)
            if pressed and now - min(times) > LATE_AFTER:
                curfew.leave_to_job(conn, watch.vin, since=min(times), until=max(*times, now), now=now)
            else:
                _judge(conn, watch.vin, since=min(times), until=max(*times, now) if pressed else max(times), now=now)
    if unjudged:
        curfew.set_seen(conn, unjudged)


def _summary(vin: str, seen: list[tuple[datetime, bool | None]]) -> tuple[str, datetime, bool | None]:
    runs = {runs for _, runs in seen}
    return vin, min(at for at, _ in seen), runs.pop() if len(runs) == 1 else None


def _is_quiet(watch: Watched, at: datetime, *, runs: bool | None) -> bool:
    if runs is None or watch.quiet_since is None or watch.quiet_until is None:
        return False
    in_order = watch.seen_at is None or at > watch.seen_at
    return in_order and watch.quiet_since <= at < watch.quiet_until


def _judge(conn: Connection, vin: str, *, since: datetime, until: datetime, now: datetime) -> None:
    try:
        with conn.transaction():
            judge(conn, vin, since=since, until=until, now=now)
    except Exception as error:  # the rules' savepoint: a defect in a rule must not keep a message from being stored
        if isinstance(error, DatabaseError) and not isinstance(error, Refused):
            raise
        metrics.JUDGEMENTS_FAILED.inc()
        log.exception("judgement_failed")
