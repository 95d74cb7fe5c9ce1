"""The curfew on the nights when clocks change, and against an oracle that looks at every minute."""

from datetime import UTC, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.curfew import (
    Circumstances,
    Observation,
    PolicyVersion,
    Resolution,
    Rule,
    Violation,
    Window,
    engine_runs,
    severity,
    violations,
)
from rules.spans import Span, merge, shared, without
from schemas.curfew import Severity

DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


def rule(zone: str, days: str, start: str, end: str) -> Rule:
    weekdays = frozenset(DAYS.index(day) for day in days.split())
    return Rule(ZoneInfo(zone), (Window(weekdays, time.fromisoformat(start), time.fromisoformat(end)),))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def minutes(spans: list[Span]) -> float:
    return sum((end - start).total_seconds() for start, end in spans) / 60


@pytest.mark.parametrize(
    ("zone", "days", "start", "end", "around", "expected_minutes"),
    [
        # New York, Saturday 23:00-05:00: the clock goes forward on Sunday 2026-03-08 and back on 2026-11-01.
        ("America/New_York", "saturday", "23:00", "05:00", "2026-03-08", 5 * 60),
        ("America/New_York", "saturday", "23:00", "05:00", "2026-11-01", 7 * 60),
        ("America/New_York", "saturday", "23:00", "05:00", "2026-03-15", 6 * 60),
        # A window inside the hour that never shows, and one over the hour that shows twice.
        ("America/New_York", "sunday", "02:00", "03:00", "2026-03-08", 0),
        ("America/New_York", "sunday", "02:30", "05:00", "2026-03-08", 2 * 60),
        ("America/New_York", "sunday", "01:00", "02:00", "2026-11-01", 2 * 60),
        ("America/New_York", "sunday", "00:30", "01:30", "2026-11-01", 60 + 30),
        ("America/New_York", "sunday", "01:30", "04:00", "2026-11-01", 30 + 30 + 2 * 60),
        # No daylight saving; half an hour of it; a zone of 5:45.
        ("Asia/Seoul", "saturday", "21:00", "07:00", "2026-03-08", 10 * 60),
        ("Australia/Lord_Howe", "saturday", "23:00", "05:00", "2026-04-05", 6 * 60 + 30),
        ("Australia/Lord_Howe", "saturday", "23:00", "05:00", "2026-10-04", 6 * 60 - 30),
        ("Asia/Kathmandu", "saturday", "22:00", "06:00", "2026-03-08", 8 * 60),
        # Apia had no Friday 2011-12-30: Thursday's night ends at midnight, Friday's is its tail on Saturday.
        ("Pacific/Apia", "thursday", "21:00", "07:00", "2011-12-30", 3 * 60),
        ("Pacific/Apia", "friday", "21:00", "07:00", "2011-12-30", 7 * 60),
        ("Pacific/Apia", "friday", "08:00", "20:00", "2011-12-30", 0),
    ],
)
def test_a_window_lasts_as_long_as_the_clock_on_the_wall_shows_it(
    zone: str, days: str, start: str, end: str, around: str, expected_minutes: int
) -> None:
    middle = utc(f"{around}T12:00")
    spans = rule(zone, days, start, end).spans(middle - timedelta(days=3), middle + timedelta(days=3))
    assert minutes(spans) == expected_minutes


@pytest.mark.parametrize(
    ("wall", "inside"),
    [
        ("2026-03-09T02:00", False),  # Monday: its own window has not begun, Sunday has none
        ("2026-03-09T20:59", False),
        ("2026-03-09T21:00", True),
        ("2026-03-10T02:00", True),
        ("2026-03-10T06:59", True),
        ("2026-03-10T07:00", False),
        ("2026-03-10T21:00", False),
    ],
)
def test_the_day_is_that_of_the_windows_start_and_the_end_is_outside(wall: str, inside: bool) -> None:
    monday = rule("Asia/Seoul", "monday", "21:00", "07:00")
    instant = datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo("Asia/Seoul"))
    assert (monday.window_at(instant) is not None) is inside


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        rule("Asia/Seoul", "monday", "21:00", "07:00").window_at(datetime(2026, 3, 9))


@pytest.mark.parametrize(
    ("lasted", "expected"),
    [(0, Severity.LOW), (14, Severity.LOW), (15, Severity.MEDIUM), (59, Severity.MEDIUM), (60, Severity.HIGH)],
)
def test_severity_grows_with_the_minutes(lasted: int, expected: Severity) -> None:
    assert severity(lasted) == expected


NIGHT = rule("UTC", "monday", "21:00", "23:00")
MONDAY = "2026-03-09T"


def circumstances(**changes: tuple[Span, ...]) -> Circumstances:
    version = PolicyVersion(utc("2026-01-01T00:00"), NIGHT)
    consents = changes.pop("consents", ((utc("2026-01-01T00:00"), FOREVER),))
    return Circumstances((version,), consents, changes.pop("exceptions", ()), changes.pop("emergencies", ()))


def seen(*observations: tuple[str, bool]) -> list[Observation]:
    return [Observation(utc(MONDAY + at), running) for at, running in observations]


def found(
    observations: list[Observation], *, now: str = "23:30", **changes: tuple[Span, ...]
) -> list[tuple[str, str | None, Resolution | None]]:
    def clock(at: datetime | None) -> str | None:
        return at.strftime("%H:%M") if at else None

    result = violations(circumstances(**changes), observations, since=utc(MONDAY + "00:00"), now=utc(MONDAY + now))
    return [(str(clock(v.started_at)), clock(v.ended_at), v.resolution) for v in result]


def span(start: str, end: str) -> tuple[Span, ...]:
    return ((utc(MONDAY + start), utc(MONDAY + end)),)


def test_a_start_inside_the_window_is_a_violation_until_the_stop() -> None:
    assert found(seen(("21:30", True), ("22:15", False))) == [("21:30", "22:15", Resolution.ENGINE_STOP)]


def test_a_window_that_opens_while_the_engine_runs_is_a_violation_until_it_closes() -> None:
    assert found(seen(("20:00", True), ("23:20", False))) == [("21:00", "23:00", Resolution.WINDOW_END)]


def test_while_the_engine_runs_inside_the_window_the_violation_goes_on() -> None:
    assert found(seen(("21:30", True)), now="22:00") == [("21:30", None, None)]


def test_an_exception_ends_it_and_its_end_begins_another() -> None:
    assert found(seen(("21:10", True)), exceptions=span("21:30", "22:00"), now="22:10") == [
        ("21:10", "21:30", Resolution.EXCEPTION),
        ("22:00", None, None),
    ]


def test_an_open_sos_ends_it() -> None:
    assert found(seen(("21:10", True)), emergencies=span("21:40", "23:30"), now="22:10") == [
        ("21:10", "21:40", Resolution.SOS)
    ]


def test_withdrawn_consent_ends_it_and_without_consent_there_is_none() -> None:
    assert found(seen(("21:10", True)), consents=span("00:00", "21:40"), now="22:10") == [
        ("21:10", "21:40", Resolution.CONSENT_WITHDRAWN)
    ]
    assert found(seen(("21:10", True)), consents=()) == []


def test_the_policy_in_force_at_the_events_own_time_decides() -> None:
    later = PolicyVersion(utc(MONDAY + "22:00"), None)
    of_two = Circumstances((*circumstances().versions, later), circumstances().consents, (), ())
    assert violations(of_two, seen(("21:30", True)), since=utc(MONDAY + "00:00"), now=utc(MONDAY + "22:30")) == [
        Violation(utc(MONDAY + "21:30"), utc(MONDAY + "22:00"), Resolution.POLICY_CHANGED)
    ]


def test_two_sights_at_one_instant_give_the_same_runs_in_any_order() -> None:
    both = seen(("21:30", True), ("21:30", False))
    assert engine_runs(both, utc(MONDAY + "22:00")) == engine_runs(both[::-1], utc(MONDAY + "22:00")) == []


# The oracle walks through every minute and asks plain questions of it.

ZONES = ["America/New_York", "Asia/Seoul", "Australia/Lord_Howe", "Europe/London", "Asia/Kathmandu", "UTC"]
BEGIN = utc("2026-03-06T00:00")
LENGTH_MIN = 3 * 24 * 60
minute = st.integers(0, LENGTH_MIN)


def at(number: int) -> datetime:
    return BEGIN + timedelta(minutes=number)


spans_of_minutes = st.lists(st.tuples(minute, minute), max_size=3)
windows = st.builds(
    lambda days, start, length: Window(
        frozenset(days), time(start // 60, start % 60), time((start + length) % 1440 // 60, (start + length) % 60)
    ),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1439),
)
rules = st.builds(Rule, st.sampled_from(ZONES).map(ZoneInfo), st.lists(windows, min_size=1, max_size=2).map(tuple))
histories = st.lists(st.tuples(minute, st.booleans()), max_size=8)


def in_any(number: int, spans: list[tuple[int, int]]) -> bool:
    return any(a <= number < b for a, b in spans)


def oracle_inside(policy: Rule, number: int) -> bool:
    wall = at(number).astimezone(policy.zone)
    shown = wall.hour * 60 + wall.minute
    for window in policy.windows:
        start = window.start.hour * 60 + window.start.minute
        end = window.end.hour * 60 + window.end.minute
        today, yesterday = wall.weekday() in window.days, (wall.weekday() - 1) % 7 in window.days
        if start < end and today and start <= shown < end:
            return True
        if start >= end and ((today and shown >= start) or (yesterday and shown < end)):
            return True
    return False


def oracle_running(history: list[tuple[int, bool]], number: int) -> bool:
    before = [(at_, running) for at_, running in history if at_ <= number]
    last = max((at_ for at_, _ in before), default=None)
    return last is not None and all(running for at_, running in before if at_ == last)


@settings(max_examples=150, deadline=None)
@given(rules, rules, minute, histories, spans_of_minutes, spans_of_minutes, spans_of_minutes)
def test_the_engine_equals_a_minute_by_minute_oracle(
    first: Rule,
    second: Rule,
    changed: int,
    history: list[tuple[int, bool]],
    exceptions: list[tuple[int, int]],
    emergencies: list[tuple[int, int]],
    consents: list[tuple[int, int]],
) -> None:
    expected = {
        number
        for number in range(LENGTH_MIN)
        if oracle_running(history, number)
        and oracle_inside(second if number >= changed else first, number)
        and in_any(number, consents)
        and not in_any(number, exceptions)
        and not in_any(number, emergencies)
    }

    def spans(pairs: list[tuple[int, int]]) -> tuple[Span, ...]:
        return tuple((at(a), at(b)) for a, b in pairs)

    state = Circumstances(
        (PolicyVersion(BEGIN - timedelta(days=9), first), PolicyVersion(at(changed), second)),
        spans(consents),
        spans(exceptions),
        spans(emergencies),
    )
    observations = [Observation(at(number), running) for number, running in history]
    end = at(LENGTH_MIN)
    result = violations(state, observations, since=BEGIN, now=end)
    got = {
        int((v.started_at - BEGIN).total_seconds() // 60) + step
        for v in result
        for step in range(int(((v.ended_at or end) - v.started_at).total_seconds() // 60))
    }
    assert got == expected
    Random(len(history)).shuffle(observations)
    assert violations(state, observations * 2, since=BEGIN, now=end) == result


pairs = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6)


@given(pairs, pairs)
def test_spans_behave_as_sets_of_minutes(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    def as_set(spans: list[tuple[int, int]]) -> set[int]:
        return {number for a, b in spans for number in range(a, b)}

    def back(spans: list[Span]) -> set[int]:
        return as_set(
            [(int((a - BEGIN).total_seconds() // 60), int((b - BEGIN).total_seconds() // 60)) for a, b in spans]
        )

    one, two = [(at(a), at(b)) for a, b in left], [(at(a), at(b)) for a, b in right]
    assert back(merge(one)) == as_set(left)
    assert back(shared(one, two)) == as_set(left) & as_set(right)
    assert back(without(one, two)) == as_set(left) - as_set(right)
