"""Which vehicles of a batch are to be judged for their curfew, and over what time."""

from collections.abc import Iterable
from datetime import datetime

import structlog

from db import curfew
from db.curfew import Watched
from db.errors import DatabaseError, Refused
from db.pool import Connection
from ingest import metrics
from rules.apply.curfew import judge
from schemas.vehicle import EngineEvent, EngineMessage, EngineStatus, StatusMessage, Uplinked

log = structlog.get_logger()

Sight = tuple[str, datetime, bool | None]
"""(VIN, when, whether the engine ran); None for a press, which ends a violation whatever the engine does."""


def running(message: Uplinked) -> bool | None:
    """Return whether the message shows the engine running; None where it does not tell."""
    match message:
        case EngineMessage(event=event):
            return event is EngineEvent.START
        case StatusMessage(engine_status=EngineStatus.ON | EngineStatus.CRANKING):
            return True
        case StatusMessage(engine_status=EngineStatus.OFF):
            return False
        case StatusMessage(speed_kph=speed) if speed is not None and speed > 0:
            return True
        case _:
            return None


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
            _judge(conn, watch.vin, since=min(times), until=max(times), now=now)
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
