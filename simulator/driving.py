"""How a car moves: a trip as moments with position, speed, odometer, fuel and battery that agree with each other."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from schemas.vehicle import EngineEvent, EngineStatus, TransmissionStatus

ACCELERATION_MPS2 = 2.5
BRAKING_MPS2 = 3.0
TOP_SPEED_MPS = 100 / 3.6
FUEL_PERCENT_PER_KM = 0.16
"""8 litres per 100 km out of a tank of 50."""
IDLE_FUEL_PERCENT_PER_S = 0.0004
"""0.7 litres per hour out of a tank of 50."""
RESTING_V = 12.6
CHARGING_V = 14.1

_METRES_PER_DEGREE = 111_320.0
_STEER_SIGMA_DEG = 4.0
_CRUISE_S = 8.0


@dataclass(frozen=True, slots=True)
class VehicleState:
    """What a vehicle knows of itself at one moment."""

    latitude: float
    longitude: float
    heading: float
    speed_kph: float
    odometer_km: float
    fuel_level: float
    battery_voltage: float
    engine_status: EngineStatus
    transmission_status: TransmissionStatus


@dataclass(frozen=True, slots=True)
class Moment:
    """The state so many seconds after the start of a trip; `event` at its first and its last moment."""

    elapsed_s: float
    state: VehicleState
    event: EngineEvent | None = None


def parked_somewhere(rng: Random) -> VehicleState:
    """Return a vehicle parked in or near Seoul, engine off."""
    return VehicleState(
        latitude=rng.uniform(37.45, 37.65),
        longitude=rng.uniform(126.85, 127.15),
        heading=rng.uniform(0, 360),
        speed_kph=0.0,
        odometer_km=rng.uniform(5_000, 90_000),
        fuel_level=rng.uniform(40, 95),
        battery_voltage=RESTING_V,
        engine_status=EngineStatus.OFF,
        transmission_status=TransmissionStatus.PARK,
    )


def started(rng: Random, parked: VehicleState) -> VehicleState:
    """Return the vehicle with its engine running, before it moves."""
    return replace(
        parked, speed_kph=0.0, engine_status=EngineStatus.ON, battery_voltage=CHARGING_V + rng.uniform(-0.2, 0.2)
    )


def trip(rng: Random, parked: VehicleState, *, duration_s: float, step_s: float = 1.0) -> Iterator[Moment]:
    """Yield a trip from engine START to engine STOP: the car pulls away, cruises at changing speeds and stands still.

    Moments are `step_s` apart; the first and the last have speed 0.
    """
    begin = started(rng, parked)
    yield Moment(0.0, begin, EngineEvent.START)
    state = replace(begin, transmission_status=TransmissionStatus.DRIVE)
    steps = max(2, round(duration_s / step_s))
    cruise_mps = 0.0
    for step in range(1, steps):
        elapsed_s = step * step_s
        if step == 1 or math.fmod(elapsed_s, _CRUISE_S) < step_s:
            cruise_mps = rng.uniform(0.3, 1.0) * TOP_SPEED_MPS
        # Fast enough to keep up with the plan, slow enough to stand still one step before the end.
        stoppable_mps = BRAKING_MPS2 * (steps - 1 - step) * step_s
        state = _move(rng, state, wanted_mps=min(cruise_mps, stoppable_mps), step_s=step_s)
        yield Moment(elapsed_s, state)
    stopped = replace(
        state,
        speed_kph=0.0,
        engine_status=EngineStatus.OFF,
        transmission_status=TransmissionStatus.PARK,
        battery_voltage=RESTING_V,
    )
    yield Moment(steps * step_s, stopped, EngineEvent.STOP)


def _move(rng: Random, state: VehicleState, *, wanted_mps: float, step_s: float) -> VehicleState:
    before_mps = state.speed_kph / 3.6
    slowest, fastest = before_mps - BRAKING_MPS2 * step_s, before_mps + ACCELERATION_MPS2 * step_s
    speed_mps = max(0.0, min(max(wanted_mps, slowest), fastest))
    metres = (before_mps + speed_mps) / 2 * step_s
    heading = (state.heading + rng.gauss(0, _STEER_SIGMA_DEG)) % 360 if metres else state.heading
    north, east = metres * math.cos(math.radians(heading)), metres * math.sin(math.radians(heading))
    burnt = metres / 1000 * FUEL_PERCENT_PER_KM + step_s * IDLE_FUEL_PERCENT_PER_S
    return replace(
        state,
        latitude=state.latitude + north / _METRES_PER_DEGREE,
        longitude=state.longitude + east / (_METRES_PER_DEGREE * math.cos(math.radians(state.latitude))),
        heading=heading,
        speed_kph=speed_mps * 3.6,
        odometer_km=state.odometer_km + metres / 1000,
        fuel_level=max(0.0, state.fuel_level - burnt),
        battery_voltage=CHARGING_V + rng.uniform(-0.2, 0.2),
    )
