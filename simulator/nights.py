"""Nights as clocks on the wall have them: where it is night now, which a clock change made short or long. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.curfew import Day
from schemas.demo import NIGHT_ZONES

NEW_YORK = "America/New_York"
CHANGING_ZONES = (
    NEW_YORK,
    "Europe/Berlin",
    "Australia/Sydney",
    "Pacific/Auckland",
    "America/Santiago",
    "Asia/Jerusalem",
    "Africa/Cairo",
)
"""Zones whose clocks change between 23:00 and 05:00, in both hemispheres."""

_START, _END = time(23), time(5)
WINDOW = {"start": f"{_START:%H:%M}", "end": f"{_END:%H:%M}"}
"""The window of a curfew policy that is such a night."""
ORDINARY = timedelta(hours=6)
_YEAR_DAYS = 366
_MIDDLE_OF_THE_NIGHT_H = 2
_DAY_H = 24


@dataclass(frozen=True, slots=True)
class Night:
    """From 23:00 of an evening to 05:00 of the next morning, by the clock of a zone."""

    zone: str
    evening: date

    def at(self, clock: time, *, fold: int = 0) -> datetime:
        """Return when the clock shows this in the night, in UTC; the second time with fold=1 where it does so twice."""
        day = self.evening if clock >= _START else self.evening + timedelta(days=1)
        return datetime.combine(day, clock, ZoneInfo(self.zone)).replace(fold=fold).astimezone(UTC)

    @property
    def begins(self) -> datetime:
        """23:00 in UTC."""
        return self.at(_START)

    @property
    def ends(self) -> datetime:
        """05:00 in UTC."""
        return self.at(_END)

    @property
    def lasts(self) -> timedelta:
        """Six hours; five or seven where the clock was changed."""
        return self.ends - self.begins

    @property
    def day(self) -> Day:
        """The day of the week on which it begins."""
        return list(Day)[self.evening.weekday()]


def zone_at_night(now: datetime) -> str:
    """Return the zone among `NIGHT_ZONES` that is deepest in its night: there it is from 22:00 to 06:00, on any day."""

    def from_the_middle(zone: str) -> float:
        local = now.astimezone(ZoneInfo(zone))
        away_h = abs(local.hour + local.minute / 60 - _MIDDLE_OF_THE_NIGHT_H)
        return min(away_h, _DAY_H - away_h)

    return min(NIGHT_ZONES, key=from_the_middle)


def changed_nights(zone: str, before: datetime) -> list[Night]:
    """Return the last night that a clock change made shorter and the last that it made longer, over by then."""
    nights = [night for night in _past(zone, before, days=_YEAR_DAYS) if night.lasts != ORDINARY]
    shorter = next(night for night in nights if night.lasts < ORDINARY)
    longer = next(night for night in nights if night.lasts > ORDINARY)
    return [shorter, longer]


def night_to_drive(since: datetime, until: datetime, zones: Sequence[str] = CHANGING_ZONES) -> Night:
    """Return a night within [since, until] that a clock change made shorter or longer, or else the last of New York."""
    days = (until - since).days + 1
    for zone in zones:
        for night in _past(zone, until, days=days):
            if night.begins >= since and night.lasts != ORDINARY:
                return night
    return next(_past(NEW_YORK, until, days=2))


def _past(zone: str, before: datetime, *, days: int) -> Iterator[Night]:
    """Yield the nights of so many days that are over, the latest first."""
    today = before.astimezone(ZoneInfo(zone)).date()
    for ago in range(days + 1):
        night = Night(zone, today - timedelta(days=ago))
        if night.ends <= before:
            yield night
