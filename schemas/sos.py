"""The SOS service (breakdown and emergency call): enums, the press, and the documented answers."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from schemas.base import Instant, PhoneNumber, ShortText, Text, Vin, Wire
from schemas.vehicle import Location, Uplinked, VehicleStatus


class SosStatus(StrEnum):
    """Life of an SOS incident (design, section 5)."""

    INITIATED = "INITIATED"
    CONNECTED = "CONNECTED"
    DISPATCHED = "DISPATCHED"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"
    CANCELLED = "CANCELLED"


class EmergencyType(StrEnum):
    """What kind of emergency it is; OTHER where nobody said."""

    MEDICAL = "MEDICAL"
    BREAKDOWN = "BREAKDOWN"
    ACCIDENT = "ACCIDENT"
    SECURITY = "SECURITY"
    FIRE = "FIRE"
    OTHER = "OTHER"


class Urgency(StrEnum):
    """How pressing it is, most pressing first; HIGH where nobody said."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


SosCid = Annotated[str, StringConstraints(pattern=r"^SOS_\d{8}_\d{3,9}$"), Field(examples=["SOS_20260307_001"])]


class SosConsent(Wire):
    """What the customer agreed to, and when."""

    granted: bool
    timestamp: Instant | None = None
    location_sharing: bool | None = None
    voice_recording: bool | None = None
    emergency_services: bool | None = None


class SosReport(Wire):
    """What a press tells: the same from the vehicle and from the app. Everything may be missing."""

    emergency_type: EmergencyType = EmergencyType.OTHER
    urgency: Urgency = Urgency.HIGH
    location: Location | None = None
    description: Text | None = None
    contact_number: PhoneNumber | None = None
    passenger_count: Annotated[int, Field(ge=0, le=200)] | None = None
    vehicle_condition: ShortText | None = None
    request_type: ShortText | None = None
    customer_consent: SosConsent | None = None
    vehicle_status: VehicleStatus | None = None
    test_call: bool = False


class SosMessage(Uplinked, SosReport):
    """`up/sos`: the SOS button was pressed in the vehicle."""


class SosIncidentRequest(SosReport):
    """The app's SOS (guide, SOS Incident Request). `vin` repeats the path; `cid` is kept if it is unused."""

    cid: SosCid | None = None
    vin: Vin | None = None
