"""From the bytes of `up/status` to a row, by a reader several times as fast as the models.

The models in `schemas` are the contract. What this reader accepts, they accept, with the same values (a property test
holds the two against each other); whatever it does not, it leaves to them, who say what is wrong.
"""

from typing import Annotated, Literal
from uuid import UUID

import msgspec

from db.telemetry import StatusRow
from ingest.inbox import Received
from rules.clock import event_time
from schemas.base import DTC_PATTERN, parse_instant
from schemas.vehicle import StatusMessage

# Python's $ matches before a last newline too, which the models' does not.
_Dtc = Annotated[str, msgspec.Meta(pattern=DTC_PATTERN.replace("$", r"\Z"))]


class _Location(msgspec.Struct, rename="camel"):
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    accuracy: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] | None = None
    heading: Annotated[float, msgspec.Meta(ge=0, le=360)] | None = None
    # Present addresses are rare and have rules of their own: the models read them.
    address: None = None


class _Status(msgspec.Struct, rename="camel"):
    message_id: UUID
    timestamp: str
    location: _Location | None = None
    speed_kph: Annotated[float, msgspec.Meta(ge=0, le=500)] | None = None
    odometer_km: Annotated[float, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    battery_voltage: Annotated[float, msgspec.Meta(ge=0, le=1000)] | None = None
    fuel_level: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    engine_status: Literal["ON", "OFF", "CRANKING", "UNKNOWN"] | None = None
    transmission_status: Literal["PARK", "REVERSE", "NEUTRAL", "DRIVE", "UNKNOWN"] | None = None
    drivable: bool | None = None
    dtc_codes: Annotated[list[_Dtc], msgspec.Meta(max_length=64)] | None = None


_read = msgspec.json.Decoder(_Status).decode


def read_status(vin: str, received: Received) -> StatusRow:
    """Return the row of a status message. Raises pydantic's ValidationError, which names the fields that are wrong."""
    try:
        return _fast_row(vin, _read(received.payload), received)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # the models say what is wrong, if anything is
    return _row(vin, StatusMessage.model_validate_json(received.payload, strict=True), received)


def _fast_row(vin: str, status: _Status, received: Received) -> StatusRow:
    time = event_time(parse_instant(status.timestamp), received.received_at)
    place = status.location
    if place is None:
        latitude = longitude = accuracy = heading = None
    else:
        latitude, longitude, accuracy, heading = place.latitude, place.longitude, place.accuracy, place.heading
    return StatusRow(
        vin,
        status.message_id,
        time.occurred_at,
        received.received_at,
        time.clock_suspect,
        latitude,
        longitude,
        accuracy,
        heading,
        status.speed_kph,
        status.odometer_km,
        status.battery_voltage,
        status.fuel_level,
        status.engine_status,
        status.transmission_status,
        status.drivable,
        status.dtc_codes,
    )


def _row(vin: str, message: StatusMessage, received: Received) -> StatusRow:
    time = event_time(message.timestamp, received.received_at)
    place = message.location
    return StatusRow(
        vin=vin,
        message_id=UUID(message.message_id),
        occurred_at=time.occurred_at,
        received_at=received.received_at,
        clock_suspect=time.clock_suspect,
        latitude=place.latitude if place else None,
        longitude=place.longitude if place else None,
        accuracy_m=place.accuracy if place else None,
        heading_deg=place.heading if place else None,
        speed_kph=message.speed_kph,
        odometer_km=message.odometer_km,
        battery_voltage=message.battery_voltage,
        fuel_level=message.fuel_level,
        engine_status=message.engine_status,
        transmission_status=message.transmission_status,
        drivable=message.drivable,
        dtc_codes=list(message.dtc_codes) if message.dtc_codes is not None else None,
    )
