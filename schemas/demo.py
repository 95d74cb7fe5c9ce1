"""What the demo seeds, and what a production start refuses: the guides' token, vehicles, agents and partners."""

from dataclasses import dataclass

DEMO_TOKEN = "sk_4f9c7b8e2d1a6c0f3e7a9b5d8c1e4f2a7c6d9e0b3f5a8c1d4e7f9b2c6a1e3d"  # noqa: S105 - printed in the guides
DEMO_REQUESTS_PER_MINUTE = 1_000_000
DEMO_STREAMS = 10_000
"""The one token stands for everybody at once: app, call center, partners, and whoever tries how much it bears."""
DEVELOPMENT_AUTHORITY = "TCU development authority"
"""The common name of the certificate authority that mosquitto/pki.py makes where there is none."""
CONTACT_CENTER_PHONE = "1588-1234"
DEMO_VINS = ("KMHSH81C7LU123456", "KMHSH81C7LU123457")
DEMO_AGENTS = {
    "AGENT_001": "Kim Counselor",
    "AGENT_002": "Counselor 2",
    "AGENT_003": "Counselor 3",
    "AGENT_004": "Counselor 4",
    "AGENT_005": "Counselor 5",
}
DEMO_PARTNERS = {
    "SAMSUNG_FIRE": "Samsung Fire",
    "HYUNDAI_ROAD": "Hyundai Road",
    "GENESIS_ROAD": "Genesis Road",
}

DEMO_FLEET_SIZE = 5
_MAX_FLEET = 999_999_999


def fleet_vin(number: int) -> str:
    """Return the VIN of the simulated fleet's vehicle of this number, counted from 1: KMHFLEET000000001 and so on."""
    if not 1 <= number <= _MAX_FLEET:
        raise ValueError(f"expected a number from 1 to {_MAX_FLEET}")
    return f"KMHFLEET{number:09d}"


DEMO_FLEET_VINS = tuple(fleet_vin(number) for number in range(1, DEMO_FLEET_SIZE + 1))

NIGHT_ZONES = ("Asia/Seoul", "Africa/Lagos", "America/Phoenix")
"""Eight hours apart, and their clocks are never changed: on exactly one of them it is from 23:00 to 07:00 now."""
NIGHT_WINDOW = {"start": "21:00", "end": "07:00"}
"""The window of the guide's Policy Setting: there it was night two hours ago, too."""


@dataclass(frozen=True, slots=True)
class CurfewCars:
    """The vehicles of young drivers that play the curfew's story once: one for each part that needs its own.

    Those of `offline` have long had a night curfew, one in each of `NIGHT_ZONES`; the others get theirs in the story.
    """

    clock_change: str
    wrong_clock: str
    block_taken: str
    block_refused: str
    block_expired: str
    offline: tuple[str, ...]

    @property
    def vins(self) -> tuple[str, ...]:
        """All of them."""
        live = (self.clock_change, self.wrong_clock, self.block_taken, self.block_refused, self.block_expired)
        return (*live, *self.offline)


def _curfew_cars(number: int) -> CurfewCars:
    def vin(place: int) -> str:
        return f"KMHNGHT{number:05d}{place:05d}"

    offline = tuple(vin(place) for place, _ in enumerate(NIGHT_ZONES, start=6))
    return CurfewCars(vin(1), vin(2), vin(3), vin(4), vin(5), offline)


DEMO_CURFEW_CARS = tuple(_curfew_cars(number) for number in (1, 2, 3))
"""Several sets: a vehicle gets no second start block within ten minutes, and the story is played more often."""
DEMO_CURFEW_VINS = tuple(vin for cars in DEMO_CURFEW_CARS for vin in cars.vins)
