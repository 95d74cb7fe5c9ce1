"""The messages of a fleet, seeded, as they really come: some late, missing, twice or out of order."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from schemas.base import format_instant
from schemas.demo import fleet_vin
from schemas.topics import Uplink, uplink_topic

VEHICLES = 2000
STATUS_PER_TRIP = 120
"""Twenty minutes with a status every ten seconds."""
MISSING = 0.005
LATE = 0.01
LATEST = timedelta(hours=6)
REORDERED = 0.01
DUPLICATED = 0.001
SHIFTED_BY_ROUNDS = 3
"""What is out of order or comes again does so within as many of its vehicle's messages."""

Message = tuple[str, bytes]
"""(topic, payload)"""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Messages in the order sent, and what must be stored of them.

    `rows` counts each message once however often it is sent; `newest` is the last event time of each vehicle.
    """

    messages: list[Message]
    rows: int
    newest: dict[str, datetime]
    late: int
    missing: int
    reordered: int
    duplicates: int


def vins(count: int = VEHICLES) -> list[str]:
    """Return the VINs of the fleet."""
    return [fleet_vin(number) for number in range(1, count + 1)]


def traffic(count: int, *, seed: int, ends_at: datetime) -> Traffic:
    """Return so many deliveries of status messages, the last about `ends_at`; some 380 bytes each.

    The same arguments make the same messages. Each vehicle's engine goes off for one message after a trip, at a moment
    of its own.
    """
    random = Random(seed)
    fleet = vins()
    phase = [random.randrange(STATUS_PER_TRIP) for _ in fleet]
    rounds = -(-count // len(fleet))
    placed: list[tuple[float, Message]] = []
    newest: dict[str, datetime] = {}
    late = missing = reordered = duplicates = number = 0
    while len(placed) < count:
        round_, vehicle = divmod(number, len(fleet))
        place = float(number)
        number += 1
        if random.random() < MISSING:
            missing += 1
            continue
        # To the millisecond, which is what the contract's instants hold.
        when = ends_at.replace(microsecond=0) - timedelta(milliseconds=200 * (rounds - round_))
        if random.random() < LATE:
            late += 1
            when -= timedelta(seconds=random.randrange(60, int(LATEST.total_seconds())))
        if random.random() < REORDERED:
            reordered += 1
            place += len(fleet) * random.uniform(1, SHIFTED_BY_ROUNDS)
        vin = fleet[vehicle]
        standing = (round_ + phase[vehicle]) % STATUS_PER_TRIP == 0
        one = (uplink_topic(vin, Uplink.STATUS), status(random, when, standing=standing, round_=round_))
        newest[vin] = max(when, newest.get(vin, when))
        placed.append((place, one))
        if random.random() < DUPLICATED and len(placed) < count:
            duplicates += 1
            placed.append((place + len(fleet) * random.uniform(0, SHIFTED_BY_ROUNDS), one))
    placed.sort(key=lambda each: each[0])
    messages = [message for _, message in placed]
    return Traffic(messages, count - duplicates, newest, late, missing, reordered, duplicates)


def engine_events(count: int, fleet: list[str], *, seed: int, ends_at: datetime) -> list[Message]:
    """Return so many engine events, the last at `ends_at`: each vehicle starts and stops in turns."""
    random = Random(seed)
    messages = []
    for number in range(count):
        round_, vehicle = divmod(number, len(fleet))
        when = ends_at.replace(microsecond=0) - timedelta(milliseconds=10 * (count - number))
        body = {
            "messageId": str(UUID(int=random.getrandbits(128), version=4)),
            "timestamp": format_instant(when),
            "event": "STOP" if round_ % 2 else "START",
            "location": {"latitude": round(37 + random.random(), 6), "longitude": round(126 + random.random(), 6)},
        }
        messages.append((uplink_topic(fleet[vehicle], Uplink.ENGINE), json.dumps(body).encode()))
    return messages


def status(random: Random, when: datetime, *, standing: bool = False, round_: int = 0) -> bytes:
    """Return the payload of one status message."""
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
    return json.dumps(body, separators=(",", ":")).encode()


def sos(random: Random, when: datetime) -> tuple[str, bytes]:
    """Return (message id, payload) of a press."""
    message_id = str(UUID(int=random.getrandbits(128), version=4))
    body = {
        "messageId": message_id,
        "timestamp": format_instant(when),
        "emergencyType": "ACCIDENT",
        "urgency": "CRITICAL",
        "location": {"latitude": round(37 + random.random(), 6), "longitude": round(126 + random.random(), 6)},
    }
    return message_id, json.dumps(body).encode()
