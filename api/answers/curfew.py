"""Curfew rows as the curfew guide's answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from db.curfew import Consent, CurfewException, Policy, StoredViolation
from rules.apply.consents import allows
from rules.apply.curfew import status_of
from rules.apply.curfew_news import exception_id, minutes, violation_id
from rules.apply.curfew_questions import Explanation, Tried
from rules.curfew_questions import Flagged, distribution
from rules.spans import Span
from rules.statistics import mean
from schemas import curfew as wire
from schemas import curfew_questions as asked
from schemas.curfew_questions import Reason
from schemas.problem import Pagination
from schemas.statistics import Period

_NO_CONSENT = "the driver has not consented: the curfew is stored, and not evaluated"
_DISABLED = "the curfew is switched off"
_REASONS = {
    Reason.INSIDE_WINDOW: "driving then is a violation",
    Reason.OUTSIDE_WINDOW: "no window of the policy holds this instant",
    Reason.NO_POLICY: "the vehicle has no policy",
    Reason.POLICY_DISABLED: _DISABLED,
    Reason.NO_CONSENT: _NO_CONSENT,
    Reason.OPEN_SOS: "an SOS was open, which releases from every curfew",
    Reason.EXCEPTION: "an exception releases the vehicle",
}
_NOT_YET = "; there was no policy then, so this is what the present one says"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many violations began: ever, and in the present and the last month of the policy's zone."""

    total: int
    this_month: int
    last_month: int


def policy_response(
    versions: Sequence[Policy],
    exceptions: Iterable[CurfewException],
    consent: Consent | None,
    counts: Counts,
    *,
    now: datetime,
) -> wire.CurfewPolicyResponse:
    """Return the policy in force (Curfew Policy Response); there is at least one version."""
    policy = versions[-1]
    windows = [wire.DailyWindow.model_validate(window) for window in policy.windows]
    alone = windows[0] if len(windows) == 1 else None
    used = {day for window in windows for day in window.days or ()}
    consented = consent is not None and consent.granted
    return wire.CurfewPolicyResponse(
        enabled=policy.enabled,
        timezone=policy.timezone,
        days=(alone.days or ()) if alone else tuple(day for day in wire.Day if day in used),
        time_window=wire.TimeWindow(start=alone.start, end=alone.end) if alone else None,
        time_windows=None if alone else tuple(windows),
        actions=tuple(wire.CurfewAction(action) for action in policy.actions),
        exceptions=tuple(exception_entry(exception, now=now) for exception in exceptions),
        statistics=wire.PolicyStatistics(
            total_violations=counts.total, this_month=counts.this_month, last_month=counts.last_month
        ),
        consent=_consent(consent),
        evaluated=policy.enabled and consented,
        note=_DISABLED if not policy.enabled else None if consented else _NO_CONSENT,
        created_at=versions[0].valid_from,
        updated_at=policy.valid_from,
    )


def exception_entry(exception: CurfewException, *, now: datetime) -> wire.ExceptionEntry:
    """Return an exception as it stands now."""
    return wire.ExceptionEntry(
        exception_id=exception_id(exception),
        reason=exception.reason,
        start_time=exception.start_time,
        end_time=exception.end_time,
        status=status_of(exception, now),
        created_at=exception.created_at,
    )


def exception_list(
    exceptions: Sequence[CurfewException], *, limit: int, offset: int, now: datetime
) -> wire.ExceptionList:
    """Return a page of these exceptions (Curfew Exception List)."""
    page = exceptions[offset : offset + limit]
    return wire.ExceptionList(
        exceptions=tuple(exception_entry(exception, now=now) for exception in page),
        pagination=_pagination(len(exceptions), len(page), limit=limit, offset=offset),
    )


def violation_list(
    violations: Sequence[StoredViolation], total: int, *, limit: int, offset: int, now: datetime
) -> wire.ViolationList:
    """Return a page of violations, each as the guide's Curfew Violation Event."""
    return wire.ViolationList(
        violations=tuple(_violation(violation, now=now) for violation in violations),
        pagination=_pagination(total, len(violations), limit=limit, offset=offset),
    )


def consent_list(vin: str, recorded: Mapping[wire.ConsentPurpose, Consent | None]) -> wire.ConsentList:
    """Return the driver's consents by purpose; one that was never recorded is not granted."""
    return wire.ConsentList(
        vin=vin,
        consents=tuple(
            wire.Consent(
                purpose=purpose,
                granted=consent is not None and consent.granted,
                since=consent.effective_at if consent else None,
                recorded_by=consent.recorded_by if consent else None,
                allowed=allows(purpose, consent),
            )
            for purpose, consent in recorded.items()
        ),
    )


def statistics_response(
    policy: Policy | None,
    violations: Sequence[StoredViolation],
    exceptions_granted: int,
    *,
    period: Period,
    now: datetime,
) -> asked.CurfewStatisticsResponse:
    """Return the statistics of these violations, all of which began in the period."""
    lasted = {violation.violation_number: minutes(violation, now) for violation in violations}
    longest = max(violations, key=lambda violation: lasted[violation.violation_number], default=None)
    severities = [violation.severity for violation in violations]
    spread = distribution((v.started_at for v in violations), ZoneInfo(policy.timezone)) if policy else None
    return asked.CurfewStatisticsResponse(
        period=period,
        timezone=policy.timezone if policy else None,
        summary=asked.StatisticsSummary(
            total_violations=len(violations),
            total_minutes=sum(lasted.values()),
            average_minutes=mean(sum(lasted.values()), len(violations)),
            longest=longest
            and asked.LongestViolation(
                violation_id=violation_id(longest.violation_number),
                timestamp=longest.started_at,
                duration=lasted[longest.violation_number],
            ),
            exceptions_granted=exceptions_granted,
        ),
        by_severity={severity: severities.count(severity) for severity in wire.Severity},
        by_weekday=spread.by_weekday if spread else None,
        by_hour=spread.by_hour if spread else None,
        generated_at=now,
    )


def explain_response(explanation: Explanation) -> asked.ExplainResponse:
    """Return why an instant is restricted, with its times by the wall clock of the policy's zone and in UTC."""
    zone = explanation.zone
    text = _REASONS[explanation.reason]
    if not explanation.in_force and zone is not None:
        text += _NOT_YET
    return asked.ExplainResponse(
        at=explanation.at,
        clock=_local(explanation.at, zone) if zone else None,
        inside=explanation.reason is Reason.INSIDE_WINDOW,
        reason=explanation.reason,
        reason_text=text,
        window=_times(explanation.night, zone),
        next_window=_times(explanation.next_night, zone),
        exception_id=exception_id(explanation.exception) if explanation.exception else None,
        consent=_consent(explanation.consent),
        timezone=zone.key if zone else None,
        policy_in_force=explanation.in_force,
    )


def dry_run_response(tried: Tried) -> asked.DryRunResponse:
    """Return what a draft would have flagged."""
    return asked.DryRunResponse(
        from_=tried.since,
        to=tried.until,
        trips=len(tried.runs),
        violations=len(tried.flagged),
        minutes=sum(flagged.minutes for flagged in tried.flagged),
        flagged=tuple(_flagged(flagged, until=tried.until) for flagged in tried.flagged),
    )


def _flagged(flagged: Flagged, *, until: datetime) -> asked.FlaggedTrip:
    run_start, run_end = flagged.run
    return asked.FlaggedTrip(
        start_time=flagged.span[0],
        end_time=flagged.span[1],
        duration=flagged.minutes,
        severity=wire.Severity(flagged.severity),
        trip=asked.Trip(start_time=run_start, end_time=run_end if run_end < until else None),
    )


def _violation(violation: StoredViolation, *, now: datetime) -> wire.ViolationEntry:
    place = None
    if violation.latitude is not None and violation.longitude is not None:
        place = wire.Place(latitude=violation.latitude, longitude=violation.longitude, address=None)
    return wire.ViolationEntry(
        violation_id=violation_id(violation.violation_number),
        vin=violation.vin,
        timestamp=violation.started_at,
        severity=wire.Severity(violation.severity),
        location=place,
        duration=minutes(violation, now),
        resolved=violation.ended_at is not None,
        ended_at=violation.ended_at,
        resolution=violation.resolution,
        detected_late=violation.detected_late,
    )


def _consent(consent: Consent | None) -> wire.ConsentState:
    return wire.ConsentState(
        granted=consent is not None and consent.granted, since=consent.effective_at if consent else None
    )


def _times(span: Span | None, zone: ZoneInfo | None) -> asked.WindowTimes | None:
    if span is None or zone is None:
        return None
    start, end = span
    return asked.WindowTimes(
        local=asked.LocalSpan(start=_local(start, zone), end=_local(end, zone)),
        utc=asked.UtcSpan(start=start, end=end),
    )


def _local(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).isoformat(timespec="seconds")


def _pagination(total: int, shown: int, *, limit: int, offset: int) -> Pagination:
    return Pagination(total=total, limit=limit, offset=offset, has_more=offset + shown < total)
