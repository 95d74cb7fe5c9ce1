"""How a car moves: a trip as moments whose position, speed, odometer, fuel, battery and trouble codes agree. Pure."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from schemas.vehicle import EngineEvent, EngineStatus, TransmissionStatus
from simulator import streets
from simulator.streets import City, Corner

ACCELERATION_MPS2 = 2.5
BRAKING_MPS2 = 3.0
FUEL_PERCENT_PER_KM = 0.16
"""8 litres per 100 km out of a tank of 50."""
IDLE_FUEL_PERCENT_PER_S = 0.0004
"""0.7 litres per hour out of a tank of 50."""
RESERVE_PERCENT = 12.0
LOW_CHARGE = 0.3
LOW_VOLTAGE_CODE = "P0562"
"""System voltage low (SAE J2012): shown exactly while the battery has less than `LOW_CHARGE` at a start."""
FAULT_CODES = ("P0301", "P0420", "P0171", "C0035", "U0100")
"""Misfire, catalyst, lean mixture, wheel speed, lost communication (SAE J2012)."""

_TICK_S = 1.0
_CRANK_S = 1.0
_ROUNDING_S = 1e-6
_CRANK_CHARGE = 0.004
_CHARGED_IN_S = 3600.0
_FAULT_CHANCE = 0.03
_REPAIR_CHANCE = 0.25
_TURN_MPS = 20 / 3.6
_BACK_MPS = 6 / 3.6
_STRAIGHT_DEG = 25.0
_SHARP_DEG = 120.0
_LOOK_AHEAD_M = 160.0
_RED_CHANCE = 0.4
_AT_THE_LINE_M = 4.0


@dataclass(frozen=True, slots=True)
class VehicleState:
    """What a vehicle knows of itself at one moment. `charge` of the battery is from 0 to 1."""

    city: City
    latitude: float
    longitude: float
    heading: float
    speed_kph: float
    odometer_km: float
    fuel_level: float
    charge: float
    battery_voltage: float
    engine_status: EngineStatus
    transmission_status: TransmissionStatus
    dtc_codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """The state so many seconds after a beginning; `event` where the engine has just been started or stopped."""

    elapsed_s: float
    state: VehicleState
    event: EngineEvent | None = None


def parked_somewhere(rng: Random, city: City = streets.SEOUL) -> VehicleState:
    """Return a vehicle parked at a corner of the city, engine off."""
    return parked_at(rng, city, streets.somewhere(rng))


def parked_at(rng: Random, city: City, corner: Corner) -> VehicleState:
    """Return a vehicle parked at this corner, engine off."""
    latitude, longitude = streets.coordinates(city, *streets.place(city, corner))
    charge = rng.uniform(0.7, 1.0)
    return VehicleState(
        city=city,
        latitude=latitude,
        longitude=longitude,
        heading=rng.uniform(0, 360),
        speed_kph=0.0,
        odometer_km=rng.uniform(5_000, 90_000),
        fuel_level=rng.uniform(40, 95),
        charge=charge,
        battery_voltage=resting_v(charge),
        engine_status=EngineStatus.OFF,
        transmission_status=TransmissionStatus.PARK,
    )


def resting_v(charge: float) -> float:
    """Return the voltage of a battery that is neither charged nor used."""
    return 11.8 + 0.9 * charge


def started(rng: Random, parked: VehicleState) -> VehicleState:
    """Return the vehicle with its engine running, before it moves."""
    return replace(
        parked, speed_kph=0.0, engine_status=EngineStatus.ON, battery_voltage=_charging_v(rng, parked.charge)
    )


def stopped(state: VehicleState) -> VehicleState:
    """Return the vehicle parked where it is, engine off."""
    return replace(
        state,
        speed_kph=0.0,
        engine_status=EngineStatus.OFF,
        transmission_status=TransmissionStatus.PARK,
        battery_voltage=resting_v(state.charge),
    )


def trip(
    rng: Random,
    parked: VehicleState,
    *,
    to: Corner | None = None,
    duration_s: float = math.inf,
    step_s: float = 1.0,
) -> Iterator[Moment]:
    """Yield a trip: the engine is cranked, starts, the car drives along the streets, stands, and the engine is stopped.

    It ends at the corner `to`, or about so many seconds after its beginning, whichever is first; without either it goes
    on for ever. Moments are `step_s` apart, the first two at most a second.
    """
    state = _cranked(rng, _looked_after(rng, parked))
    yield Moment(0.0, state)
    elapsed_s = min(step_s, _CRANK_S)
    state = started(rng, state)
    yield Moment(elapsed_s, state, EngineEvent.START)
    start = streets.nearest(state.city, state.latitude, state.longitude)
    road = _Road(rng, state, streets.wander(rng, start) if to is None else streets.way(rng, start, to))
    pace = rng.uniform(0.85, 1.05)
    ticks = max(1, math.ceil(step_s / _TICK_S))
    state = replace(state, transmission_status=TransmissionStatus.DRIVE)
    while not road.arrived(state.speed_kph) and not (
        state.speed_kph == 0 and duration_s - elapsed_s < 2 * step_s - _ROUNDING_S
    ):
        for _ in range(ticks):
            left_s = duration_s - elapsed_s - 3 * step_s
            state = _move(rng, state, road, pace=pace, left_s=left_s, tick_s=step_s / ticks)
            elapsed_s += step_s / ticks
        yield Moment(elapsed_s, state)
    yield Moment(elapsed_s + step_s, stopped(state), EngineEvent.STOP)


def _looked_after(rng: Random, parked: VehicleState) -> VehicleState:
    """Return the vehicle as it is before a trip: filled up where the tank was low, repaired or with a new fault."""
    codes = [code for code in parked.dtc_codes if code != LOW_VOLTAGE_CODE and rng.random() >= _REPAIR_CHANCE]
    if rng.random() < _FAULT_CHANCE:
        codes.append(rng.choice(FAULT_CODES))
    if parked.charge < LOW_CHARGE:
        codes.append(LOW_VOLTAGE_CODE)
    fuel = parked.fuel_level if parked.fuel_level >= RESERVE_PERCENT else rng.uniform(85, 98)
    return replace(parked, fuel_level=fuel, dtc_codes=tuple(sorted(set(codes))))


def _cranked(rng: Random, parked: VehicleState) -> VehicleState:
    charge = max(0.0, parked.charge - _CRANK_CHARGE)
    return replace(
        parked,
        engine_status=EngineStatus.CRANKING,
        charge=charge,
        battery_voltage=resting_v(charge) - rng.uniform(1.8, 2.8),
    )


def _charging_v(rng: Random, charge: float) -> float:
    return 14.0 + 0.3 * (1 - charge) + rng.uniform(-0.1, 0.1)


def _move(
    rng: Random, state: VehicleState, road: "_Road", *, pace: float, left_s: float, tick_s: float
) -> VehicleState:
    """Return the state after a tick, in which the speed changes evenly."""
    before_mps = state.speed_kph / 3.6
    wanted_mps = min(road.allowed_mps(before_mps, tick_s, pace), BRAKING_MPS2 * max(0.0, left_s))
    slowest, fastest = before_mps - BRAKING_MPS2 * tick_s, before_mps + ACCELERATION_MPS2 * tick_s
    speed_mps = max(0.0, slowest, min(wanted_mps, fastest))
    metres = (before_mps + speed_mps) / 2 * tick_s
    road.advance(metres, stands_s=tick_s if speed_mps == before_mps == 0 else 0.0)
    latitude, longitude = streets.coordinates(state.city, road.east_m, road.north_m)
    burnt = metres / 1000 * FUEL_PERCENT_PER_KM + tick_s * IDLE_FUEL_PERCENT_PER_S
    charge = state.charge + (1 - state.charge) * min(1.0, tick_s / _CHARGED_IN_S)
    return replace(
        state,
        latitude=latitude,
        longitude=longitude,
        heading=road.heading if metres else state.heading,
        speed_kph=speed_mps * 3.6,
        odometer_km=state.odometer_km + metres / 1000,
        fuel_level=max(0.0, state.fuel_level - burnt),
        charge=charge,
        battery_voltage=_charging_v(rng, charge),
    )


@dataclass(slots=True)
class _Stretch:
    """A straight piece of street; `out_mps` is how fast one may be at its end, `red_s` how long its light is red."""

    heading: float
    metres: float
    limit_mps: float
    out_mps: float
    red_s: float = 0.0


class _Road:
    """The way ahead of a vehicle, and where on it the vehicle is: in metres from the city's center."""

    def __init__(self, rng: Random, state: VehicleState, corners: Iterator[Corner]) -> None:
        self._rng = rng
        self._city = state.city
        self._corners = corners
        self._ahead: deque[_Stretch] = deque()
        self._reached = streets.nearest(state.city, state.latitude, state.longitude)
        self.east_m, self.north_m = _metres(state)
        self._end = (self.east_m, self.north_m)
        self.heading = state.heading

    def arrived(self, speed_kph: float) -> bool:
        """Tell whether the vehicle stands at the end of the way."""
        self._look()
        return speed_kph == 0 and sum(stretch.metres for stretch in self._ahead) < 1

    def allowed_mps(self, now_mps: float, tick_s: float, pace: float) -> float:
        """Return how fast the vehicle may be after the tick, to keep the limit and to brake in time for what comes."""
        self._look()
        if not self._ahead:
            return 0.0
        allowed = self._ahead[0].limit_mps * pace
        ahead_m = 0.0
        half_mps = BRAKING_MPS2 * tick_s / 2
        for stretch in self._ahead:
            ahead_m += stretch.metres
            # v²/2b + the way of this tick = the way to the end of the stretch + out²/2b, solved for v.
            room = half_mps**2 + 2 * BRAKING_MPS2 * (ahead_m - now_mps * tick_s / 2)
            out_mps = 0.0 if stretch.red_s > 0 else stretch.out_mps
            allowed = min(allowed, math.sqrt(max(0.0, room + out_mps**2)) - half_mps)
        return max(0.0, allowed)

    def advance(self, metres: float, *, stands_s: float) -> None:
        """Move on by so many metres; while the vehicle stands, the light before it goes on towards green."""
        while metres > 0 and self._ahead:
            first = self._ahead[0]
            # On the last stretch it may overshoot by what its brakes do not make, straight on.
            part = metres if len(self._ahead) == 1 else min(metres, first.metres)
            self.east_m += part * math.sin(math.radians(first.heading))
            self.north_m += part * math.cos(math.radians(first.heading))
            self.heading = first.heading
            first.metres -= part
            metres -= part
            if first.metres <= 0 and len(self._ahead) > 1:
                self._ahead.popleft()
            self._look()
        if stands_s and self._ahead and self._ahead[0].metres < _AT_THE_LINE_M:
            self._ahead[0].red_s = max(0.0, self._ahead[0].red_s - stands_s)

    def _look(self) -> None:
        """Know the way as far as the brakes need, and one stretch more: a turn shows only with what follows."""
        while sum(stretch.metres for stretch in self._ahead) < _LOOK_AHEAD_M or len(self._ahead) < 2:  # noqa: PLR2004
            corner = next(self._corners, None)
            if corner is None:
                return
            self._add(corner)

    def _add(self, corner: Corner) -> None:
        east_m, north_m = streets.place(self._city, corner)
        east, north = east_m - self._end[0], north_m - self._end[1]
        heading = math.degrees(math.atan2(east, north)) % 360
        limit_mps = streets.limit_mps(self._reached, corner)
        if self._ahead:
            last = self._ahead[-1]
            turn_deg = abs((heading - last.heading + 180) % 360 - 180)
            slowly_mps = _TURN_MPS if turn_deg < _SHARP_DEG else _BACK_MPS
            last.out_mps = min(last.limit_mps, limit_mps) if turn_deg < _STRAIGHT_DEG else slowly_mps
            if streets.has_lights(self._reached) and self._rng.random() < _RED_CHANCE:
                last.red_s = self._rng.uniform(5, 40)
        self._ahead.append(_Stretch(heading, math.hypot(east, north), limit_mps, 0.0))
        self._end, self._reached = (east_m, north_m), corner


def _metres(state: VehicleState) -> tuple[float, float]:
    city = state.city
    per_degree_m = streets.METRES_PER_DEGREE * math.cos(math.radians(city.latitude))
    return (
        (state.longitude - city.longitude) * per_degree_m,
        (state.latitude - city.latitude) * streets.METRES_PER_DEGREE,
    )
