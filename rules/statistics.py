"""What counts make: rates, means, and the hours and days that stand out. No rounding happens before these."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

_HOURS = 24
_MOST = 2
"""The guides' samples name two peaks each."""


class Weekday(StrEnum):
    """Days of the week as the guides spell them."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


_WEEK = list(Weekday)


def mean(total: int, count: int) -> float | None:
    """Return total / count with one decimal, halves up; None for a mean of nothing."""
    return None if not count else (20 * total + count) // (2 * count) / 10


def percentage(part: int, whole: int) -> float | None:
    """Return how many of a hundred, with one decimal, halves up; None for a part of nothing."""
    return mean(100 * part, whole)


def whole_mean(total: int, count: int) -> int | None:
    """Return total / count as a whole number, halves up; None for a mean of nothing."""
    return None if not count else (2 * total + count) // (2 * count)


def peak_hours(times: Mapping[tuple[int, int], int]) -> tuple[str, ...]:
    """Return the spans of UTC hours that stand out, busiest first, as "18:00-22:00"; two at most.

    An hour of the day stands out with at least 1.5 times the mean of all 24; neighbours make one span, also across
    midnight. `times` counts by weekday (1 is Monday) and hour.
    """
    counts = [0] * _HOURS
    for (_, hour), count in times.items():
        counts[hour] += count
    total = sum(counts)
    peaks = {hour for hour in range(_HOURS) if counts[hour] and 2 * _HOURS * counts[hour] >= 3 * total}
    spans = [_span(start, peaks) for start in sorted(peaks) if (start - 1) % _HOURS not in peaks]
    busiest = sorted(spans, key=lambda span: -sum(counts[hour] for hour in span))
    return tuple(f"{span[0]:02d}:00-{(span[-1] + 1) % _HOURS:02d}:00" for span in busiest[:_MOST])


def peak_days(times: Mapping[tuple[int, int], int], *, since: datetime, until: datetime) -> tuple[Weekday, ...]:
    """Return the UTC weekdays that stand out in the period, busiest first; two at most.

    A weekday stands out with at least 1.2 times what its share of the period's time would bring: in 30 days two
    weekdays come five times and the others four.
    """
    counts = [0] * len(_WEEK)
    for (weekday, _), count in times.items():
        counts[weekday - 1] += count
    total, whole = sum(counts), (until - since) // timedelta(microseconds=1)
    lasting = _lasting(since, until)
    peaks = [day for day in range(len(_WEEK)) if counts[day] and 5 * counts[day] * whole >= 6 * total * lasting[day]]
    return tuple(_WEEK[day] for day in sorted(peaks, key=lambda day: -counts[day])[:_MOST])


def percentile(behind: int, size: int) -> int | None:
    """Return how many of a hundred counselors are behind one, as a whole number; None for a team of nobody."""
    return whole_mean(100 * behind, size)


def _span(start: int, peaks: Iterable[int]) -> list[int]:
    span = [start]
    while (following := (span[-1] + 1) % _HOURS) in peaks:
        span.append(following)
    return span


def _lasting(since: datetime, until: datetime) -> list[int]:
    """Return how many microseconds of each UTC weekday, Monday first, lie in the period."""
    lasting = [0] * len(_WEEK)
    at = since.astimezone(UTC)
    while at < until:
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        lasting[at.weekday()] += (min(midnight, until) - at) // timedelta(microseconds=1)
        at = midnight
    return lasting
