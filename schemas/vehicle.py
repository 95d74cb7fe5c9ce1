"""What a vehicle says of itself: status, engine, presence, and the location and condition inside other messages."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.base import DtcCode, Instant, Latitude, Longitude, MessageId, Text, Wire


class EngineStatus(StrEnum):
    """Engine states (design, section 5)."""

    ON = "ON"
    OFF = "OFF"
    CRANKING = "CRANKING"
    UNKNOWN = "UNKNOWN"


class TransmissionStatus(StrEnum):
    """Selected gear range (design, section 5)."""

    PARK = "PARK"
    REVERSE = "REVERSE"
    NEUTRAL = "NEUTRAL"
    DRIVE = "DRIVE"
    UNKNOWN = "UNKNOWN"


class EngineEvent(StrEnum):
    """What `up/engine` reports."""

    START = "START"
    STOP = "STOP"


class Location(Wire):
    """A place on WGS 84: degrees, accuracy in metres, heading in degrees clockwise from north."""

    latitude: Latitude
    longitude: Longitude
    accuracy: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    heading: Annotated[float, Field(ge=0, le=360)] | None = None
    address: Text | None = None


class Uplinked(Wire):
    """What every uplink message has: its id, and when it happened by the vehicle's clock."""

    message_id: MessageId
    timestamp: Instant


class VehicleStatus(Wire):
    """The vehicle's condition, as inside the SOS guide's status answer: volts, per cent, trouble codes."""

    drivable: bool | None = None
    engine_status: EngineStatus | None = None
    battery_voltage: Annotated[float, Field(ge=0, le=1000)] | None = None
    fuel_level: Annotated[float, Field(ge=0, le=100)] | None = None
    dtc_codes: Annotated[tuple[DtcCode, ...], Field(max_length=64)] | None = None
    transmission_status: TransmissionStatus | None = None


class StatusMessage(Uplinked, VehicleStatus):
    """`up/status`: one sample of position, motion and condition."""

    location: Location | None = None
    speed_kph: Annotated[float, Field(ge=0, le=500)] | None = None
    odometer_km: Annotated[float, Field(ge=0, le=10_000_000)] | None = None


class EngineMessage(Uplinked):
    """`up/engine`: the engine was started or stopped."""

    event: EngineEvent
    location: Location | None = None
    odometer_km: Annotated[float, Field(ge=0, le=10_000_000)] | None = None


class PresenceMessage(Uplinked):
    """`up/presence`: true as the birth message, false as the last will (MQTT 5 §3.1.2.5)."""

    online: bool
