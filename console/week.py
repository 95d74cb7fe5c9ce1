"""The curfew of a week as it is drawn: each day as long as it really is on the clock of the policy's zone. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from console.public_api import Json
from console.texts import say, utc, word
from schemas.base import format_instant, parse_instant
from schemas.curfew import Day

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_NAMES = tuple(Day)


@dataclass(frozen=True, slots=True)
class Window:
    """A window of a policy: days of its start (0 is Monday), begin and end on the wall clock."""

    days: frozenset[int]
    start: time
    end: time

    def holds(self, wall: datetime) -> bool:
        """Tell whether the wall clock is inside; one that ends past midnight is that of the day before, too."""
        clock = wall.time()
        if self.start < self.end:
            return wall.weekday() in self.days and self.start <= clock < self.end
        late = wall.weekday() in self.days and clock >= self.start
        return late or ((wall - _DAY).weekday() in self.days and clock < self.end)


def windows(policy: Json) -> tuple[Window, ...]:
    """Return the windows of a policy's answer; none where it is switched off."""
    if not policy["enabled"]:
        return ()
    given = policy["timeWindows"] or [policy["timeWindow"]]
    return tuple(
        Window(
            frozenset(_NAMES.index(Day(day)) for day in one.get("days") or policy["days"]),
            time.fromisoformat(one["start"]),
            time.fromisoformat(one["end"]),
        )
        for one in given
    )


def monday_of(instant: datetime, zone: ZoneInfo) -> date:
    """Return the Monday of the week of an instant, by the zone's calendar."""
    day = instant.astimezone(zone).date()
    return day - timedelta(days=day.weekday())


def week_span(monday: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the first instant of the week from a Monday, and the first one after it."""
    return _midnight(monday, zone), _midnight(monday + 7 * _DAY, zone)


def week(
    policy: Json, monday: date, *, exceptions: Sequence[Json] = (), violations: Sequence[Json] = (), now: datetime
) -> list[Json]:
    """Return the seven days from a Monday: their length and what begins and ends in them, in minutes since midnight.

    Minutes are real ones: in a day on which the clock is set, the wall clock's labels move against them.
    """
    zone = ZoneInfo(policy["timezone"])
    known = windows(policy)
    return [
        _day(monday + timedelta(days=number), zone, known, exceptions=exceptions, violations=violations, now=now)
        for number in range(7)
    ]


def _day(
    day: date,
    zone: ZoneInfo,
    known: Sequence[Window],
    *,
    exceptions: Sequence[Json],
    violations: Sequence[Json],
    now: datetime,
) -> Json:
    begin, end = _midnight(day, zone), _midnight(day + _DAY, zone)
    minutes = int((end - begin) / _MINUTE)

    def wall(minute: int) -> datetime:
        return (begin + minute * _MINUTE).astimezone(zone)

    def is_restricted(minute: int) -> bool:
        return any(window.holds(wall(minute).replace(tzinfo=None)) for window in known)

    def clip(since: datetime, until: datetime) -> tuple[int, int] | None:
        first, last = max(since, begin), min(until, end)
        return (int((first - begin) / _MINUTE), int((last - begin) / _MINUTE)) if first < last else None

    def block(span: tuple[int, int], **more: str) -> Json:
        times = f"{wall(span[0]):%H:%M}–{wall(span[1]):%H:%M}"
        title = " · ".join([times, *(text for text in (more.pop("title", ""),) if text)])
        hover = " – ".join(utc(begin + minute * _MINUTE) for minute in span)
        return {"begin": span[0], "end": span[1], "title": title, "utc": hover, **more}

    ends = [(one, parse_instant(one["endedAt"]) if one["endedAt"] else now) for one in violations]
    return {
        "date": day.isoformat(),
        "name": say(f"day.{_NAMES[day.weekday()]}"),
        "day": str(day.day),
        "beginsAt": format_instant(begin),
        "minutes": minutes,
        "restricted": [block(span) for span in _runs(minutes, is_restricted)],
        "released": [
            block(span, title=one["reason"])
            for one in exceptions
            if one["status"] != "cancelled"
            and (span := clip(parse_instant(one["startTime"]), parse_instant(one["endTime"])))
        ],
        "violations": [
            block(span, title=word("severity", one["severity"]), severity=one["severity"])
            for one, ended in ends
            if (span := clip(parse_instant(one["timestamp"]), max(ended, parse_instant(one["timestamp"]) + _MINUTE)))
        ],
        "changes": list(_changes(minutes, wall)),
    }


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day, in UTC; where midnight itself is skipped, that is later than 00:00."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _runs(minutes: int, holds: Callable[[int], bool]) -> list[tuple[int, int]]:
    """Return the spans [begin, end) of minutes for which it holds."""
    found: list[tuple[int, int]] = []
    begin: int | None = None
    for minute in range(minutes + 1):
        inside = minute < minutes and holds(minute)
        if inside and begin is None:
            begin = minute
        elif not inside and begin is not None:
            found.append((begin, minute))
            begin = None
    return found


def _changes(minutes: int, wall: Callable[[int], datetime]) -> Iterator[Json]:
    """Give where the clock is set within the day."""
    for before, after in pairwise(range(minutes + 1)):
        shift = (wall(after).utcoffset() or timedelta()) - (wall(before).utcoffset() or timedelta())
        if shift:
            skipped = wall(after).replace(tzinfo=None) - shift
            label = f"{skipped:%H:%M}→{wall(after):%H:%M}"
            hover = utc(wall(after))
            yield {"minute": after, "label": label, "title": say("week.change", change=label), "utc": hover}
