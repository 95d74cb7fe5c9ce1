"""The curfew: set, released, consented to, and judged."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from db import curfew
from db.curfew import CurfewException, Policy, StoredViolation, Watched
from db.pool import Connection
from rules import curfew as rule
from rules.apply import commands
from rules.apply import curfew_news as news
from rules.clock import AHEAD_MAX, JUDGED_BACK, LATE_AFTER, LATE_MAX
from rules.curfew import Circumstances, Observation, PolicyVersion, Rule, Violation, Window
from rules.errors import ConflictError, NotFoundError, StaleError, UnprocessableError
from rules.spans import Span
from schemas.curfew import CurfewAction, CurfewExceptionRequest, CurfewPolicyRequest, Day, ExceptionStatus, Severity

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
EXCEPTION_LONGEST = timedelta(days=7)
EXCEPTION_BACK = timedelta(hours=1)
CONSENT = "CURFEW"

_LOOKS_AHEAD = _LOOKS_BEHIND = timedelta(hours=25)
_SETTLES_AFTER = timedelta(seconds=30)
_LOOKS_BACK = timedelta(minutes=1)
_INSTANT = timedelta(microseconds=1)
_WEEKDAYS = {day.value: number for number, day in enumerate(Day)}


def set_policy(
    conn: Connection, vin: str, request: CurfewPolicyRequest, *, actor: str, if_match: int | None, now: datetime
) -> Policy:
    """Add a version of the vehicle's policy and return it.

    Raises StaleError where `if_match` names another version than the present one.
    """
    curfew.lock_watch(conn, vin)  # of two who set it at once, the second compares with what the first has set
    known = curfew.policies(conn, vin)
    if if_match is not None and (not known or known[-1].policy_id != if_match):
        raise StaleError("somebody else has set the policy since it was read: read it again")
    windows = [
        {"days": [day.value for day in days], "start": f"{start:%H:%M}", "end": f"{end:%H:%M}"}
        for days, start, end in request.windows()
    ]
    curfew.add_policy(
        conn,
        vin=vin,
        valid_from=now,
        set_by=actor,
        enabled=request.enabled,
        timezone=request.timezone,
        windows=windows,
        actions=request.actions,
    )
    judge(conn, vin, since=now, until=now, now=now)
    return curfew.policies(conn, vin)[-1]


def grant_exception(
    conn: Connection, vin: str, request: CurfewExceptionRequest, *, actor: str, now: datetime
) -> CurfewException:
    """Release the vehicle for a while; the same request again answers the same.

    One that has ended already is kept as expired and changes nothing. Raises UnprocessableError for one that is too
    long or begins more than an hour ago, ConflictError for one that overlaps another.
    """
    if request.end_time - request.start_time > EXCEPTION_LONGEST:
        raise UnprocessableError("expected at most 7 days from startTime to endTime", field="endTime")
    if request.start_time < now - EXCEPTION_BACK and request.end_time > now:
        raise UnprocessableError("expected a startTime at most one hour ago", field="startTime")
    curfew.lock_watch(conn, vin)  # before the vehicle's row, which what refers to it locks: as who erases it does
    for other in curfew.exceptions(conn, vin):
        if (
            other.cancelled_at is not None
            or other.start_time >= request.end_time
            or request.start_time >= other.end_time
        ):
            continue
        if (other.start_time, other.end_time, other.reason) == (request.start_time, request.end_time, request.reason):
            return other
        raise ConflictError(f"{news.exception_id(other)} covers some of this time already")
    granted = curfew.add_exception(
        conn,
        vin=vin,
        reason=request.reason,
        start_time=request.start_time,
        end_time=request.end_time,
        created_at=now,
        created_by=actor,
    )
    announce_exceptions(conn, [granted], now=now)
    judge(conn, vin, since=min(released(granted)[0], now), until=now, now=now)
    return granted


def cancel_exception(conn: Connection, vin: str, number: int, *, now: datetime) -> CurfewException:
    """End an exception early. Raises NotFoundError where there is none that could be ended."""
    cancelled = curfew.cancel_exception(conn, vin, number, at=now)
    if cancelled is None:
        raise NotFoundError(f"this vehicle has no exception {number} that could be cancelled")
    news.tell_exception(conn, cancelled, ExceptionStatus.CANCELLED, at=now)
    judge(conn, vin, since=now, until=now, now=now)
    return cancelled


def record_consent(conn: Connection, vin: str, *, granted: bool, actor: str, at: datetime, now: datetime) -> None:
    """Note that the driver grants or withdraws consent; judged from that instant on."""
    curfew.lock_watch(conn, vin)  # before the vehicle's row, as above
    curfew.add_consent(conn, vin=vin, purpose=CONSENT, granted=granted, effective_at=at, recorded_by=actor)
    # What was consented to long ago can be noted late; nothing older is judged anew.
    judge(conn, vin, since=max(at, now - LATE_MAX), until=now, now=now)


def circumstances(conn: Connection, vin: str, policies: Sequence[Policy]) -> Circumstances:
    """Return everything that decides whether this vehicle's driving is restricted."""
    return Circumstances(
        tuple(PolicyVersion(p.valid_from, as_rule(p) if p.enabled else None) for p in policies),
        tuple(_consented(curfew.consents(conn, vin, CONSENT))),
        tuple(released(e) for e in curfew.exceptions(conn, vin)),
        tuple(curfew.emergencies(conn, vin)),
    )


def as_rule(policy: Policy) -> Rule:
    """Return the policy's windows on the wall clock of its zone."""
    windows = tuple(
        Window(
            frozenset(_WEEKDAYS[day] for day in window["days"]),
            time.fromisoformat(window["start"]),
            time.fromisoformat(window["end"]),
        )
        for window in policy.windows
    )
    return Rule(ZoneInfo(policy.timezone), windows)


def released(exception: CurfewException) -> tuple[datetime, datetime]:
    """Return when the exception releases: from at most an hour before it was granted, until it ends or is cancelled."""
    start = max(exception.start_time, exception.created_at - EXCEPTION_BACK)
    return start, max(start, min(exception.end_time, exception.cancelled_at or FOREVER))


def status_of(exception: CurfewException, now: datetime) -> ExceptionStatus:
    """Return where the exception stands."""
    if exception.cancelled_at is not None:
        return ExceptionStatus.CANCELLED
    if now < exception.start_time:
        return ExceptionStatus.SCHEDULED
    return ExceptionStatus.ACTIVE if now < exception.end_time else ExceptionStatus.EXPIRED


def announce_exceptions(conn: Connection, begun_or_ended: Iterable[CurfewException], *, now: datetime) -> None:
    """Write an event for each exception whose status no event has told yet, and judge its vehicle."""
    for exception in sorted(begun_or_ended, key=lambda one: one.vin):  # as all who lock several vehicles do
        status = status_of(exception, now)
        if status.value != exception.announced:
            curfew.set_announced(conn, exception.exception_number, status)
            news.tell_exception(conn, exception, status, at=now)
            judge(conn, exception.vin, since=now, until=now, now=now)


def judge(conn: Connection, vin: str, *, since: datetime, until: datetime, now: datetime) -> None:
    """Judge again what the engine did around [since, until], and save and announce what that changes.

    From the last sight of it standing before, to the first after: nothing outside can change. A vehicle that never had
    a policy is left alone; what status messages left to be judged is judged along. The vehicle is judged once more soon
    after: another lane may be storing a message at this moment that this judgement does not see.
    """
    watch = curfew.lock_watch(conn, vin)
    if watch is not None:
        _judge(conn, watch, since=since, until=until, now=now, settled=False)


def judge_due(conn: Connection, vin: str, *, now: datetime) -> None:
    """Judge a vehicle that status messages showed to change, or for which the clock alone changes something.

    One that somebody else has judged since it was found due is left alone.
    """
    watch = curfew.lock_watch(conn, vin)
    if watch is None or watch.next_at is None or watch.next_at > now:
        return
    since, until = watch.unjudged_since, watch.unjudged_until
    if since is None or until is None:
        since = until = now
        if watch.next_at <= watch.judged_at + _SETTLES_AFTER:
            # All that came since the last sight that was judged: another lane may have stored it meanwhile, or have
            # taken it for no news; the vehicle's clock may be up to a minute ahead, or behind.
            since = max(min(watch.seen_at or now, now - _LOOKS_BACK), now - LATE_MAX)
            latest = max(now, watch.seen_at or now) + AHEAD_MAX
            until = curfew.newest_sight(conn, vin, after=now, latest=latest) or now
    _judge(conn, watch, since=since, until=until, now=now, settled=True)


def _judge(conn: Connection, watch: Watched, *, since: datetime, until: datetime, now: datetime, settled: bool) -> None:
    vin = watch.vin
    # Who has waited for the vehicle's lock may come after a later judgement; a clock that is far off is not believed.
    now = max(now, min(watch.judged_at, now + AHEAD_MAX))
    if watch.unjudged_since is not None and watch.unjudged_until is not None:
        since, until, settled = min(since, watch.unjudged_since), max(until, watch.unjudged_until), False
        watch = replace(watch, unjudged_since=None, unjudged_until=None)
    # A little of what came before, too, where that may not have been judged: it was stored meanwhile, or was no news.
    # Nothing older than a week: what it was judged by may be forgotten.
    since = min(since, max(watch.seen_at or since, since - _LOOKS_BACK, now - LATE_MAX))
    oldest = since - JUDGED_BACK
    policies = curfew.policies(conn, vin)
    actions = policies[-1].actions
    around = circumstances(conn, vin, policies)
    # Just past the last sight or press, so that what begins with it is seen. That may be later than `now`: a vehicle's
    # clock may be up to a minute ahead.
    horizon = max(now, until, watch.seen_at or until, *(start for start, _ in around.emergencies)) + _INSTANT
    stood, stop = curfew.stretch(conn, vin, since=since, until=until, oldest=oldest, latest=horizon)
    begin, end = stood or oldest, stop or horizon
    seen = curfew.edges(conn, vin, begin=begin, since=since, until=until, end=end)
    seen += curfew.observations(conn, vin, since, until)
    seen += [(at, False) for at in (stood, stop) if at is not None]
    sights = [Observation(at, running) for at, running in seen]
    found = rule.violations(around, sights, since=begin, now=end)
    _reconcile(conn, vin, found, curfew.violations_between(conn, vin, begin, end), actions=actions, now=now)
    last = max(sights, key=lambda sight: (sight.at, not sight.running), default=None)
    if stop is not None:
        # The engine was seen later than this stretch: what comes for it from now on is no longer the newest.
        if watch.seen_at is None or stop > watch.seen_at:
            watch = replace(watch, running=False, seen_at=stop)
    elif last is not None:
        watch = replace(watch, running=last.running, seen_at=last.at)
    ahead = around.restricted(now, now + _LOOKS_AHEAD)
    here = next((span for span in ahead if span[0] == now), None)
    block_from = _act(conn, vin, here, running=watch.running, actions=actions, now=now)
    next_at = _next_change(ahead, found, now)
    if not settled:
        next_at = min(next_at, now + _SETTLES_AFTER)
    quiet_since, quiet_until = (None, None) if here else _quiet(around, ahead, now)
    judged = replace(watch, judged_at=now, next_at=next_at, quiet_since=quiet_since, quiet_until=quiet_until)
    curfew.set_watch(conn, replace(judged, block_from=block_from))


def _quiet(around: Circumstances, ahead: list[Span], now: datetime) -> Span:
    """Return the time around now in which nothing is restricted, as far as it was looked at."""
    behind = around.restricted(now - _LOOKS_BEHIND, now)
    return behind[-1][1] if behind else now - _LOOKS_BEHIND, ahead[0][0] if ahead else now + _LOOKS_AHEAD


def _next_change(ahead: list[Span], found: list[Violation], now: datetime) -> datetime:
    """Return when the clock alone will change the judgement: at an edge of the curfew, or of a severity."""
    edges = [edge for span in ahead for edge in span]
    edges += [v.started_at + more for v in found if v.ended_at is None for more in rule.SEVERITY_RISES_AFTER]
    # Where nothing is restricted for long, look again before what is known of it ends.
    return min((edge for edge in edges if now < edge < now + _LOOKS_AHEAD), default=now + _LOOKS_AHEAD)


def _act(
    conn: Connection, vin: str, here: Span | None, *, running: bool, actions: Sequence[str], now: datetime
) -> datetime | None:
    """Forbid the next start of a vehicle that stands inside its curfew, where its policy says so; lift it outside.

    Return from when on a sight of it standing is a reason to try (again), None where nothing is to be forbidden.
    """
    if here is None:
        commands.release_start(conn, vin, reason="CURFEW_OVER", now=now)
    elif not running and CurfewAction.ENGINE_START_BLOCK in actions:
        return commands.block_next_start(conn, vin, until=here[1], now=now)
    return None


def _consented(consents: Iterable[curfew.Consent]) -> Iterable[tuple[datetime, datetime]]:
    since: datetime | None = None
    for consent in sorted(consents, key=lambda c: c.effective_at):
        if consent.granted and since is None:
            since = consent.effective_at
        elif not consent.granted and since is not None:
            yield since, consent.effective_at
            since = None
    if since is not None:
        yield since, FOREVER


def _reconcile(
    conn: Connection,
    vin: str,
    found: list[Violation],
    stored: list[StoredViolation],
    *,
    actions: Sequence[str],
    now: datetime,
) -> None:
    new = list(found)
    for known in stored:
        match = next((v for v in new if _overlap(v, known)), None)
        if match is None:
            curfew.retract_violation(conn, known.violation_number, at=now)
            news.tell_violation(
                conn,
                replace(known, ended_at=known.ended_at or now),
                "CURFEW_VIOLATION_RETRACTED",
                actions=actions,
                now=now,
            )
        else:
            new.remove(match)
            _update(conn, known, match, actions=actions, now=now)
    for violation in new:
        _open(conn, vin, violation, actions=actions, now=now)


def _overlap(violation: Violation, known: StoredViolation) -> bool:
    return violation.started_at < (known.ended_at or FOREVER) and known.started_at < (violation.ended_at or FOREVER)


def _open(conn: Connection, vin: str, violation: Violation, *, actions: Sequence[str], now: datetime) -> None:
    severity = rule.severity(violation.minutes(now))
    late = now - violation.started_at > LATE_AFTER
    place = curfew.place_near(conn, vin, violation.started_at)
    number = curfew.add_violation(
        conn,
        vin=vin,
        started_at=violation.started_at,
        ended_at=violation.ended_at,
        resolution=violation.resolution,
        severity=severity,
        place=place,
        detected_late=late,
        detected_at=now,
    )
    opened = StoredViolation(
        number,
        vin,
        violation.started_at,
        violation.ended_at,
        violation.resolution,
        severity,
        place[0] if place else None,
        place[1] if place else None,
        late,
        now,
    )
    news.tell_violation(conn, opened, "CURFEW_VIOLATION", actions=actions, now=now)
    if CurfewAction.IN_VEHICLE_WARNING in actions and violation.ended_at is None and not late:
        commands.warn(conn, vin, message=news.MESSAGES["CURFEW_VIOLATION"], now=now)


def _update(
    conn: Connection, known: StoredViolation, violation: Violation, *, actions: Sequence[str], now: datetime
) -> None:
    severity = rule.severity(violation.minutes(now))
    corrected = known.started_at != violation.started_at or (
        known.ended_at is not None and known.ended_at != violation.ended_at
    )
    after = replace(
        known,
        started_at=violation.started_at,
        ended_at=violation.ended_at,
        resolution=violation.resolution,
        severity=severity,
        detected_late=known.detected_late or corrected,
    )
    if after == known:
        return
    curfew.set_violation(conn, after)
    if corrected:
        news.tell_violation(conn, after, "CURFEW_VIOLATION_CORRECTED", actions=actions, now=now)
    elif after.ended_at is not None and known.ended_at is None:
        news.tell_violation(conn, after, "CURFEW_VIOLATION_RESOLVED", actions=actions, now=now)
    elif list(Severity).index(severity) > list(Severity).index(Severity(known.severity)):
        news.tell_violation(conn, after, "CURFEW_VIOLATION_ESCALATED", actions=actions, now=now)
