"""The curfew service (late-night driving limits for 16-17 year olds): policies, exceptions, consent and enums."""

from datetime import UTC, datetime, time
from enum import StrEnum
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from schemas.base import Instant, ShortText, Vin, Wire
from schemas.problem import Pagination

SERVICE = "CURFEW"
"""How events name this service."""


class Day(StrEnum):
    """Days of the week as the guide spells them, Monday first."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class CurfewAction(StrEnum):
    """What a violation or the curfew itself sets off. None of them can stop a running engine (design, section 7)."""

    NOTIFICATION = "notification"
    IN_VEHICLE_WARNING = "in_vehicle_warning"
    ENGINE_START_BLOCK = "engine_start_block"


class ExceptionStatus(StrEnum):
    """Where an exception stands now."""

    ACTIVE = "active"
    SCHEDULED = "scheduled"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Severity(StrEnum):
    """How long a violation has lasted: below 15 minutes, below 60, longer (design, section 5)."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class ConsentPurpose(StrEnum):
    """What a driver can consent to: being judged by a curfew, being located, and recordings of calls."""

    CURFEW = "CURFEW"
    LOCATION = "LOCATION"
    VOICE_RECORDING = "VOICE_RECORDING"


_ZONES = available_timezones()


def _zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError("expected an IANA time zone, as Asia/Seoul")
    return name


def _distinct(days: tuple[Day, ...]) -> tuple[Day, ...]:
    if len(set(days)) != len(days):
        raise ValueError("expected each day once")
    return days


Timezone = Annotated[str, AfterValidator(_zone), Field(examples=["Asia/Seoul"])]
WallTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), Field(examples=["21:00"])]
Days = Annotated[tuple[Day, ...], Field(min_length=1), AfterValidator(_distinct)]


def _near(instant: datetime) -> datetime:
    if not _FIRST <= instant < _LAST:
        raise ValueError("expected a time from 1970 to 2199")
    return instant


_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
NearInstant = Annotated[Instant, AfterValidator(_near)]
"""An instant that has days before and after it, on every wall clock."""


class TimeWindow(Wire):
    """[start, end) on the wall clock of the policy's zone; past midnight where end is not later than start."""

    start: WallTime
    end: WallTime

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.start == self.end:
            raise ValueError("expected an end that differs from the start")
        return self


class DailyWindow(TimeWindow):
    """One of several windows, on days of its own or on those of the policy."""

    days: Days | None = None


class CurfewPolicyRequest(Wire):
    """The guardian sets the curfew (guide, Curfew Policy Setting); several windows are a union."""

    enabled: bool
    timezone: Timezone
    days: Days
    time_window: TimeWindow | None = None
    time_windows: Annotated[
        Annotated[tuple[DailyWindow, ...], Field(min_length=1, max_length=14)] | None, Field(validate_default=True)
    ] = None
    actions: Annotated[tuple[CurfewAction, ...], Field(max_length=3)] = (CurfewAction.NOTIFICATION,)

    # Both look at one field each, so that an error names it.
    @field_validator("time_windows")
    @classmethod
    def _one_or_several(cls, several: object, info: ValidationInfo) -> object:
        if "time_window" in info.data and (info.data["time_window"] is None) == (several is None):
            raise ValueError("expected timeWindow or timeWindows, and not both")
        return several

    @field_validator("actions")
    @classmethod
    def _distinct_actions(cls, actions: tuple[CurfewAction, ...]) -> tuple[CurfewAction, ...]:
        if len(set(actions)) != len(actions):
            raise ValueError("expected each action once")
        return actions

    def windows(self) -> list[tuple[tuple[Day, ...], time, time]]:
        """Return the windows as (days of the start, start, end)."""
        given = self.time_windows or (DailyWindow.model_validate(self.time_window.model_dump()),)  # type: ignore[union-attr]
        return [(w.days or self.days, time.fromisoformat(w.start), time.fromisoformat(w.end)) for w in given]

    def zone(self) -> ZoneInfo:
        """Return the policy's zone."""
        return ZoneInfo(self.timezone)


class CurfewExceptionRequest(Wire):
    """The guardian releases the vehicle for a while (guide, Curfew Exception Setting)."""

    reason: ShortText
    start_time: NearInstant
    end_time: NearInstant

    @field_validator("end_time")
    @classmethod
    def _lasts(cls, end: datetime, info: ValidationInfo) -> datetime:
        if "start_time" in info.data and end <= info.data["start_time"]:
            raise ValueError("expected endTime after startTime")
        return end


class ConsentRequest(Wire):
    """The driver's consent to a purpose, granted or withdrawn; `timestamp` is when, now where it is not given."""

    purpose: ConsentPurpose = ConsentPurpose.CURFEW
    granted: bool
    timestamp: NearInstant | None = None


class ExceptionSummary(Wire):
    """An exception as the policy names it (guide, Curfew Policy Response)."""

    exception_id: str
    reason: str
    start_time: Instant
    end_time: Instant
    status: ExceptionStatus


class ExceptionEntry(ExceptionSummary):
    """An exception (guide, Curfew Exception List)."""

    created_at: Instant


class ExceptionList(Wire):
    """A page of a vehicle's exceptions, latest start first (guide, Curfew Exception List)."""

    exceptions: tuple[ExceptionEntry, ...]
    pagination: Pagination


class PolicyStatistics(Wire):
    """How many violations began, ever and in the calendar months of the policy's zone."""

    total_violations: int
    this_month: int
    last_month: int


class ConsentState(Wire):
    """Whether the driver consents, and since when that is so; null where nothing was ever recorded."""

    granted: bool
    since: Instant | None


class CurfewPolicyResponse(Wire):
    """The policy in force (guide, Curfew Policy Response).

    One of `timeWindow` and `timeWindows` is null. `evaluated` says whether driving is judged by it, `note` why not.
    """

    enabled: bool
    timezone: str
    days: tuple[Day, ...]
    time_window: TimeWindow | None
    time_windows: tuple[DailyWindow, ...] | None
    actions: tuple[CurfewAction, ...]
    exceptions: tuple[ExceptionSummary, ...]
    statistics: PolicyStatistics
    consent: ConsentState
    evaluated: bool
    note: str | None
    created_at: Instant
    updated_at: Instant


class Consent(ConsentState):
    """The driver's present consent to a purpose, and who recorded it.

    `allowed` is what follows: also where nothing was recorded, which leaves LOCATION allowed and the others not.
    """

    purpose: ConsentPurpose
    recorded_by: str | None
    allowed: bool


class ConsentList(Wire):
    """The driver's consents, one per purpose."""

    vin: Vin
    consents: tuple[Consent, ...]


class Place(Wire):
    """Where the vehicle was; no address: positions are not sent to map services."""

    latitude: float
    longitude: float
    address: str | None


class ViolationEntry(Wire):
    """A violation (guide, Curfew Violation Event); `duration` in whole minutes, up to now while it goes on."""

    violation_id: str
    vin: Vin
    timestamp: Instant
    severity: Severity
    location: Place | None
    duration: int
    resolved: bool
    ended_at: Instant | None
    resolution: str | None
    detected_late: bool


class ViolationList(Wire):
    """A page of a vehicle's violations, newest first."""

    violations: tuple[ViolationEntry, ...]
    pagination: Pagination


class CurfewEvent(Wire):
    """An event of the curfew's streams (guide, Real-time Violation Event), with `eventId`, `type` and `priority`.

    Violations have `violationId` and `severity`, exceptions `exceptionId`.
    """

    event_id: str
    event_type: str
    type: str
    priority: Literal["HIGH", "NORMAL", "LOW"]
    violation_id: str | None = None
    exception_id: str | None = None
    vin: Vin
    timestamp: Instant
    severity: Severity | None = None
    data: dict[str, object]
