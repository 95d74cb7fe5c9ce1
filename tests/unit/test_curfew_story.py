"""The curfew's story without a network: which nights it takes, and that each of its checks fails where it has to."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rules.curfew import Rule, Window
from schemas.base import format_instant
from schemas.curfew import CurfewEvent
from schemas.demo import DEMO_CURFEW_VINS, DEMO_FLEET_VINS, DEMO_VINS, NIGHT_WINDOW, NIGHT_ZONES
from simulator import curfew_checks, nights
from simulator.curfew_parts import late_trips
from simulator.nights import CHANGING_ZONES, NEW_YORK, Night
from simulator.stage import StoryFailed

YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 9, 15, 0, tzinfo=UTC)
EVERY_NIGHT = Window(frozenset(range(7)), *map(time.fromisoformat, NIGHT_WINDOW.values()))


def in_the_year(step: timedelta) -> list[datetime]:
    return [YEAR + step * count for count in range(timedelta(days=366) // step)]


# -- Nights


def test_it_is_always_night_somewhere() -> None:
    an_hour = timedelta(hours=1)
    for now in in_the_year(timedelta(minutes=150)):
        assert _night_holds(nights.zone_at_night(now), now - an_hour, now + an_hour), now


def test_two_hours_ago_it_was_night_on_one_of_the_clocks_that_had_a_curfew() -> None:
    for now in in_the_year(timedelta(minutes=110)):
        trips = late_trips(now)
        whole = [zone for zone in NIGHT_ZONES if _night_holds(zone, trips[0][0], trips[-1][1])]
        assert whole, now
        assert all(now - timedelta(hours=2) <= start < stop < now - timedelta(minutes=5) for start, stop in trips)


def _night_holds(zone: str, since: datetime, until: datetime) -> bool:
    return Rule(ZoneInfo(zone), (EVERY_NIGHT,)).spans(since, until) == [(since, until)]


@pytest.mark.parametrize("zone", CHANGING_ZONES)
def test_a_night_is_as_long_as_the_curfew_s_rule_makes_it(zone: str) -> None:
    found = set()
    for day in range(730):
        night = Night(zone, (YEAR + timedelta(days=day)).date())
        rule = Rule(ZoneInfo(zone), (Window(frozenset({night.evening.weekday()}), time(23), time(5)),))
        around = timedelta(hours=12)
        assert rule.spans(night.begins - around, night.ends + around) == [(night.begins, night.ends)]
        found.add(night.lasts)
    assert found == {timedelta(hours=hours) for hours in (5, 6, 7)}


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("2026-11-20T12:00:00Z", [("2026-03-07", 5), ("2026-10-31", 7)]),
        ("2026-11-01T10:00:00Z", [("2026-03-07", 5), ("2026-10-31", 7)]),
        ("2026-11-01T09:59:59Z", [("2026-03-07", 5), ("2025-11-01", 7)]),
        ("2026-03-08T08:59:59Z", [("2025-03-08", 5), ("2025-11-01", 7)]),
    ],
)
def test_the_last_nights_that_new_york_s_clock_made_short_and_long(
    before: str, expected: list[tuple[str, int]]
) -> None:
    found = nights.changed_nights(NEW_YORK, datetime.fromisoformat(before))
    assert [(str(night.evening), night.lasts // timedelta(hours=1)) for night in found] == expected


@pytest.mark.parametrize(
    ("now", "zone", "evening", "hours"),
    [
        ("2026-03-09T15:00:00Z", NEW_YORK, "2026-03-07", 5),
        ("2026-03-14T15:00:00Z", NEW_YORK, "2026-03-07", 5),
        ("2026-03-15T15:00:00Z", NEW_YORK, "2026-03-14", 6),  # older than data may be
        ("2026-03-30T12:00:00Z", "Europe/Berlin", "2026-03-28", 5),
        ("2026-04-06T12:00:00Z", "Australia/Sydney", "2026-04-04", 7),
        ("2026-07-01T12:00:00Z", NEW_YORK, "2026-06-30", 6),
        ("2026-11-02T12:00:00Z", NEW_YORK, "2026-10-31", 7),
    ],
)
def test_the_night_to_drive_is_one_with_a_clock_change_where_there_is_one(
    now: str, zone: str, evening: str, hours: int
) -> None:
    until = datetime.fromisoformat(now) - timedelta(hours=1)
    night = nights.night_to_drive(until - timedelta(days=6, hours=19), until)
    assert (night.zone, str(night.evening), night.lasts) == (zone, evening, timedelta(hours=hours))


def test_on_every_day_there_is_a_night_to_drive_that_is_over_and_not_too_old() -> None:
    for until in in_the_year(timedelta(hours=11)):
        since = until - timedelta(days=6, hours=19)
        night = nights.night_to_drive(since, until)
        assert since <= night.begins < night.ends <= until


def test_every_part_has_a_vehicle_of_its_own() -> None:
    vins = (*DEMO_VINS, *DEMO_FLEET_VINS, *DEMO_CURFEW_VINS)
    assert len(set(vins)) == len(vins) == 2 + 5 + 24


# -- Checks

TRIPS = [(NOW - timedelta(minutes=118), NOW - timedelta(minutes=115)), (NOW - timedelta(minutes=113), NOW)]
LATE = [
    {
        "violationId": f"vio_{number:03d}",
        "timestamp": format_instant(start),
        "endedAt": format_instant(stop),
        "resolution": "ENGINE_STOP",
        "detectedLate": True,
    }
    for number, (start, stop) in enumerate(TRIPS, start=1)
]


def test_two_late_trips_are_two_violations_marked_late() -> None:
    curfew_checks.told_late(LATE, TRIPS)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (LATE[:1], "lists"),
        ([*LATE, LATE[1]], "lists"),
        ([LATE[0], LATE[1] | {"endedAt": None}], "lists"),
        ([LATE[0] | {"timestamp": "2026-03-09T13:02:01Z"}, LATE[1]], "lists"),
        ([LATE[0], LATE[1] | {"detectedLate": False}], "detectedLate of vio_002"),
        ([LATE[0] | {"resolution": "WINDOW_END"}, LATE[1]], "resolution of vio_001"),
    ],
)
def test_anything_else_of_late_trips_fails(wrong: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(StoryFailed, match=told):
        curfew_checks.told_late(wrong, TRIPS)


def event(type_: str = "CURFEW_VIOLATION", priority: str = "LOW", *, late: bool = True) -> CurfewEvent:
    fields = {"eventId": "EVT_001", "type": type_, "eventType": type_, "priority": priority, "violationId": "vio_001"}
    told = {"vin": DEMO_VINS[0], "timestamp": "2026-03-09T13:02:00Z", "data": {"detectedLate": late}}
    return CurfewEvent.model_validate(fields | told)


def test_quiet_events_are_no_alerts() -> None:
    assert curfew_checks.quiet([event(), event("CURFEW_VIOLATION_RESOLVED")], ["vio_001"]) == 2


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([], "did not tell of vio_001"),
        ([event("CURFEW_VIOLATION_RESOLVED")], "did not tell of vio_001"),
        ([event(), event("CURFEW_VIOLATION_ESCALATED", "NORMAL")], "priority of CURFEW_VIOLATION_ESCALATED"),
        ([event(late=False)], "detectedLate of CURFEW_VIOLATION"),
    ],
)
def test_a_fresh_alert_or_silence_fails(events: list[CurfewEvent], told: str) -> None:
    with pytest.raises(StoryFailed, match=told):
        curfew_checks.quiet(events, ["vio_001"])


SHORT = Night(NEW_YORK, datetime(2026, 3, 7, tzinfo=UTC).date())


def explained(end: str, local_end: str) -> dict[str, Any]:
    utc = {"start": "2026-03-08T04:00:00Z", "end": end}
    return {"window": {"utc": utc, "local": {"start": "2026-03-07T23:00:00-05:00", "end": local_end}}}


def test_the_short_night_is_told_in_both_times() -> None:
    curfew_checks.night(explained("2026-03-08T09:00:00Z", "2026-03-08T05:00:00-04:00"), SHORT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": None},
        explained("2026-03-08T10:00:00Z", "2026-03-08T05:00:00-05:00"),  # as if the clock had not been changed
        explained("2026-03-08T09:00:00Z", "2026-03-08T05:00:00-05:00"),  # as if it had for one of the two
    ],
)
def test_a_night_of_another_length_fails(wrong: dict[str, Any]) -> None:
    with pytest.raises(StoryFailed, match="curfew/explain"):
        curfew_checks.night(wrong, SHORT)


def test_a_dry_run_that_flags_another_time_or_sums_wrongly_fails() -> None:
    span = [(SHORT.begins, SHORT.ends)]
    right = {
        "flagged": [{"startTime": "2026-03-08T04:00:00Z", "endTime": "2026-03-08T09:00:00Z"}],
        "minutes": 300,
    }
    curfew_checks.flagged(right, span)
    for wrong in ({"flagged": []}, {"minutes": 360}, {"flagged": right["flagged"] * 2}):  # type: ignore[operator]
        with pytest.raises(StoryFailed, match="curfew/dry-run"):
            curfew_checks.flagged(right | wrong, span)


@pytest.mark.parametrize(
    ("at", "holds"),
    [
        ("2026-03-09T15:00:00Z", True),
        ("2026-03-09T15:00:01.500Z", True),
        ("2026-03-09T14:59:54.900Z", False),
        ("2026-03-09T15:00:07.100Z", False),
        ("2027-03-09T15:00:01Z", False),
        (None, False),
    ],
)
def test_with_a_wrong_clock_only_the_time_of_receiving_will_do(at: str | None, holds: bool) -> None:
    def check() -> None:
        curfew_checks.received("the violation", at, NOW, NOW + timedelta(seconds=2))

    if holds:
        check()
    else:
        with pytest.raises(StoryFailed, match="time of receiving"):
            check()


@pytest.mark.parametrize(("minutes_ago", "left"), [((), 3), ((61, 59), 2), ((59, 30, 1), 0), ((5, 4, 3, 2), 0)])
def test_three_corrections_of_a_clock_an_hour(minutes_ago: tuple[int, ...], left: int) -> None:
    issued = [{"issuedAt": format_instant(NOW - timedelta(minutes=ago))} for ago in minutes_ago]
    assert curfew_checks.corrections_left(issued, NOW) == left


END = datetime(2026, 3, 9, 22, tzinfo=UTC)
TAKEN = {"outcome": "EXECUTED", "ackStatus": "EXECUTED", "parameters": {"until": "2026-03-09T22:00:00Z"}}
REFUSED = {"outcome": "REJECTED", "ackReason": "the engine is running"}
VOID = {"outcome": "WITHDRAWN", "ackStatus": None, "expiresAt": "2026-03-09T14:59:58Z"}


def test_a_start_block_is_taken_refused_or_void() -> None:
    curfew_checks.block_taken(TAKEN, END)
    curfew_checks.block_refused(REFUSED)
    curfew_checks.block_void(VOID, NOW)
    curfew_checks.block_void(VOID | {"outcome": "EXPIRED"}, NOW)


@pytest.mark.parametrize(
    "check",
    [
        lambda: curfew_checks.block_taken(TAKEN | {"outcome": "EXPIRED"}, END),
        lambda: curfew_checks.block_taken(TAKEN | {"ackStatus": "ACCEPTED"}, END),
        lambda: curfew_checks.block_taken(TAKEN, END + timedelta(hours=1)),
        lambda: curfew_checks.block_refused(REFUSED | {"outcome": "EXECUTED"}),
        lambda: curfew_checks.block_refused(REFUSED | {"ackReason": None}),
        lambda: curfew_checks.block_void(VOID | {"ackStatus": "EXECUTED"}, NOW),
        lambda: curfew_checks.block_void(VOID | {"outcome": "PENDING"}, NOW),
        lambda: curfew_checks.block_void(VOID | {"expiresAt": "2026-03-09T15:00:01Z"}, NOW),
    ],
)
def test_any_other_end_of_a_start_block_fails(check: Callable[[], None]) -> None:
    with pytest.raises(StoryFailed, match="start block"):
        check()
