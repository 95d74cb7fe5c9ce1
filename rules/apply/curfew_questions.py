"""Questions about a vehicle's curfew, answered from what is stored; nothing is changed by them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from db import curfew
from db.curfew import Consent, CurfewException, Policy
from db.pool import Connection
from rules.apply.curfew import CONSENT, FOREVER, as_rule, released
from rules.clock import LATE_MAX
from rules.curfew import Circumstances, Observation, PolicyVersion, Rule, Window, engine_runs
from rules.curfew_questions import Flagged, flagged, next_night, night_at
from rules.spans import Span
from schemas.curfew import CurfewPolicyRequest, Day
from schemas.curfew_questions import Reason

_WEEK = list(Day)
_RUN_LONGEST = LATE_MAX + timedelta(days=1)
"""As far as a judgement looks back for the engine's last stop."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an instant is restricted or not; spans are in UTC, `zone` is None without a policy.

    `consent` is what was recorded last before the instant. `in_force` is False where the vehicle had no policy yet:
    then the present policy and consent answer.
    """

    at: datetime
    reason: Reason
    zone: ZoneInfo | None
    night: Span | None
    next_night: Span | None
    exception: CurfewException | None
    consent: Consent | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What a draft would have flagged, among these runs of the engine; the last run may go on at `until`."""

    since: datetime
    until: datetime
    runs: list[Span]
    flagged: list[Flagged]


def explain(conn: Connection, vin: str, *, at: datetime) -> Explanation:
    """Return why driving at an instant is a violation, or is not."""
    versions = curfew.policies(conn, vin)
    policy = max((p for p in versions if p.valid_from <= at), key=lambda p: p.policy_id, default=None)
    in_force = policy is not None
    if policy is None and versions:
        policy = versions[-1]
    consents = curfew.consents(conn, vin, CONSENT)
    consent = _last(consents if not in_force else (c for c in consents if c.effective_at <= at))
    exception = next((e for e in curfew.exceptions(conn, vin) if _holds(released(e), at)), None)
    rule = as_rule(policy) if policy is not None and policy.enabled else None
    night = night_at(rule, at) if rule else None
    emergency = any(_holds(span, at) for span in curfew.emergencies(conn, vin))
    return Explanation(
        at=at,
        reason=_reason(policy, night, consent, emergency=emergency, exception=exception),
        zone=ZoneInfo(policy.timezone) if policy else None,
        night=night,
        next_night=next_night(rule, at) if rule else None,
        exception=exception,
        consent=consent,
        in_force=in_force,
    )


def dry_run(conn: Connection, vin: str, draft: CurfewPolicyRequest, *, since: datetime, until: datetime) -> Tried:
    """Return which trips within [since, until) a draft would have flagged, had it been in force and consented to."""
    oldest = since - _RUN_LONGEST
    stood, _ = curfew.stretch(conn, vin, since=since, until=until, oldest=oldest, latest=until)
    sights = curfew.observations(conn, vin, stood or oldest, until)
    runs = [run for run in engine_runs((Observation(at, running) for at, running in sights), until) if run[1] > since]
    circumstances = Circumstances(
        versions=(PolicyVersion(since, _draft_rule(draft)),),
        consents=((since, FOREVER),),
        exceptions=tuple(released(exception) for exception in curfew.exceptions(conn, vin)),
        emergencies=tuple(curfew.emergencies(conn, vin)),
    )
    return Tried(since, until, runs, flagged(circumstances, runs, since, until))


def _draft_rule(draft: CurfewPolicyRequest) -> Rule | None:
    if not draft.enabled:
        return None
    windows = tuple(
        Window(frozenset(_WEEK.index(day) for day in days), start, end) for days, start, end in draft.windows()
    )
    return Rule(draft.zone(), windows)


def _reason(
    policy: Policy | None,
    night: Span | None,
    consent: Consent | None,
    *,
    emergency: bool,
    exception: CurfewException | None,
) -> Reason:
    answers = {
        Reason.NO_POLICY: policy is None,
        Reason.POLICY_DISABLED: policy is not None and not policy.enabled,
        Reason.OUTSIDE_WINDOW: night is None,
        Reason.NO_CONSENT: consent is None or not consent.granted,
        Reason.OPEN_SOS: emergency,
        Reason.EXCEPTION: exception is not None,
    }
    return next((reason for reason, holds in answers.items() if holds), Reason.INSIDE_WINDOW)


def _last(consents: Iterable[Consent]) -> Consent | None:
    return max(consents, key=lambda consent: consent.effective_at, default=None)


def _holds(span: Span, at: datetime) -> bool:
    return span[0] <= at < span[1]
