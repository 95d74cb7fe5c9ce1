"""What is left of a curfew's present or coming night, and until when it can be released. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from console.public_api import Json
from schemas.base import parse_instant

_TONIGHT = timedelta(hours=24)
_LATE_BY = (timedelta(hours=1), timedelta(hours=2), timedelta(hours=3))
_FULL = timedelta(minutes=5)

Span = tuple[datetime, datetime]


def tonight(explained: Json, exceptions: Sequence[Json], *, now: datetime) -> Span | None:
    """Return what can still be released of the present night, or of the one that begins within a day; None for neither.

    `explained` may have been read a while ago. What an exception releases already is no part of it, because the API
    takes no second one for that time; the span is empty where that is all of the night.
    """
    night = next((span for span in _nights(explained) if span[1] > now), None)
    if night is None or night[0] - now > _TONIGHT:
        return None
    begin, end = max(night[0], now), night[1]
    for start, stop in sorted(_kept(exceptions)):
        if start <= begin < stop:
            begin = min(stop, end)
        elif begin < start < end:
            end = start
    return begin, end


def choices(night: Span, *, now: datetime) -> list[datetime]:
    """Return until when it may be released, in the viewer's round times; the last is its end."""
    begin, end = night
    first = begin if begin > now else _rounded(now)
    return [*(first + late for late in _LATE_BY if first + late < end), *([end] if begin < end else [])]


def released_until(explained: Json, exceptions: Sequence[Json]) -> datetime:
    """Return until when driving is allowed in the night that holds now: its end, or that of the exception if sooner."""
    end = parse_instant(explained["window"]["utc"]["end"])
    ends = (parse_instant(one["endTime"]) for one in exceptions if one["exceptionId"] == explained["exceptionId"])
    return min([end, *ends])


def _nights(explained: Json) -> Iterator[Span]:
    for name in ("window", "nextWindow"):
        if explained[name] is not None:
            span = explained[name]["utc"]
            yield parse_instant(span["start"]), parse_instant(span["end"])


def _kept(exceptions: Sequence[Json]) -> Iterator[Span]:
    for one in exceptions:
        if one["status"] != "cancelled":
            yield parse_instant(one["startTime"]), parse_instant(one["endTime"])


def _rounded(instant: datetime) -> datetime:
    """Return the next full five minutes."""
    return datetime.fromtimestamp(-(-instant.timestamp() // _FULL.total_seconds()) * _FULL.total_seconds(), UTC)
