"""Which night holds an instant, on the nights when clocks change too; and the templates."""

from datetime import UTC, datetime, time, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest

from rules.curfew import Rule, Window
from rules.curfew_questions import distribution, next_night, night_at
from rules.curfew_templates import TEMPLATES
from schemas.curfew import Day

WEEK = list(Day)


def rule(zone: str, *windows: tuple[str, str, str]) -> Rule:
    return Rule(
        ZoneInfo(zone),
        tuple(
            Window(
                frozenset(WEEK.index(Day(day)) for day in days.split()),
                time.fromisoformat(start),
                time.fromisoformat(end),
            )
            for days, start, end in windows
        ),
    )


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def told(span: tuple[datetime, datetime] | None) -> tuple[str, str] | None:
    return span and (f"{span[0]:%m-%d %H:%M}", f"{span[1]:%m-%d %H:%M}")


SATURDAY_NIGHT = ("saturday", "23:00", "05:00")


@pytest.mark.parametrize(
    ("zone", "window", "at", "expected"),
    [
        ("America/New_York", SATURDAY_NIGHT, "2026-03-08T06:30", ("03-08 04:00", "03-08 09:00")),
        ("America/New_York", SATURDAY_NIGHT, "2026-03-08T09:00", None),
        ("America/New_York", SATURDAY_NIGHT, "2026-11-01T09:59", ("11-01 03:00", "11-01 10:00")),
        ("America/New_York", SATURDAY_NIGHT, "2026-03-15T03:00", ("03-15 03:00", "03-15 09:00")),
        # An hour that never shows: the window begins with the first minute that does.
        ("America/New_York", ("sunday", "02:30", "05:00"), "2026-03-08T07:10", ("03-08 07:00", "03-08 09:00")),
        ("America/New_York", ("sunday", "02:00", "03:00"), "2026-03-08T07:00", None),
        # An hour that shows twice holds the window in two pieces.
        ("America/New_York", ("sunday", "00:30", "01:30"), "2026-11-01T05:10", ("11-01 04:30", "11-01 05:30")),
        ("America/New_York", ("sunday", "00:30", "01:30"), "2026-11-01T05:40", None),
        ("America/New_York", ("sunday", "00:30", "01:30"), "2026-11-01T06:10", ("11-01 06:00", "11-01 06:30")),
        ("Australia/Lord_Howe", SATURDAY_NIGHT, "2026-04-04T15:00", ("04-04 12:00", "04-04 18:30")),
        ("Asia/Seoul", ("monday", "21:00", "07:00"), "2026-03-09T22:00", ("03-09 12:00", "03-09 22:00")),
    ],
)
def test_the_night_that_holds_an_instant(
    zone: str, window: tuple[str, str, str], at: str, expected: tuple[str, str] | None
) -> None:
    instant = utc(at)
    expected_inside = expected if at != "2026-03-09T22:00" else None  # 07:00 in Seoul: the end is outside
    assert told(night_at(rule(zone, window), instant)) == expected_inside


def test_of_several_windows_the_night_is_that_of_the_one_that_holds() -> None:
    illinois = rule(
        "America/Chicago",
        ("sunday monday tuesday wednesday thursday", "22:00", "06:00"),
        ("friday saturday", "23:00", "06:00"),
    )
    friday_2230 = utc("2026-03-14T04:30") - timedelta(hours=1)
    assert night_at(illinois, friday_2230) is None
    assert told(next_night(illinois, friday_2230)) == ("03-14 04:00", "03-14 11:00")
    assert told(night_at(illinois, friday_2230 + timedelta(hours=1))) == ("03-14 04:00", "03-14 11:00")


def test_the_next_night_is_never_the_one_that_holds() -> None:
    weekly = rule("UTC", ("monday", "21:00", "23:00"))
    assert told(next_night(weekly, utc("2026-03-09T20:59"))) == ("03-09 21:00", "03-09 23:00")
    for inside in ("2026-03-09T21:00", "2026-03-09T22:59", "2026-03-09T23:00"):
        assert told(next_night(weekly, utc(inside))) == ("03-16 21:00", "03-16 23:00")


def test_violations_count_on_the_weekday_and_in_the_hour_that_the_wall_clock_shows() -> None:
    begun = [utc("2026-03-08T04:30"), utc("2026-03-08T07:30"), utc("2026-11-01T05:30"), utc("2026-11-01T06:30")]
    spread = distribution(begun, ZoneInfo("America/New_York"))
    assert {day: count for day, count in spread.by_weekday.items() if count} == {Day.SATURDAY: 1, Day.SUNDAY: 3}
    assert {hour: count for hour, count in enumerate(spread.by_hour) if count} == {1: 2, 3: 1, 23: 1}
    assert len(spread.by_weekday) == 7
    assert len(spread.by_hour) == 24


def test_there_are_templates_of_ten_states_each_from_a_page_of_the_state_itself_and_with_a_policy_that_lasts() -> None:
    assert len({template.state for template in TEMPLATES}) >= 10
    assert len({template.template_id for template in TEMPLATES}) == len(TEMPLATES)
    for template in TEMPLATES:
        assert template.source.citation
        host = urlsplit(template.source.url).hostname or ""
        assert host.endswith(".gov") or host == "www.mainelegislature.org"
        assert template.policy.timezone == template.timezones[0]
        for zone in template.timezones:
            ZoneInfo(zone)
        nights = [day for days, _, _ in template.policy.windows() for day in days]
        assert sorted(nights) == sorted(Day)  # each night once
