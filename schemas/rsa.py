"""The RSA service (roadside assistance): enums, the press, and the documented answers."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, StringConstraints, model_validator

from schemas.base import DtcCode, Flag, Instant, Latitude, Longitude, PhoneNumber, ShortText, Text, Vin, Wire
from schemas.problem import Pagination
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


RsaCid = Annotated[str, StringConstraints(pattern=r"^RSA_[0-9]{8}_[0-9]{3,9}$"), Field(examples=["RSA_20260307_001"])]

PartnerName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{1,63}$"), Field(examples=["SAMSUNG_FIRE"])]


class RsaConsent(Wire):
    """What the customer agreed to, and when."""

    granted: Flag
    timestamp: Instant | None = None
    location_sharing: Flag | None = None
    vehicle_status_sharing: Flag | None = None
    recorded: Flag | None = None


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


class Place(Wire):
    """A place that people are sent to; the guides give it with and without coordinates."""

    name: ShortText | None = None
    address: Text | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    phone: PhoneNumber | None = None
    description: Text | None = None


class VehicleInfo(Wire):
    """What the partner looks for."""

    make: ShortText | None = None
    model: ShortText | None = None
    year: Annotated[int, Field(ge=1900, le=2200)] | None = None
    color: ShortText | None = None
    license_plate: ShortText | None = None


class BreakdownDetails(Wire):
    """What is wrong with the vehicle; battery in volts."""

    symptoms: Annotated[tuple[ShortText, ...], Field(max_length=32)] = ()
    description: Text | None = None
    dtc_codes: Annotated[tuple[DtcCode, ...], Field(max_length=64)] = ()
    battery_voltage: Annotated[float, Field(ge=0, le=1000)] | None = None


class RsaDispatchRequest(Wire):
    """The call center sends a partner (guide, RSA Dispatch Request)."""

    cid: RsaCid
    vin: Vin | None = None
    partner: PartnerName
    service_type: ServiceType
    priority: Priority | None = None
    breakdown_location: Place | None = None
    destination: Place | None = None
    vehicle_info: VehicleInfo | None = None
    breakdown_details: BreakdownDetails | None = None
    customer_info: CustomerInfo | None = None
    customer_consent: RsaConsent | None = None
    request_time: Instant | None = None
    agent_id: ShortText | None = None
    notes: Text | None = None


class Driver(Wire):
    """Who comes."""

    name: ShortText | None = None
    phone: PhoneNumber | None = None
    license_number: ShortText | None = None


class ProviderVehicle(Wire):
    """What comes."""

    type: ShortText | None = None
    license_plate: ShortText | None = None
    capacity: ShortText | None = None


class Provider(Wire):
    """The company that the partner sends."""

    id: ShortText | None = None
    name: ShortText | None = None
    phone: PhoneNumber | None = None
    vehicle_type: ShortText | None = None
    license_plate: ShortText | None = None
    driver: Driver | None = None
    vehicle: ProviderVehicle | None = None


class Answer(StrEnum):
    """What a partner says to a dispatch."""

    CONFIRMED = "CONFIRMED"
    REJECTED = "REJECTED"


class DispatchConfirmRequest(Wire):
    """The partner answers a dispatch (guide, Partner Dispatch Confirmation Request); distance in kilometres."""

    cid: RsaCid
    partner: PartnerName | None = None
    partner_ticket_id: ShortText | None = None
    status: Answer
    provider: Provider | None = None
    estimated_arrival: Instant | None = None
    current_location: Location | None = None
    estimated_distance: Annotated[float, Field(ge=0, le=100_000)] | None = None
    confirmation_time: Instant | None = None
    reason: Text | None = None


class DispatchLocationRequest(Wire):
    """The partner tells where it is (design, section 5): `timestamp` says when, `status` whether it left or arrived."""

    cid: RsaCid
    partner: PartnerName | None = None
    partner_ticket_id: ShortText | None = None
    status: Literal["EN_ROUTE", "ARRIVED"] | None = None
    current_location: Location | None = None
    estimated_arrival: Instant | None = None
    estimated_distance: Annotated[float, Field(ge=0, le=100_000)] | None = None
    timestamp: Instant | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        told = (self.status, self.current_location, self.estimated_arrival, self.estimated_distance)
        if all(one is None for one in told):
            raise ValueError("expected currentLocation, estimatedArrival, estimatedDistance or status")
        return self


Money = Annotated[int, Field(ge=0, le=10**15)]
"""Minor units of an ISO 4217 currency: KRW has none, so 80000 is eighty thousand won."""


class CostDetails(Wire):
    """What it cost. `totalCost` must be the sum of the fees less the discount."""

    base_fee: Money = 0
    distance_fee: Money = 0
    additional_fee: Money = 0
    discount: Annotated[Money, Field(validation_alias=AliasChoices("discount", "discountAmount"))] = 0
    total_cost: Money
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "KRW"
    payment_method: ShortText | None = None
    billing_status: Annotated[
        ShortText | None, Field(validation_alias=AliasChoices("billingStatus", "paymentStatus"))
    ] = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.base_fee + self.distance_fee + self.additional_fee - self.discount
        if total != self.total_cost:
            raise ValueError(
                f"expected totalCost {total}, the sum of the fees less the discount, not {self.total_cost}"
            )
        return self


class CustomerFeedback(Wire):
    """What the customer says of the service, 1 (bad) to 5 (good)."""

    satisfaction: Annotated[
        int | None, Field(ge=1, le=5, validation_alias=AliasChoices("satisfaction", "satisfactionRating"))
    ] = None
    comments: Text | None = None
    recommendation: Flag | None = None


class ServiceDetails(Wire):
    """What was done; distances in kilometres. The guides give the places as text and as objects."""

    service_type: ServiceType | None = None
    actual_distance: Annotated[
        float | None, Field(ge=0, le=100_000, validation_alias=AliasChoices("actualDistance", "distance"))
    ] = None
    estimated_distance: Annotated[float, Field(ge=0, le=100_000)] | None = None
    service_duration: ShortText | None = None
    pickup_location: Text | Place | None = None
    dropoff_location: Annotated[
        Text | Place | None, Field(validation_alias=AliasChoices("dropoffLocation", "destination"))
    ] = None
    special_equipment: Annotated[tuple[ShortText, ...], Field(max_length=32)] = ()
    service_notes: Text | None = None


class Completion(Wire):
    """What the partner's completion and the center's closing have in common."""

    cid: RsaCid
    partner_ticket_id: ShortText | None = None
    completion_time: Instant | None = None
    provider: Provider | None = None
    service_details: ServiceDetails | None = None
    cost_details: CostDetails | None = None
    actual_cost: Money | None = None
    customer_feedback: CustomerFeedback | None = None
    follow_up_required: Flag | None = None

    @model_validator(mode="after")
    def _one_total(self) -> Self:
        if self.actual_cost is not None and self.cost_details and self.actual_cost != self.cost_details.total_cost:
            raise ValueError(f"expected actualCost to equal costDetails.totalCost, {self.cost_details.total_cost}")
        return self


class ServiceCompleteRequest(Completion):
    """The partner is done (guide, Partner Dispatch Completion Request)."""

    partner: PartnerName | None = None
    status: Literal["COMPLETED"] = "COMPLETED"
    completion_notes: Text | None = None


class RsaResult(StrEnum):
    """How a request ended. TOWING_COMPLETED is the guide's; the others follow its service types."""

    TOWING_COMPLETED = "TOWING_COMPLETED"
    BATTERY_JUMP_COMPLETED = "BATTERY_JUMP_COMPLETED"
    TIRE_CHANGE_COMPLETED = "TIRE_CHANGE_COMPLETED"
    FUEL_DELIVERY_COMPLETED = "FUEL_DELIVERY_COMPLETED"
    LOCKOUT_COMPLETED = "LOCKOUT_COMPLETED"
    RESOLVED_BY_PHONE = "RESOLVED_BY_PHONE"
    NOT_COMPLETED = "NOT_COMPLETED"


class RsaCloseRequest(Completion):
    """The call center ends the request (guide, RSA Closure Request)."""

    vin: Vin | None = None
    result: RsaResult
    agent_id: ShortText | None = None
    notes: Text | None = None


class RsaCancelRequest(Wire):
    """Nobody needs help any more (design, section 5)."""

    cid: RsaCid
    vin: Vin | None = None
    reason: Text | None = None


class KnownPlace(Wire):
    """A place as the answers show it; coordinates are null where only the address is known."""

    latitude: float | None
    longitude: float | None
    address: str | None


class TrackedPlace(KnownPlace):
    """Where the partner's vehicle is, and when it said so."""

    last_update: Instant | None


class DispatchedProvider(Wire):
    """Who comes, as the dispatch answer shows it."""

    id: str | None
    name: str | None
    phone: str | None
    vehicle_type: str | None
    license_plate: str | None


class CostEstimate(Wire):
    """What it will cost, in minor units."""

    base_fee: int | None
    additional_fee: int | None
    total_estimate: int | None
    currency: str | None


class RsaIncidentResponse(Wire):
    """The answer to a request in the app: the open incident, which an earlier press may have opened."""

    cid: str
    vin: str
    status: RsaStatus
    timestamp: Instant
    service_type: ServiceType | None
    priority: Priority
    location: KnownPlace | None
    contact_center_phone: str | None
    anomalies: tuple[str, ...]


class RsaDispatchResponse(Wire):
    """The answer to a dispatch (guide, RSA Dispatch Response); ticket and provider once the partner names them."""

    cid: str
    status: RsaStatus
    timestamp: Instant
    partner: str
    partner_ticket_id: str | None
    provider: DispatchedProvider | None
    estimated_arrival: Instant | None
    estimated_duration: str | None
    estimated_duration_seconds: int | None
    dispatch_location: KnownPlace | None
    cost_estimate: CostEstimate | None


class DispatchConfirmResponse(Wire):
    """The answer to a partner's word (guide, Partner Dispatch Confirmation Response)."""

    cid: str
    partner_ticket_id: str | None
    status: RsaStatus
    timestamp: Instant


class DispatchLocationResponse(Wire):
    """The answer to a partner's position: what is now shown to the customer; distance in kilometres."""

    cid: str
    partner_ticket_id: str | None
    status: RsaStatus
    timestamp: Instant
    estimated_arrival: Instant | None
    estimated_distance: float | None


class RsaCancelResponse(Wire):
    """The answer to a cancellation."""

    cid: str
    status: RsaStatus
    timestamp: Instant


class CompletionConfirmation(Wire):
    """What followed the completion; false and null where nothing is attached that would do it."""

    service_id: str | None
    billing_processed: bool
    customer_notified: bool
    documents_generated: tuple[str, ...]


class NextSteps(Wire):
    """What is still to be done."""

    customer_feedback_requested: bool
    follow_up_scheduled: bool
    warranty_claim: bool


class ServiceCompleteResponse(Wire):
    """The answer to a partner's completion (guide, Partner Dispatch Completion Response)."""

    cid: str
    partner_ticket_id: str | None
    status: RsaStatus
    timestamp: Instant
    confirmation: CompletionConfirmation
    next_steps: NextSteps


class RsaClosureSummary(Wire):
    """What became of the request; the duration ends with the server's closing time."""

    service_type: ServiceType | None
    duration: str | None
    duration_seconds: int | None
    total_cost: int | None
    customer_satisfaction: int | None
    partner: str | None
    provider: str | None


class RsaClosureResponse(Wire):
    """The answer to a closing (guide, RSA Closure Response)."""

    cid: str
    status: RsaStatus
    timestamp: Instant
    summary: RsaClosureSummary


class KnownDriver(Wire):
    """The driver, without the licence number."""

    name: str | None
    phone: str | None


class KnownProviderVehicle(Wire):
    """What comes, as the status answer shows it."""

    type: str | None
    license_plate: str | None


class KnownProvider(Wire):
    """Who comes, as the status answer shows it."""

    id: str | None
    name: str | None
    phone: str | None
    driver: KnownDriver | None
    vehicle: KnownProviderVehicle | None


class LocationTracking(Wire):
    """Where everything is; distance in kilometres."""

    current_location: TrackedPlace | None
    breakdown_location: KnownPlace | None
    destination: KnownPlace | None
    estimated_distance: float | None
    estimated_arrival: Instant | None


class DeliveryStatus(StrEnum):
    """How far a webhook has come."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class DispatchDelivery(Wire):
    """Whether the dispatch has reached the partner's server, and what the last attempt met."""

    delivery: DeliveryStatus
    attempts: int
    last_error: str | None


class KnownCustomer(Wire):
    """Who asked for help."""

    name: str | None
    phone: str | None


class RsaTimelineLine(Wire):
    """What happened, when, and who did it (TCU, APP, SYSTEM, an agent, a partner or a role)."""

    status: RsaStatus
    timestamp: Instant
    description: str
    actor: str


class RsaStatusResponse(Wire):
    """Everything about one request (guide, RSA Status Response); `timestamp` says since when the status holds.

    `promisedArrival` is the first time of arrival that the partner gave. `dispatch` is null where nothing was
    dispatched or the partner takes no webhooks.
    """

    vin: str
    cid: str
    status: RsaStatus
    timestamp: Instant
    service_type: ServiceType | None
    priority: Priority
    partner: str | None
    partner_ticket_id: str | None
    provider: KnownProvider | None
    location_tracking: LocationTracking
    timeline: tuple[RsaTimelineLine, ...]
    estimated_cost: CostEstimate | None
    customer_info: KnownCustomer | None
    customer_consent: RsaConsent | None
    breakdown_details: BreakdownDetails
    agent_id: str | None
    promised_arrival: Instant | None
    dispatch: DispatchDelivery | None
    anomalies: tuple[str, ...]


class HistoryCost(Wire):
    """What it cost, in minor units."""

    amount: int | None
    currency: str | None
    payment_method: str | None


class RsaHistoryEntry(Wire):
    """One request of a vehicle's history; a closed one shows COMPLETED, and its own status in `incidentStatus`."""

    cid: str
    timestamp: Instant
    service_type: ServiceType | None
    status: RsaStatus
    incident_status: RsaStatus
    priority: Priority
    partner: str | None
    provider: str | None
    duration: str | None
    duration_seconds: int | None
    cost: HistoryCost | None
    breakdown_location: str | None
    destination: str | None
    customer_satisfaction: int | None
    agent_id: str | None
    completion_time: Instant | None
    notes: str | None


class RsaHistorySummary(Wire):
    """Figures over the vehicle's whole history; null without data."""

    total_incidents: int
    total_cost: int | None
    average_satisfaction: float | None
    most_used_service: ServiceType | None
    last_service_date: Instant | None


class RsaHistoryResponse(Wire):
    """A page of a vehicle's requests, newest first (guide, RSA History Response)."""

    vin: str
    incidents: tuple[RsaHistoryEntry, ...]
    total: int
    summary: RsaHistorySummary
    pagination: Pagination


class PartnerEntry(Wire):
    """A dispatch company."""

    partner: str
    name: str
    phone: str | None


class PartnerList(Wire):
    """All dispatch companies by id."""

    partners: tuple[PartnerEntry, ...]
