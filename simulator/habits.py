"""When a car is driven: to work and back and for errands, by hour and weekday of the city's own clock. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from random import Random
from zoneinfo import ZoneInfo

from simulator import driving, streets
from simulator.driving import Moment, VehicleState
from simulator.streets import City, Corner

_SATURDAY = 5
_JUST_NOW = timedelta(minutes=15)
"""Who left within this time before a run begins leaves as it begins."""
_PAUSE_S = (5.0, 30.0)
_TRIP_S = (60.0, 300.0)


class Traffic(StrEnum):
    """How much is driven."""

    COMMUTE = "commute"
    """As people do: see `departures`."""
    CONSTANT = "constant"
    """Trip after trip, with short breaks, at any hour."""


@dataclass(frozen=True, slots=True)
class Resident:
    """Whose car it is: where it is at home and at work, and when it leaves for each, by the city's clock."""

    city: City
    home: Corner
    work: Corner
    leaves: timedelta
    returns: timedelta


@dataclass(frozen=True, slots=True)
class Departure:
    """When a car leaves, and for where."""

    at: datetime
    to: Corner


def resident(rng: Random, city: City) -> Resident:
    """Return somebody who lives and works in the city."""
    return Resident(
        city,
        streets.somewhere(rng),
        streets.somewhere(rng),
        timedelta(hours=rng.gauss(7.75, 0.6)),
        timedelta(hours=rng.gauss(17.75, 0.9)),
    )


def departures(seed: str, who: Resident, day: date) -> list[Departure]:
    """Return the day's departures in order of time; the same for the same seed, resident and local day.

    From Monday to Friday most go to work and back, give or take a quarter of an hour, and some go out in the evening.
    At the weekend there are errands in the day. Each errand ends at home.
    """
    rng = Random(f"{seed}:{day}")
    midnight = datetime.combine(day, time(), ZoneInfo(who.city.zone))
    trips: list[tuple[timedelta, Corner]] = []

    def errand(earliest_h: float, latest_h: float) -> None:
        out = timedelta(hours=rng.uniform(earliest_h, latest_h))
        trips.extend([(out, streets.somewhere(rng)), (out + timedelta(hours=rng.uniform(0.75, 2.5)), who.home)])

    if day.weekday() < _SATURDAY:
        if rng.random() < 0.9:  # noqa: PLR2004 - who is ill or at leave stays
            around = timedelta(minutes=rng.gauss(0, 8)), timedelta(minutes=rng.gauss(0, 15))
            trips += [(who.leaves + around[0], who.work), (who.returns + around[1], who.home)]
        if rng.random() < 0.3:  # noqa: PLR2004
            errand(20.0, 21.0)
    else:
        for earliest_h, latest_h, chance in ((9.5, 12.0, 0.7), (14.5, 17.0, 0.5), (19.5, 21.0, 0.25)):
            if rng.random() < chance:
                errand(earliest_h, latest_h)
    # On the wall clock: a quarter to eight is a quarter to eight, whatever the clock change does to the night.
    return sorted((Departure((midnight + after).astimezone(UTC), to) for after, to in trips), key=lambda one: one.at)


def life(seed: str, city: City, began: datetime, *, step_s: float, traffic: Traffic) -> Iterator[Moment]:
    """Yield a car's moments from an instant on, for ever, `step_s` apart: parked ones and driven ones.

    `elapsed_s` counts from `began`.
    """
    rng = Random(f"{seed}:life")
    who = resident(rng, city)
    if traffic is Traffic.CONSTANT:
        return _trip_after_trip(rng, driving.parked_at(rng, city, who.home), step_s)
    return _as_people_do(rng, seed, who, began, step_s)


def _trip_after_trip(rng: Random, parked: VehicleState, step_s: float) -> Iterator[Moment]:
    elapsed_s = 0.0
    while True:
        for moment in driving.trip(rng, parked, duration_s=rng.uniform(*_TRIP_S), step_s=step_s):
            parked = moment.state
            last_s = elapsed_s + moment.elapsed_s
            yield Moment(last_s, moment.state, moment.event)
        elapsed_s = last_s + step_s
        until_s = elapsed_s + rng.uniform(*_PAUSE_S)
        while elapsed_s < until_s:
            yield Moment(elapsed_s, parked)
            elapsed_s += step_s


def _as_people_do(rng: Random, seed: str, who: Resident, began: datetime, step_s: float) -> Iterator[Moment]:
    coming = _coming(seed, who, began)
    parked = driving.parked_at(rng, who.city, _left_at(seed, who, began))
    elapsed_s = 0.0
    for departure in coming:
        leaves_s = (departure.at - began).total_seconds()
        while elapsed_s < leaves_s:
            yield Moment(elapsed_s, parked)
            elapsed_s += step_s
        for moment in driving.trip(rng, parked, to=departure.to, step_s=step_s):
            parked = moment.state
            last_s = elapsed_s + moment.elapsed_s
            yield Moment(last_s, moment.state, moment.event)
        elapsed_s = last_s + step_s


def _coming(seed: str, who: Resident, began: datetime) -> Iterator[Departure]:
    day = began.astimezone(ZoneInfo(who.city.zone)).date() - timedelta(days=1)
    while True:
        yield from (one for one in departures(seed, who, day) if one.at > began - _JUST_NOW)
        day += timedelta(days=1)


def _left_at(seed: str, who: Resident, began: datetime) -> Corner:
    """Return where the last trip before the beginning has brought the car."""
    day = began.astimezone(ZoneInfo(who.city.zone)).date()
    past = [*departures(seed, who, day - timedelta(days=1)), *departures(seed, who, day)]
    return next((one.to for one in reversed(past) if one.at <= began - _JUST_NOW), who.home)
