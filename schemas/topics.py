"""The MQTT topics of contract v1: `tcu/v1/{vin}/up/{kind}` from the vehicle, `tcu/v1/{vin}/down/{kind}` to it."""

import re
from enum import StrEnum
from functools import lru_cache

from schemas.base import VIN_PATTERN

PREFIX = "tcu/v1"
MAX_PAYLOAD_BYTES = 64 * 1024


class Uplink(StrEnum):
    """What a vehicle sends; the value is the last topic level."""

    STATUS = "status"
    ENGINE = "engine"
    SOS = "sos"
    RSA = "rsa"
    CALL = "call"
    COMMAND_ACK = "command-ack"
    PRESENCE = "presence"


class Downlink(StrEnum):
    """What a vehicle receives; the value is the last topic level."""

    RECEIPT = "receipt"
    INCIDENT = "incident"
    COMMAND = "command"


class LaneName(StrEnum):
    """The ways through the worker, which share nothing, so that no backlog delays an SOS; each may have its process."""

    URGENT = "urgent"
    ENGINE = "engine"
    BULK = "bulk"

    @property
    def kinds(self) -> tuple[Uplink, ...]:
        """What travels on it."""
        return _TRAVELS[self]


_TRAVELS = {
    LaneName.URGENT: (Uplink.SOS, Uplink.RSA, Uplink.CALL, Uplink.COMMAND_ACK),
    LaneName.ENGINE: (Uplink.ENGINE, Uplink.PRESENCE),
    LaneName.BULK: (Uplink.STATUS,),
}


RECEIPTED = frozenset({Uplink.SOS, Uplink.RSA, Uplink.ENGINE, Uplink.CALL, Uplink.COMMAND_ACK})
"""Kinds that a vehicle keeps and sends again until their `down/receipt` arrives."""

_UP = re.compile(rf"{PREFIX}/({VIN_PATTERN.strip('^$')})/up/([a-z-]+)")


def uplink_topic(vin: str, kind: Uplink) -> str:
    """Return the topic on which this vehicle sends messages of this kind; `+` as VIN gives the filter for all."""
    return f"{PREFIX}/{vin}/up/{kind}"


def downlink_topic(vin: str, kind: Downlink) -> str:
    """Return the topic on which this vehicle receives messages of this kind."""
    return f"{PREFIX}/{vin}/down/{kind}"


@lru_cache(maxsize=100_000)
def parse_uplink(topic: str) -> tuple[str, Uplink]:
    """Return (VIN, kind) of an uplink topic. Raises ValueError where the contract knows no such topic."""
    match = _UP.fullmatch(topic)
    if match is None:
        raise ValueError(f"expected {PREFIX}/<17-character VIN>/up/<kind>")
    return match[1], Uplink(match[2])
