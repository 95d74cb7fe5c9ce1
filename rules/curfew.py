"""The curfew: which instants a policy restricts, when the engine ran in them, and what violation that is.

Pure, and a function of sets: whatever order messages come in, the same messages give the same violations.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

from rules.spans import Span, merge, shared, without
from schemas.curfew import Severity

_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` on each of these weekdays (0 is Monday) until `end`, of the next day where that is not later."""

    days: frozenset[int]
    start: time
    end: time

    def holds(self, day: date) -> tuple[datetime, datetime] | None:
        """Return the window that begins on this day, as wall-clock times [start, end); None on other weekdays."""
        if day.weekday() not in self.days:
            return None
        last_day = day if self.start < self.end else day + _DAY
        return datetime.combine(day, self.start), datetime.combine(last_day, self.end)


@dataclass(frozen=True, slots=True)
class Rule:
    """Windows on the wall clock of one zone; several are a union."""

    zone: ZoneInfo
    windows: tuple[Window, ...]

    def window_at(self, instant: datetime) -> tuple[datetime, datetime] | None:
        """Return the wall-clock window that holds this instant, or None outside. Raises ValueError if naive.

        An instant is inside when what the clock on the wall shows is: an hour that is skipped never shows, one that is
        repeated shows twice.
        """
        if instant.tzinfo is None:
            raise ValueError("expected an instant with an offset")
        wall = instant.astimezone(self.zone).replace(tzinfo=None)
        for day in (wall.date(), wall.date() - _DAY):
            for window in self.windows:
                held = window.holds(day)
                if held is not None and held[0] <= wall < held[1]:
                    return held
        return None

    def spans(self, since: datetime, until: datetime) -> list[Span]:
        """Return when the rule restricts within [since, until), in UTC."""
        # Between two neighbouring edges the answer can't change: edges are where the wall clock passes the beginning or
        # end of a window, in either reading of a repeated hour, and where the clock is set.
        edges = {since, until}
        zone = since.tzinfo
        day = since.astimezone(self.zone).date() - 2 * _DAY
        last = until.astimezone(self.zone).date() + _DAY
        while day <= last:
            for window in self.windows:
                for wall in window.holds(day) or ():
                    edges |= {wall.replace(tzinfo=self.zone, fold=fold).astimezone(zone) for fold in (0, 1)}
            day += _DAY
        edges |= set(clock_changes(self.zone, since, until))
        inside = sorted(edge for edge in edges if since <= edge <= until)
        return merge((a, b) for a, b in pairwise(inside) if self.window_at(a) is not None)


def clock_changes(zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
    """Return the instants within [since, until) at which the zone's offset changes."""
    changes = []
    step = timedelta(hours=6)  # no zone has ever changed twice within as little
    early = since
    while early < until:
        late = min(early + step, until)
        if _offset(zone, early) != _offset(zone, late):
            changes.append(_bisect(zone, early, late))
        early = late
    return changes


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta | None:
    return instant.astimezone(zone).utcoffset()


def _bisect(zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    before = _offset(zone, early)
    while late - early > timedelta(microseconds=1):
        middle = early + (late - early) / 2
        if _offset(zone, middle) == before:
            early = middle
        else:
            late = middle
    return late


class Resolution(StrEnum):
    """What ended a violation."""

    ENGINE_STOP = "ENGINE_STOP"
    WINDOW_END = "WINDOW_END"
    EXCEPTION = "EXCEPTION"
    SOS = "SOS"
    CONSENT_WITHDRAWN = "CONSENT_WITHDRAWN"
    POLICY_CHANGED = "POLICY_CHANGED"


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A policy from the instant it was set until the next one was; no rule where it was disabled."""

    valid_from: datetime
    rule: Rule | None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Everything that decides whether driving is restricted. Spans that last still end in the far future."""

    versions: tuple[PolicyVersion, ...]
    consents: tuple[Span, ...]
    exceptions: tuple[Span, ...]
    emergencies: tuple[Span, ...]

    def version_at(self, instant: datetime) -> PolicyVersion | None:
        """Return the policy in force at an instant."""
        known = [version for version in self.versions if version.valid_from <= instant]
        return max(known, key=lambda version: version.valid_from, default=None)

    def restricted(self, since: datetime, until: datetime) -> list[Span]:
        """Return when driving is a violation within [since, until): policy and consent, no exception, no open SOS."""
        versions = sorted(self.versions, key=lambda version: version.valid_from)
        ends = [version.valid_from for version in versions[1:]] + [until]
        windows: list[Span] = []
        for version, end in zip(versions, ends, strict=True):
            begin, end = max(version.valid_from, since), min(end, until)  # noqa: PLW2901 - the same bound, clipped
            if version.rule is not None and begin < end:
                windows += version.rule.spans(begin, end)
        return without(without(shared(windows, self.consents), self.exceptions), self.emergencies)


@dataclass(frozen=True, slots=True)
class Observation:
    """The engine was seen running, or not, at an instant."""

    at: datetime
    running: bool


@dataclass(frozen=True, slots=True)
class Violation:
    """The engine ran while driving was restricted; `ended_at` and `resolution` are None while it still does."""

    started_at: datetime
    ended_at: datetime | None
    resolution: Resolution | None

    def minutes(self, now: datetime) -> int:
        """Return its whole minutes so far; 0 where it begins ahead of our clock."""
        return max(0, int(((self.ended_at or now) - self.started_at).total_seconds() // 60))


SEVERITY_RISES_AFTER = (timedelta(minutes=15), timedelta(minutes=60))


def severity(minutes: int) -> Severity:
    """Return LOW below 15 minutes, MEDIUM below 60, then HIGH."""
    if minutes < 15:  # noqa: PLR2004 - the design's bounds
        return Severity.LOW
    return Severity.MEDIUM if minutes < 60 else Severity.HIGH  # noqa: PLR2004 - likewise


def engine_runs(observations: Iterable[Observation], until: datetime) -> list[Span]:
    """Return when the engine ran, from the first sight of it running to the next of it not; the last run may last on.

    Two sights at one instant: not running wins, so that no order of arrival matters.
    """
    seen = sorted({(o.at, o.running) for o in observations if o.at <= until})
    spans: list[Span] = []
    began: datetime | None = None
    for at, running in seen:
        stopped_at_once = (at, False) in seen if running and began is None else False
        if running and began is None and not stopped_at_once:
            began = at
        elif not running and began is not None:
            spans.append((began, at))
            began = None
    if began is not None:
        spans.append((began, until))
    return merge(spans)


def violations(
    circumstances: Circumstances, observations: Sequence[Observation], *, since: datetime, now: datetime
) -> list[Violation]:
    """Return the violations within [since, now), oldest first; the last one may be going on."""
    # A little beyond, so that a restriction that goes on is not taken to end with what is looked at.
    restricted = circumstances.restricted(since, now + _INSTANT)
    found = []
    for started_at, ended_at in shared(engine_runs(observations, now), restricted):
        if ended_at >= now and _runs_on(observations):
            found.append(Violation(started_at, None, None))
        else:
            found.append(Violation(started_at, ended_at, _resolution(circumstances, restricted, ended_at)))
    return found


def _runs_on(observations: Sequence[Observation]) -> bool:
    last = max((o.at for o in observations), default=None)
    return last is not None and all(o.running for o in observations if o.at == last)


def _resolution(circumstances: Circumstances, restricted: Sequence[Span], ended_at: datetime) -> Resolution:
    # Where the engine stops at the very instant the restriction ends, the restriction's end is what ended it: that was
    # so before anybody knew of the stop.
    if all(end != ended_at for _, end in restricted):
        return Resolution.ENGINE_STOP
    if any(start == ended_at for start, _ in circumstances.emergencies):
        return Resolution.SOS
    if any(start == ended_at for start, _ in circumstances.exceptions):
        return Resolution.EXCEPTION
    if any(end == ended_at for _, end in circumstances.consents):
        return Resolution.CONSENT_WITHDRAWN
    if any(version.valid_from == ended_at for version in circumstances.versions):
        return Resolution.POLICY_CHANGED
    return Resolution.WINDOW_END
