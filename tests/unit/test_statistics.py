"""Rates, means and peaks, by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from api.answers.statistics import response_time
from rules.statistics import mean, peak_days, peak_hours, percentage, percentile, whole_mean

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 0, None),
        (0, 7, 0.0),
        (7, 7, 100.0),
        (123, 125, 98.4),  # the SOS guide's 125 incidents of which 2 are active
        (45, 125, 36.0),
        (44, 45, 97.8),
        (1, 16, 6.3),  # 6.25: halves up
        (1, 3, 33.3),
        (2, 3, 66.7),
    ],
)
def test_percentages_have_one_decimal(part: int, whole: int, expected: float | None) -> None:
    assert percentage(part, whole) == expected


def test_means_of_nothing_are_null() -> None:
    assert mean(0, 0) is None
    assert whole_mean(0, 0) is None
    assert percentile(0, 0) is None


@pytest.mark.parametrize(("total", "count", "expected"), [(17, 4, 4.3), (125, 15, 8.3), (0, 3, 0.0), (9, 2, 4.5)])
def test_means_have_one_decimal(total: int, count: int, expected: float) -> None:
    assert mean(total, count) == expected


@pytest.mark.parametrize(("total", "count", "expected"), [(85_000_000, 1250, 68_000), (3, 2, 2), (4, 3, 1), (10, 6, 2)])
def test_mean_costs_are_whole(total: int, count: int, expected: int) -> None:
    assert whole_mean(total, count) == expected


def test_the_third_of_fifteen_has_eighty_percent_behind() -> None:
    assert percentile(12, 15) == 80


@pytest.mark.parametrize(
    ("by_hour", "expected"),
    [
        ({}, ()),
        ({18: 1}, ("18:00-19:00",)),
        (dict.fromkeys(range(24), 5), ()),  # no hour stands out
        ({18: 5, 19: 5, 20: 5, 21: 5, 6: 4, 7: 4, 8: 4}, ("18:00-22:00", "06:00-09:00")),
        ({22: 3, 23: 3, 0: 3, 1: 3, 12: 9}, ("22:00-02:00", "12:00-13:00")),
        ({23: 2}, ("23:00-00:00",)),
        (dict.fromkeys(range(16), 1), ("00:00-16:00",)),  # exactly 1.5 times the mean
        ({3: 2, 9: 2, 15: 2}, ("03:00-04:00", "09:00-10:00")),  # two at most, of equals the earlier
        (dict.fromkeys(range(24), 2) | {5: 3}, ()),  # 49 in all: 1.47 times the mean
        (dict.fromkeys(range(1, 24), 2) | {5: 3}, ("05:00-06:00",)),  # 47 in all: 1.53 times the mean
    ],
)
def test_hours_that_stand_out(by_hour: dict[int, int], expected: tuple[str, ...]) -> None:
    assert peak_hours({(1, hour): count for hour, count in by_hour.items()}) == expected


def test_an_hour_is_counted_over_all_weekdays() -> None:
    assert peak_hours({(1, 8): 1, (5, 8): 1, (5, 20): 1}) == ("08:00-09:00", "20:00-21:00")


@pytest.mark.parametrize(
    ("by_day", "days", "expected"),
    [
        ({}, 7, ()),
        (dict.fromkeys(range(1, 8), 10), 7, ()),
        ({5: 3, 6: 4, 1: 1}, 7, ("SATURDAY", "FRIDAY")),
        ({1: 2, 2: 2, 3: 2}, 7, ("MONDAY", "TUESDAY")),  # two at most, of equals the earlier
        # From a Monday on, 9 days have two Mondays and two Tuesdays: as many again on these is nothing special.
        ({1: 2, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1}, 9, ()),
        ({1: 2, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1, 7: 1}, 9, ("WEDNESDAY",)),
    ],
)
def test_weekdays_that_stand_out(by_day: dict[int, int], days: int, expected: tuple[str, ...]) -> None:
    times = {(day, 12): count for day, count in by_day.items()}
    assert peak_days(times, since=MONDAY, until=MONDAY + timedelta(days=days)) == expected


def test_a_day_that_only_began_counts_for_what_of_it_lies_in_the_period() -> None:
    # Tuesday 18:00 to Wednesday 18:00: a quarter of it is Tuesday's.
    since = MONDAY + timedelta(days=1, hours=18)
    until = since + timedelta(days=1)
    assert peak_days({(2, 20): 3, (3, 9): 9}, since=since, until=until) == ()
    assert peak_days({(2, 20): 3, (3, 9): 7}, since=since, until=until) == ("TUESDAY",)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, None),
        (0, "0 seconds"),
        (59.4, "59 seconds"),
        (60, "1 minute"),
        (62.9, "1.1 minutes"),
        (90, "1.5 minutes"),
        (120, "2 minutes"),
        (1500, "25 minutes"),
    ],
)
def test_the_sos_guides_response_time(seconds: float | None, words: str | None) -> None:
    assert response_time(seconds) == words
