"""The SOS service (breakdown and emergency call): enums, the press, and the documented answers."""

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

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


class SosResult(StrEnum):
    """How an incident ended. POLICE_DISPATCHED is the guide's; the others name its other services and endings."""

    POLICE_DISPATCHED = "POLICE_DISPATCHED"
    AMBULANCE_DISPATCHED = "AMBULANCE_DISPATCHED"
    FIRE_DISPATCHED = "FIRE_DISPATCHED"
    TOWING_DISPATCHED = "TOWING_DISPATCHED"
    RESOLVED_BY_PHONE = "RESOLVED_BY_PHONE"
    FALSE_ALARM = "FALSE_ALARM"
    OTHER = "OTHER"


def _upper_snake(value: object) -> object:
    # The guide prints "Police Dispatched" in one place and POLICE_DISPATCHED in another.
    return value.strip().upper().replace(" ", "_").replace("-", "_") if isinstance(value, str) else value


class EmergencyService(Wire):
    """One service that was sent, under its name in `emergencyServices`."""

    dispatched: bool
    report_number: ShortText | None = None
    officer_name: ShortText | None = None
    arrival_time: Instant | None = None


class EmergencyServices(Wire):
    """Which services were sent."""

    police: EmergencyService | None = None
    ambulance: EmergencyService | None = None
    fire: EmergencyService | None = None
    towing: EmergencyService | None = None


class CustomerStatus(Wire):
    """How the customer was at the end."""

    safe: bool | None = None
    injuries: bool | None = None
    medical_attention: bool | None = None


class SosCloseRequest(Wire):
    """The counselor ends the incident (guide, SOS Closure Request)."""

    cid: SosCid
    vin: Vin | None = None
    result: Annotated[SosResult, BeforeValidator(_upper_snake)]
    completion_time: Instant | None = None
    agent_id: ShortText | None = None
    notes: Text | None = None
    emergency_services: EmergencyServices | None = None
    customer_status: CustomerStatus | None = None
    follow_up_required: bool | None = None
