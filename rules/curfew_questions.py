"""Answers about a curfew: which window holds an instant, what a rule would have flagged, how violations distribute."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rules.curfew import Circumstances, Rule, Window, severity
from rules.spans import Span, shared
from schemas.curfew import Day, Severity

_AROUND = timedelta(days=2)
_AHEAD = timedelta(days=9)
"""Each window comes again within a week, and no clock change moves one by more than a day."""

_HOURS = 24


@dataclass(frozen=True, slots=True)
class Flagged:
    """A violation that a rule would have made, and the run of the engine that it is part of."""

    span: Span
    run: Span

    @property
    def minutes(self) -> int:
        """Its whole minutes."""
        return int((self.span[1] - self.span[0]).total_seconds() // 60)

    @property
    def severity(self) -> Severity:
        """What it would have come to."""
        return severity(self.minutes)


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many violations began on which weekday, and in which hour of the day."""

    by_weekday: dict[Day, int]
    by_hour: tuple[int, ...]


def night_at(rule: Rule, at: datetime) -> Span | None:
    """Return from when until when the window that holds this instant does, in UTC; None outside.

    Of several windows at once the one that began on the later day; a repeated hour may cut a night in two.
    """
    held = rule.window_at(at)
    if held is None:
        return None
    start, end = held
    alone = Rule(rule.zone, (Window(frozenset({start.weekday()}), start.time(), end.time()),))
    return next(span for span in alone.spans(at - _AROUND, at + _AROUND) if span[0] <= at < span[1])


def next_night(rule: Rule, at: datetime) -> Span | None:
    """Return the next restricted span that begins after this instant, in UTC."""
    return next((span for span in rule.spans(at, at + _AHEAD) if span[0] > at and span[1] < at + _AHEAD), None)


def flagged(circumstances: Circumstances, runs: Sequence[Span], since: datetime, until: datetime) -> list[Flagged]:
    """Return what of these runs of the engine would have been a violation within [since, until), oldest first."""
    restricted = circumstances.restricted(since, until)
    return [Flagged(span, run) for run in runs for span in shared([run], restricted)]


def distribution(started_at: Iterable[datetime], zone: ZoneInfo) -> Distribution:
    """Return when violations begin by the wall clock of a zone; every weekday and hour is there, also with none."""
    local = [instant.astimezone(zone) for instant in started_at]
    weekdays, hours = Counter(at.weekday() for at in local), Counter(at.hour for at in local)
    return Distribution(
        {day: weekdays[number] for number, day in enumerate(Day)}, tuple(hours[hour] for hour in range(_HOURS))
    )
