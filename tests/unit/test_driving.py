"""How simulated cars move and when: what a vehicle says of itself must agree with itself."""

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.vehicle import EngineEvent, EngineStatus, TransmissionStatus
from simulator import driving, habits, streets
from simulator.driving import Moment
from simulator.habits import Traffic
from simulator.streets import CITIES, City

seeds = st.integers(min_value=0, max_value=2**32)
durations_s = st.floats(min_value=5, max_value=400)
steps_s = st.floats(min_value=0.2, max_value=5)
cities = st.sampled_from(CITIES)

AVENUE_KPH = 80 * 1.05
briefly = settings(deadline=None, max_examples=50)


def a_trip(seed: int, city: City, duration_s: float = 120.0, step_s: float = 1.0) -> list[Moment]:
    rng = Random(seed)
    return list(driving.trip(rng, driving.parked_somewhere(rng, city), duration_s=duration_s, step_s=step_s))


def moved_km(before: Moment, after: Moment) -> tuple[float, float]:
    """Return how far it went and in which direction, by the coordinates alone."""
    latitude = math.radians((before.state.latitude + after.state.latitude) / 2)
    north_km = (after.state.latitude - before.state.latitude) * 111.32
    east_km = (after.state.longitude - before.state.longitude) * 111.32 * math.cos(latitude)
    return math.hypot(north_km, east_km), math.degrees(math.atan2(east_km, north_km)) % 360


def between_deg(one: float, other: float) -> float:
    return abs((one - other + 180) % 360 - 180)


@briefly
@given(seeds, cities, durations_s, steps_s)
def test_a_trip_is_cranked_started_driven_and_stopped_where_it_stands(
    seed: int, city: City, duration_s: float, step_s: float
) -> None:
    cranked, begun, *between, last = a_trip(seed, city, duration_s, step_s)
    assert cranked.state.engine_status is EngineStatus.CRANKING
    assert (cranked.event, begun.event, last.event) == (None, EngineEvent.START, EngineEvent.STOP)
    assert cranked.state.speed_kph == begun.state.speed_kph == last.state.speed_kph == 0
    assert all(moment.event is None for moment in between)
    assert all(moment.state.engine_status is EngineStatus.ON for moment in [begun, *between])
    assert all(moment.state.transmission_status is TransmissionStatus.DRIVE for moment in between)
    assert last.state.engine_status is EngineStatus.OFF
    assert last.state.transmission_status is TransmissionStatus.PARK
    if between:
        assert between[-1].state.speed_kph == pytest.approx(0, abs=0.001)
        assert last.state.odometer_km == between[-1].state.odometer_km
    assert last.elapsed_s <= max(duration_s, 1 + 2 * step_s) + 1e-6


@briefly
@given(seeds, cities, durations_s, st.floats(min_value=0.2, max_value=1))
def test_the_odometer_grows_by_speed_times_time(seed: int, city: City, duration_s: float, step_s: float) -> None:
    for before, after in pairwise(a_trip(seed, city, duration_s, step_s)):
        hours = (after.elapsed_s - before.elapsed_s) / 3600
        driven_km = (before.state.speed_kph + after.state.speed_kph) / 2 * hours
        assert after.state.odometer_km - before.state.odometer_km == pytest.approx(driven_km, abs=1e-6)


@briefly
@given(seeds, cities, durations_s, steps_s)
def test_the_position_moves_as_far_as_the_odometer_and_along_the_heading(
    seed: int, city: City, duration_s: float, step_s: float
) -> None:
    for before, after in pairwise(a_trip(seed, city, duration_s, step_s)):
        driven_km = after.state.odometer_km - before.state.odometer_km
        straight_km, direction = moved_km(before, after)
        # A degree of longitude is taken as long as at the city's center: 1 % at its edge.
        assert straight_km <= driven_km * 1.01 + 1e-6
        if step_s <= 1:  # at most one corner, cut in the middle
            turn = math.radians(between_deg(before.state.heading, after.state.heading))
            assert straight_km >= driven_km * math.cos(turn / 2) * 0.99 - 1e-6
        if step_s <= 1 and before.state.heading == after.state.heading and driven_km > 0.001:
            assert straight_km == pytest.approx(driven_km, rel=0.01)
            assert between_deg(direction, after.state.heading) < 1


@briefly
@given(seeds, cities)
def test_a_car_turns_only_at_corners_and_slows_down_for_them(seed: int, city: City) -> None:
    for before, after in pairwise(a_trip(seed, city, 300, 1.0)[2:]):
        if between_deg(before.state.heading, after.state.heading) > 25:
            assert min(before.state.speed_kph, after.state.speed_kph) < 35
            corner = streets.nearest(city, after.state.latitude, after.state.longitude)
            east_m, north_m = streets.place(city, corner)
            latitude, longitude = streets.coordinates(city, east_m, north_m)
            assert abs(latitude - after.state.latitude) < 0.0005
            assert abs(longitude - after.state.longitude) < 0.0008


@briefly
@given(seeds, cities, durations_s, st.floats(min_value=0.2, max_value=1))
def test_speed_changes_no_faster_than_a_car_can(seed: int, city: City, duration_s: float, step_s: float) -> None:
    for before, after in pairwise(a_trip(seed, city, duration_s, step_s)):
        change_mps2 = (after.state.speed_kph - before.state.speed_kph) / 3.6 / (after.elapsed_s - before.elapsed_s)
        assert -3.001 <= change_mps2 <= 2.501
        assert 0 <= after.state.speed_kph <= AVENUE_KPH + 0.001


@briefly
@given(seeds, cities, durations_s, steps_s)
def test_fuel_falls_with_the_way_and_the_battery_is_charged_while_the_engine_runs(
    seed: int, city: City, duration_s: float, step_s: float
) -> None:
    moments = a_trip(seed, city, duration_s, step_s)
    for before, after in pairwise(moments):
        driven_km = after.state.odometer_km - before.state.odometer_km
        burnt = before.state.fuel_level - after.state.fuel_level
        idle = (after.elapsed_s - before.elapsed_s) * driving.IDLE_FUEL_PERCENT_PER_S
        assert 0 <= burnt <= driven_km * driving.FUEL_PERCENT_PER_KM + idle + 1e-9
        assert burnt >= min(driven_km * driving.FUEL_PERCENT_PER_KM, before.state.fuel_level) - 1e-9
        assert after.state.charge >= before.state.charge
    for moment in moments:
        match moment.state.engine_status:
            case EngineStatus.CRANKING:
                assert moment.state.battery_voltage < 11
            case EngineStatus.ON:
                assert moment.state.battery_voltage > 13.5
            case _:
                assert 11.7 < moment.state.battery_voltage < 12.8


@briefly
@given(seeds, st.floats(min_value=0, max_value=1), st.floats(min_value=0, max_value=100))
def test_a_low_battery_shows_its_code_and_an_empty_tank_is_filled_before_a_trip(
    seed: int, charge: float, fuel: float
) -> None:
    rng = Random(seed)
    parked = replace(driving.parked_somewhere(rng), charge=charge, fuel_level=fuel)
    moments = list(driving.trip(rng, parked, duration_s=20))
    assert {moment.state.dtc_codes for moment in moments} == {moments[0].state.dtc_codes}
    assert (driving.LOW_VOLTAGE_CODE in moments[0].state.dtc_codes) is (charge < driving.LOW_CHARGE)
    assert (moments[0].state.fuel_level == fuel) is (fuel >= driving.RESERVE_PERCENT)


def test_faults_come_stay_for_some_trips_and_are_repaired() -> None:
    rng = Random(5)
    state, with_faults, trips = driving.parked_somewhere(rng), 0, 1000
    for _ in range(trips):
        *_, last = driving.trip(rng, state, duration_s=5)
        state = replace(last.state, charge=0.9)
        with_faults += bool(state.dtc_codes)
    assert 0.03 < with_faults / trips < 0.3


@settings(deadline=None, max_examples=25)
@given(seeds, cities)
def test_a_trip_to_a_corner_ends_there(seed: int, city: City) -> None:
    rng = Random(seed)
    goal = streets.somewhere(rng)
    *_, last = driving.trip(rng, driving.parked_somewhere(rng, city), to=goal)
    latitude, longitude = streets.coordinates(city, *streets.place(city, goal))
    assert latitude == pytest.approx(last.state.latitude, abs=0.0001)
    assert longitude == pytest.approx(last.state.longitude, abs=0.0001)


def test_a_trip_of_a_minute_goes_somewhere() -> None:
    moments = a_trip(7, streets.SEOUL, 60)
    assert moments[-1].elapsed_s == 60
    assert 0.2 < moments[-1].state.odometer_km - moments[0].state.odometer_km < 1.5


# -- When


MONDAY = date(2026, 3, 9)


def departures_of_a_week(residents: int = 300) -> Counter[tuple[int, int]]:
    """Return how many leave, by local weekday and hour."""
    found: Counter[tuple[int, int]] = Counter()
    for number in range(residents):
        city = CITIES[number % len(CITIES)]
        who = habits.resident(Random(number), city)
        for ahead in range(7):
            for one in habits.departures(f"{number}", who, MONDAY + timedelta(days=ahead)):
                local = one.at.astimezone(ZoneInfo(city.zone))
                found[local.weekday(), local.hour] += 1
    return found


def test_people_drive_to_work_in_the_morning_and_back_in_the_evening_but_not_at_the_weekend() -> None:
    left = departures_of_a_week()
    for weekday in range(5):
        rush = sum(left[weekday, hour] for hour in (6, 7, 8)), sum(left[weekday, hour] for hour in (16, 17, 18, 19))
        night = sum(left[weekday, hour] for hour in (0, 1, 2, 3, 4))
        assert min(rush) > 200 > 10 * night
    for weekday in (5, 6):
        assert sum(left[weekday, hour] for hour in (6, 7, 8)) == 0
        assert sum(left[weekday, hour] for hour in range(9, 20)) > 200


@pytest.mark.parametrize("zone_city", CITIES, ids=[city.name for city in CITIES])
def test_departures_keep_to_the_wall_clock_when_the_clock_is_changed(zone_city: City) -> None:
    who = habits.Resident(zone_city, (0, 0), (5, 5), timedelta(hours=8), timedelta(hours=18))
    for day in (date(2026, 3, 8), date(2026, 3, 29), date(2026, 11, 1), date(2026, 4, 5), MONDAY):
        found = habits.departures("1", who, day)
        assert found == sorted(found, key=lambda one: one.at)
        assert found == habits.departures("1", who, day)
        for one in found:
            local = one.at.astimezone(ZoneInfo(zone_city.zone))
            assert local.hour >= 6 or local.date() > day


@settings(deadline=None, max_examples=15)
@given(seeds, st.sampled_from(list(Traffic)), cities)
def test_a_life_goes_on_in_time_and_never_jumps(seed: int, traffic: Traffic, city: City) -> None:
    began = datetime(2026, 3, 9, 7, 30, tzinfo=ZoneInfo(city.zone)).astimezone(UTC)
    moments = list(islice(habits.life(f"{seed}", city, began, step_s=2.0, traffic=traffic), 2000))
    assert moments[0].elapsed_s == 0
    for before, after in pairwise(moments):
        assert 0.9 <= after.elapsed_s - before.elapsed_s <= 2.000001
        driven_km = after.state.odometer_km - before.state.odometer_km
        assert 0 <= driven_km < 0.06
        assert moved_km(before, after)[0] <= driven_km * 1.01 + 1e-6
    events = [moment.event for moment in moments if moment.event is not None]
    assert events == [EngineEvent.START, EngineEvent.STOP] * (len(events) // 2) + events[len(events) // 2 * 2 :]
    again = islice(habits.life(f"{seed}", city, began, step_s=2.0, traffic=traffic), 2000)
    assert moments == list(again)


def test_constant_traffic_drives_at_any_hour() -> None:
    began = datetime(2026, 3, 9, 3, 0, tzinfo=ZoneInfo("Asia/Seoul")).astimezone(UTC)
    moments = list(islice(habits.life("1", streets.SEOUL, began, step_s=1.0, traffic=Traffic.CONSTANT), 900))
    running = sum(moment.state.engine_status is not EngineStatus.OFF for moment in moments)
    assert running / len(moments) > 0.7
