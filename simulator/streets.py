"""Streets to drive on: a grid around each city's center, made by rule. No map is needed and nothing is stored. Pure.

Every corner has its place, a little off the grid; every fifth street is an avenue, where one drives faster, and waits
at lights where two of them cross.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random

METRES_PER_DEGREE = 111_320.0
EDGE = 40
"""Blocks from the center to the edge of a city."""

_BLOCK_M = 220.0
_OFF_GRID_M = 15.0
_AVENUE_EVERY = 5
_STREET_MPS = 50 / 3.6
_AVENUE_MPS = 80 / 3.6
_TURN_CHANCE = 0.2

Corner = tuple[int, int]
"""Blocks east and north of the center, along the city's grid."""


@dataclass(frozen=True, slots=True)
class City:
    """A center, the direction of its grid in degrees clockwise from north, and the zone of its clocks."""

    name: str
    latitude: float
    longitude: float
    grid_deg: float
    zone: str


SEOUL = City("Seoul", 37.5665, 126.9780, 8.0, "Asia/Seoul")
CITIES = (
    SEOUL,
    City("New York", 40.7306, -73.9866, 29.0, "America/New_York"),
    City("Los Angeles", 34.0522, -118.2437, 36.0, "America/Los_Angeles"),
    City("Berlin", 52.5200, 13.4050, 12.0, "Europe/Berlin"),
    City("Auckland", -36.8509, 174.7645, 20.0, "Pacific/Auckland"),
)


@lru_cache(maxsize=100_000)
def place(city: City, corner: Corner) -> tuple[float, float]:
    """Return where a corner is, in metres east and north of the city's center."""
    rng = Random(f"{city.name}:{corner}")
    along, across = (blocks * _BLOCK_M + rng.uniform(-_OFF_GRID_M, _OFF_GRID_M) for blocks in corner)
    turned = math.radians(city.grid_deg)
    return (
        along * math.cos(turned) + across * math.sin(turned),
        across * math.cos(turned) - along * math.sin(turned),
    )


def coordinates(city: City, east_m: float, north_m: float) -> tuple[float, float]:
    """Return latitude and longitude of a place near the city's center, in degrees."""
    per_degree_m = METRES_PER_DEGREE * math.cos(math.radians(city.latitude))
    return city.latitude + north_m / METRES_PER_DEGREE, city.longitude + east_m / per_degree_m


def nearest(city: City, latitude: float, longitude: float) -> Corner:
    """Return the corner next to a place, of those that are about where the grid has them."""
    north_m = (latitude - city.latitude) * METRES_PER_DEGREE
    east_m = (longitude - city.longitude) * METRES_PER_DEGREE * math.cos(math.radians(city.latitude))
    turned = math.radians(city.grid_deg)
    along = east_m * math.cos(turned) - north_m * math.sin(turned)
    across = east_m * math.sin(turned) + north_m * math.cos(turned)
    return _within(round(along / _BLOCK_M)), _within(round(across / _BLOCK_M))


def somewhere(rng: Random) -> Corner:
    """Return any corner of a city, more likely one near its center."""
    return _within(round(rng.gauss(0, EDGE / 3))), _within(round(rng.gauss(0, EDGE / 3)))


def way(rng: Random, start: Corner, goal: Corner) -> Iterator[Corner]:
    """Yield the corners of a way without detours, the goal last: mostly straight on, with a turn here and there."""
    at, along = start, rng.random() < 0.5  # noqa: PLR2004 - as often the one as the other
    while at != goal:
        east, north = _towards(goal[0] - at[0]), _towards(goal[1] - at[1])
        if rng.random() < _TURN_CHANCE:
            along = not along
        along = (along or north == 0) and east != 0
        at = (at[0] + east, at[1]) if along else (at[0], at[1] + north)
        yield at


def wander(rng: Random, start: Corner) -> Iterator[Corner]:
    """Yield the corners of a way without end or goal."""
    while True:
        goal = somewhere(rng)
        yield from way(rng, start, goal)
        start = goal


def limit_mps(one: Corner, other: Corner) -> float:
    """Return how fast one drives between two neighbouring corners."""
    shared = 1 if one[1] == other[1] else 0
    return _AVENUE_MPS if one[shared] % _AVENUE_EVERY == 0 else _STREET_MPS


def has_lights(corner: Corner) -> bool:
    """Tell whether two avenues cross here."""
    return corner[0] % _AVENUE_EVERY == 0 and corner[1] % _AVENUE_EVERY == 0


def _towards(blocks: int) -> int:
    return (blocks > 0) - (blocks < 0)


def _within(blocks: int) -> int:
    return max(-EDGE, min(EDGE, blocks))
