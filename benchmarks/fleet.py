"""The messages of a fleet, seeded: status in order, with engine starts and stops as often as trips have them."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from schemas.base import format_instant
from schemas.demo import fleet_vin
from schemas.topics import Uplink, uplink_topic

VEHICLES = 2000
STATUS_PER_TRIP = 120
"""Twenty minutes with a status every ten seconds."""


def vins() -> list[str]:
    """Return the VINs of the fleet."""
    return [fleet_vin(number) for number in range(1, VEHICLES + 1)]


def status_messages(count: int, *, seed: int, ends_at: datetime) -> Iterator[tuple[str, bytes]]:
    """Give (topic, payload) of so many status messages, the last at `ends_at`; some 380 bytes each.

    Each vehicle's engine goes off for one message after a trip, at a moment of its own.
    """
    random = Random(seed)
    fleet = vins()
    phase = [random.randrange(STATUS_PER_TRIP) for _ in fleet]
    rounds = -(-count // len(fleet))
    for number in range(count):
        round_, vehicle = divmod(number, len(fleet))
        when = ends_at - timedelta(milliseconds=200 * (rounds - round_))
        standing = (round_ + phase[vehicle]) % STATUS_PER_TRIP == 0
        body = {
            "messageId": str(UUID(int=random.getrandbits(128), version=4)),
            "timestamp": format_instant(when),
            "location": {
                "latitude": round(37 + random.random(), 6),
                "longitude": round(126 + random.random(), 6),
                "accuracy": 5.0,
                "heading": random.randrange(360),
            },
            "speedKph": 0.0 if standing else round(random.uniform(20, 100), 1),
            "odometerKm": round(10_000 + round_ * 0.1, 1),
            "batteryVoltage": 14.1,
            "fuelLevel": 55.0,
            "engineStatus": "OFF" if standing else "ON",
            "transmissionStatus": "PARK" if standing else "DRIVE",
            "drivable": True,
            "dtcCodes": [],
        }
        yield uplink_topic(fleet[vehicle], Uplink.STATUS), json.dumps(body, separators=(",", ":")).encode()
