"""Which instant counts as the event's."""

from datetime import UTC, datetime, timedelta

import pytest

from rules.clock import EventTime, event_time

RECEIVED = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("reported_after_s", "suspect", "late"),
    [
        (0, False, False),
        (60, False, False),
        (60.001, True, False),
        (365 * 86_400, True, False),
        (-300, False, False),
        (-300.001, False, True),
        (-7 * 86_400, False, True),
        (-7 * 86_400 - 0.001, True, False),
    ],
)
def test_the_vehicles_time_counts_where_it_can_be_believed(reported_after_s: float, suspect: bool, late: bool) -> None:
    reported = RECEIVED + timedelta(seconds=reported_after_s)
    expected = EventTime(RECEIVED if suspect else reported, clock_suspect=suspect, detected_late=late)
    assert event_time(reported, RECEIVED) == expected


def test_without_a_report_the_time_of_receiving_counts() -> None:
    assert event_time(None, RECEIVED) == EventTime(RECEIVED, clock_suspect=True, detected_late=False)
