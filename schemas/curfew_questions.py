"""What can be asked of a curfew: why it holds at an instant, what a draft would flag, how often it was broken."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from schemas.base import Instant, Wire
from schemas.curfew import ConsentState, CurfewPolicyRequest, Day, NearInstant, Severity
from schemas.statistics import Period

DRY_RUN_LONGEST = timedelta(days=31)

LocalTime = Annotated[str, Field(examples=["2026-03-07T23:00:00-05:00"])]
"""An instant as the wall clock of the policy's zone shows it, with its offset."""


class Reason(StrEnum):
    """Why an instant is restricted, or is not."""

    INSIDE_WINDOW = "INSIDE_WINDOW"
    OUTSIDE_WINDOW = "OUTSIDE_WINDOW"
    NO_POLICY = "NO_POLICY"
    POLICY_DISABLED = "POLICY_DISABLED"
    NO_CONSENT = "NO_CONSENT"
    OPEN_SOS = "OPEN_SOS"
    EXCEPTION = "EXCEPTION"


class LocalSpan(Wire):
    """[start, end) by the wall clock."""

    start: LocalTime
    end: LocalTime


class UtcSpan(Wire):
    """[start, end) in UTC."""

    start: Instant
    end: Instant


class WindowTimes(Wire):
    """One night of a policy: when it begins and ends."""

    local: LocalSpan
    utc: UtcSpan


class ExplainResponse(Wire):
    """Why driving at `at` would be a violation (`inside`), or would not.

    `window` holds `at`, whether or not something releases it; `nextWindow` is the next one to begin. `policyInForce` is
    false where the vehicle had no policy yet at `at`: then the answer is that of the present policy and consent.
    """

    at: Instant
    clock: LocalTime | None
    inside: bool
    reason: Reason
    reason_text: str
    window: WindowTimes | None
    next_window: WindowTimes | None
    exception_id: str | None
    consent: ConsentState
    timezone: str | None
    policy_in_force: bool


class DryRunRequest(CurfewPolicyRequest):
    """A draft of a policy, and the time to try it on: at most 31 days, the last 7 where nothing is said."""

    enabled: bool = True
    from_: Annotated[NearInstant | None, Field(alias="from")] = None
    to: NearInstant | None = None

    @field_validator("to")
    @classmethod
    def _lasts(cls, to: Instant | None, info: ValidationInfo) -> Instant | None:
        begin = info.data.get("from_")
        if to is not None and begin is not None and not begin < to <= begin + DRY_RUN_LONGEST:
            raise ValueError("expected to after from, and at most 31 days later")
        return to


class Trip(Wire):
    """The engine ran; `endTime` is null where it still did at the end of the time that was tried."""

    start_time: Instant
    end_time: Instant | None


class FlaggedTrip(Wire):
    """A violation that the draft would have made; `duration` in whole minutes."""

    start_time: Instant
    end_time: Instant
    duration: int
    severity: Severity
    trip: Trip


class DryRunResponse(Wire):
    """What the draft would have flagged, oldest first. Exceptions and SOS release as they did; consent is assumed."""

    from_: Annotated[Instant, Field(alias="from")]
    to: Instant
    trips: int
    violations: int
    minutes: int
    flagged: tuple[FlaggedTrip, ...]


class LongestViolation(Wire):
    """The violation that lasted longest; `duration` in whole minutes."""

    violation_id: str
    timestamp: Instant
    duration: int


class StatisticsSummary(Wire):
    """Violations that began in the period; means and the longest are null where there were none."""

    total_violations: int
    total_minutes: int
    average_minutes: float | None
    longest: LongestViolation | None
    exceptions_granted: int


class CurfewStatisticsResponse(Wire):
    """Statistics of one vehicle's violations; weekdays and hours by the wall clock of the policy's zone.

    `timezone`, `byWeekday` and `byHour` are null for a vehicle that has no policy.
    """

    period: Period
    timezone: str | None
    summary: StatisticsSummary
    by_severity: dict[Severity, int]
    by_weekday: dict[Day, int] | None
    by_hour: tuple[int, ...] | None
    generated_at: Instant


class TemplateSource(Wire):
    """Where the limit is laid down, and where it was read."""

    citation: str
    title: str
    url: str


class CurfewTemplate(Wire):
    """A state's night limit for young drivers as a policy to start from; supervised and excused driving is not judged.

    `policy.timezone` is the state's main zone; `timezones` has all of them.
    """

    template_id: str
    state: str
    name: str
    license: str
    applies_to: str
    timezones: tuple[str, ...]
    policy: CurfewPolicyRequest
    source: TemplateSource


class TemplateList(Wire):
    """Night limits of graduated driver licensing in the United States."""

    note: str
    templates: tuple[CurfewTemplate, ...]
