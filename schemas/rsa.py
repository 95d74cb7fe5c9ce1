"""The RSA service (roadside assistance): enums, the press, and the documented answers."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from schemas.base import DtcCode, Instant, PhoneNumber, ShortText, Text, Vin, Wire
from schemas.vehicle import Location, Uplinked


class RsaStatus(StrEnum):
    """Life of an RSA incident (design, section 5)."""

    REQUESTED = "REQUESTED"
    DISPATCHED = "DISPATCHED"
    CONFIRMED = "CONFIRMED"
    EN_ROUTE = "EN_ROUTE"
    ARRIVED = "ARRIVED"
    COMPLETED = "COMPLETED"
    CLOSED = "CLOSED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"


class ServiceType(StrEnum):
    """Kinds of assistance (RSA guide, RSA Statistics Response)."""

    TOWING = "TOWING"
    BATTERY_JUMP = "BATTERY_JUMP"
    TIRE_CHANGE = "TIRE_CHANGE"
    FUEL_DELIVERY = "FUEL_DELIVERY"
    LOCKOUT = "LOCKOUT"


class Priority(StrEnum):
    """Priority of a request and of an event."""

    HIGH = "HIGH"
    NORMAL = "NORMAL"
    LOW = "LOW"


RsaCid = Annotated[str, StringConstraints(pattern=r"^RSA_\d{8}_\d{3,9}$"), Field(examples=["RSA_20260307_001"])]


class RsaConsent(Wire):
    """What the customer agreed to, and when."""

    granted: bool
    timestamp: Instant | None = None
    location_sharing: bool | None = None
    vehicle_status_sharing: bool | None = None
    recorded: bool | None = None


class CustomerInfo(Wire):
    """Who asked for help."""

    name: ShortText | None = None
    phone: PhoneNumber | None = None
    membership_id: ShortText | None = None


class RsaReport(Wire):
    """What a press tells: the same from the vehicle and from the app. Everything may be missing."""

    service_type: ServiceType | None = None
    symptoms: Annotated[tuple[ShortText, ...], Field(max_length=32)] = ()
    description: Text | None = None
    location: Location | None = None
    dtc_codes: Annotated[tuple[DtcCode, ...], Field(max_length=64)] = ()
    battery_voltage: Annotated[float, Field(ge=0, le=1000)] | None = None
    customer_info: CustomerInfo | None = None
    customer_consent: RsaConsent | None = None


class RsaMessage(Uplinked, RsaReport):
    """`up/rsa`: the roadside assistance button was pressed in the vehicle."""


class RsaIncidentRequest(RsaReport):
    """The app's request (design, section 5). `vin` repeats the path; `cid` is kept if it is unused."""

    cid: RsaCid | None = None
    vin: Vin | None = None
    priority: Priority = Priority.NORMAL
