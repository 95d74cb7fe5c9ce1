"""The curfew service (late-night driving limits for 16-17 year olds): policies, exceptions, consent and enums."""

from datetime import time
from enum import StrEnum
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from schemas.base import Instant, ShortText, Wire


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
    time_windows: Annotated[tuple[DailyWindow, ...], Field(min_length=1, max_length=14)] | None = None
    actions: Annotated[tuple[CurfewAction, ...], Field(max_length=3)] = (CurfewAction.NOTIFICATION,)

    @model_validator(mode="after")
    def _has_windows(self) -> Self:
        if (self.time_window is None) == (self.time_windows is None):
            raise ValueError("expected timeWindow or timeWindows, not both")
        if len(set(self.actions)) != len(self.actions):
            raise ValueError("expected each action once")
        return self

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
    start_time: Instant
    end_time: Instant

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.start_time >= self.end_time:
            raise ValueError("expected endTime after startTime")
        return self


class ConsentRequest(Wire):
    """The driver's consent to a purpose, granted or withdrawn; `timestamp` is when, now where it is not given."""

    granted: bool
    timestamp: Instant | None = None
