"""The SOS service (breakdown and emergency call): enums, the press, and the documented answers."""

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from schemas.base import Flag, Instant, PhoneNumber, ShortText, Text, Vin, Wire
from schemas.call import CallStatus
from schemas.problem import Pagination
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


SosCid = Annotated[str, StringConstraints(pattern=r"^SOS_[0-9]{8}_[0-9]{3,9}$"), Field(examples=["SOS_20260307_001"])]


class SosConsent(Wire):
    """What the customer agreed to, and when."""

    granted: Flag
    timestamp: Instant | None = None
    location_sharing: Flag | None = None
    voice_recording: Flag | None = None
    emergency_services: Flag | None = None


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
    test_call: Flag = False


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

    dispatched: Flag
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

    safe: Flag | None = None
    injuries: Flag | None = None
    medical_attention: Flag | None = None


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
    follow_up_required: Flag | None = None


class DispatchService(StrEnum):
    """The services that a counselor can send (SOS guide, SOS Statistics Response)."""

    POLICE = "POLICE"
    AMBULANCE = "AMBULANCE"
    FIRE = "FIRE"
    TOWING = "TOWING"


class DispatchState(StrEnum):
    """How far the service that was sent has come."""

    DISPATCHED = "DISPATCHED"
    EN_ROUTE = "EN_ROUTE"
    ARRIVED = "ARRIVED"


class SosDispatchRequest(Wire):
    """The counselor sends a service, or tells how far it has come (the `dispatchInfo` of SOS Status Response)."""

    cid: SosCid
    vin: Vin | None = None
    service_type: DispatchService
    provider: ShortText | None = None
    estimated_arrival: Instant | None = None
    status: DispatchState = DispatchState.DISPATCHED
    contact_number: PhoneNumber | None = None
    unit_number: ShortText | None = None


class SosResolveRequest(Wire):
    """The emergency is over; the incident is still to be closed."""

    cid: SosCid
    vin: Vin | None = None
    notes: Text | None = None


class SosCancelRequest(Wire):
    """There was no emergency."""

    cid: SosCid
    vin: Vin | None = None
    reason: Text | None = None


class SosTakeRequest(Wire):
    """A counselor takes the incident; `agentId` may be left out where the key is a counselor's own."""

    cid: SosCid
    vin: Vin | None = None
    agent_id: ShortText | None = None


class SosCallRequest(Wire):
    """The counselor tells how the voice call goes, where the vehicle does not; `duration` in seconds."""

    cid: SosCid
    vin: Vin | None = None
    status: CallStatus
    session_id: ShortText | None = None
    duration: Annotated[int, Field(ge=0, le=86_400)] | None = None


class Availability(StrEnum):
    """Whether a counselor can take an incident."""

    AVAILABLE = "AVAILABLE"
    BUSY = "BUSY"
    OFFLINE = "OFFLINE"


class AgentAvailabilityRequest(Wire):
    """A counselor starts, pauses or ends work (design, section 5)."""

    agent_id: ShortText | None = None
    availability: Availability


class AgentAvailabilityResponse(Wire):
    """The counselor as now known, since when."""

    agent_id: str
    name: str
    availability: Availability
    timestamp: Instant


class AgentEntry(Wire):
    """A counselor and since when the availability holds."""

    agent_id: str
    name: str
    extension: str | None
    availability: Availability
    since: Instant


class AgentList(Wire):
    """All counselors by id."""

    agents: tuple[AgentEntry, ...]


class KnownLocation(Wire):
    """Where it happened."""

    latitude: float
    longitude: float
    address: str | None


class TrackedLocation(KnownLocation):
    """Where the vehicle is: accuracy in metres, and when it said so."""

    accuracy: float | None
    last_update: Instant | None


class ContactCenter(Wire):
    """How and when the customer reaches somebody; waiting times are null without data to compute them from."""

    phone: str | None
    available: bool
    estimated_wait_time: str | None
    estimated_wait_seconds: int | None
    agent_id: str | None


class InitialVoiceCall(Wire):
    """The call that is being set up to the customer."""

    status: CallStatus
    phone_number: str | None
    session_id: str


class SosIncidentResponse(Wire):
    """The answer to a press in the app (guide, SOS Incident Response); `queuePlace` is 1 for the next in the queue."""

    cid: str
    vin: str
    status: SosStatus
    timestamp: Instant
    emergency_type: EmergencyType
    urgency: Urgency
    location: KnownLocation | None
    contact_center: ContactCenter
    voice_call: InitialVoiceCall | None
    estimated_response_time: str | None
    estimated_response_seconds: int | None
    queue_place: int | None
    anomalies: tuple[str, ...]


class SosClosureSummary(Wire):
    """What became of the incident; the duration ends with the server's closing time."""

    emergency_type: EmergencyType
    duration: str | None
    duration_seconds: int | None
    services_dispatched: tuple[str, ...]
    customer_safe: bool | None
    agent: str | None


class SosClosureResponse(Wire):
    """The answer to a closing (guide, SOS Closure Response)."""

    cid: str
    status: SosStatus
    timestamp: Instant
    summary: SosClosureSummary


class ReportedVehicleStatus(Wire):
    """The vehicle's condition as it was known last; `source` is PRESS or TELEMETRY.

    `stale` says that it is older than five minutes, `online` whether the vehicle is connected and was heard of
    lately; null where it never said so.
    """

    drivable: bool | None
    engine_status: str | None
    battery_voltage: float | None
    fuel_level: float | None
    dtc_codes: tuple[str, ...] | None
    transmission_status: str | None
    as_of: Instant
    age_seconds: int
    source: str
    stale: bool
    online: bool | None


class CallAgent(Wire):
    """The counselor who talks."""

    agent_id: str
    name: str
    extension: str | None


class Recording(Wire):
    """Off, unless the customer agreed and a recording system is attached; `consented` says whether the customer did."""

    consented: bool
    enabled: bool
    url: str | None
    duration: int | None


class VoiceCallStatus(Wire):
    """The latest call of the incident; seconds, and volts as the vehicle reported them with the call."""

    session_id: str
    status: CallStatus
    start_time: Instant | None
    duration: int | None
    agent: CallAgent | None
    recording: Recording
    battery_voltage: float | None


class DispatchInfo(Wire):
    """Which emergency service was sent."""

    dispatched: bool
    service_type: str | None
    provider: str | None
    estimated_arrival: Instant | None
    status: str | None
    contact_number: str | None
    unit_number: str | None


class SosDispatchResponse(Wire):
    """The answer to a dispatch: what the status shows from now on."""

    cid: str
    status: SosStatus
    timestamp: Instant
    dispatch_info: DispatchInfo


class SosMoveResponse(Wire):
    """The answer to a resolving or a cancellation."""

    cid: str
    status: SosStatus
    timestamp: Instant


class SosCallResponse(Wire):
    """The answer to what the counselor told of a call: the call as the status shows it from now on."""

    cid: str
    status: SosStatus
    timestamp: Instant
    voice_call: VoiceCallStatus


class TimelineLine(Wire):
    """What happened, when, and who did it (TCU, APP, SYSTEM, an agent, a partner or a role)."""

    status: str
    timestamp: Instant
    description: str
    actor: str


class SosCustomer(Wire):
    """Who is in need, as the press or the vehicle's registration tells."""

    name: str | None
    phone: str | None
    passenger_count: int | None


class SosStatusResponse(Wire):
    """Everything about one incident (guide, SOS Status Response), with the center's side and the press's anomalies."""

    cid: str
    vin: str
    status: SosStatus
    timestamp: Instant
    emergency_type: EmergencyType
    urgency: Urgency
    location: TrackedLocation | None
    description: str | None
    contact_number: str | None
    vehicle_status: ReportedVehicleStatus | None
    voice_call: VoiceCallStatus | None
    dispatch_info: DispatchInfo
    timeline: tuple[TimelineLine, ...]
    contact_center: ContactCenter
    queue_place: int | None
    customer_info: SosCustomer
    customer_consent: SosConsent | None
    test_call: bool
    anomalies: tuple[str, ...]


class SosHistoryEntry(Wire):
    """One incident of a vehicle's history; the duration is in seconds to the server's closing time, null while open."""

    cid: str
    timestamp: Instant
    emergency_type: EmergencyType
    status: SosStatus
    urgency: Urgency
    duration: int | None
    duration_seconds: int | None
    location: KnownLocation | None
    services_dispatched: tuple[str, ...]
    customer_safe: bool | None
    agent_id: str | None
    completion_time: Instant | None
    notes: str | None


class SosHistorySummary(Wire):
    """Figures over the vehicle's whole history, test calls left out; null without data."""

    total_incidents: int
    emergency_types: dict[str, int]
    average_response_time: str | None
    average_response_seconds: int | None
    customer_satisfaction: float | None
    last_incident_date: Instant | None


class SosHistoryResponse(Wire):
    """A page of a vehicle's incidents, newest first (guide, SOS History Response)."""

    vin: str
    incidents: tuple[SosHistoryEntry, ...]
    total: int
    summary: SosHistorySummary
    pagination: Pagination


class AgentCall(Wire):
    """The call of an incident as its counselor's list shows it."""

    session_id: str
    status: CallStatus
    start_time: Instant | None


class AgentIncident(Wire):
    """One open incident of a counselor; the call's duration in seconds, until now where it goes on."""

    cid: str
    vin: str
    emergency_type: EmergencyType
    urgency: Urgency
    status: SosStatus
    timestamp: Instant
    location: KnownLocation | None
    customer_name: str | None
    contact_number: str | None
    call_duration: int | None
    voice_call: AgentCall | None


class AgentIncidentsSummary(Wire):
    """The counselor's open incidents by urgency, and the pace of the last 30 days."""

    critical_urgency: int
    high_urgency: int
    medium_urgency: int
    low_urgency: int
    average_handling_time: str | None
    average_handling_seconds: int | None


class AgentIncidentsResponse(Wire):
    """A page of a counselor's open incidents, oldest first (guide, Agent Active Incidents Response)."""

    agent_id: str
    active_incidents: tuple[AgentIncident, ...]
    total: int
    summary: AgentIncidentsSummary
    pagination: Pagination
