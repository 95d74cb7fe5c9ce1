"""RSA rows as the RSA guide's answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from api.answers.words import rsa_duration, whole_seconds
from db.incidents import TimelineEntry
from db.rsa import HistorySummary, RsaIncident
from db.vehicles import Vehicle
from db.webhooks import DeliveryState
from schemas import rsa as wire
from schemas.problem import Pagination

_DONE = frozenset({wire.RsaStatus.COMPLETED, wire.RsaStatus.CLOSED})


def incident_response(incident: RsaIncident, *, phone: str | None) -> wire.RsaIncidentResponse:
    """Return the answer to a request in the app."""
    return wire.RsaIncidentResponse(
        cid=incident.cid,
        vin=incident.vin,
        status=wire.RsaStatus(incident.status),
        timestamp=incident.occurred_at,
        service_type=_service(incident.service_type),
        priority=wire.Priority(incident.priority),
        location=_breakdown(incident),
        contact_center_phone=phone,
        anomalies=tuple(incident.anomalies),
    )


def dispatch_response(incident: RsaIncident) -> wire.RsaDispatchResponse:
    """Return the answer to a dispatch (RSA Dispatch Response)."""
    provider, arrival, dispatched_at = incident.provider, incident.estimated_arrival, incident.dispatched_at
    underway_s = (arrival - dispatched_at).total_seconds() if arrival and dispatched_at else None
    vehicle: dict[str, Any] = (provider or {}).get("vehicle") or {}
    return wire.RsaDispatchResponse(
        cid=incident.cid,
        status=wire.RsaStatus(incident.status),
        timestamp=dispatched_at or incident.updated_at,
        partner=incident.partner or "",
        partner_ticket_id=incident.partner_ticket_id,
        provider=None
        if provider is None
        else wire.DispatchedProvider(
            id=provider.get("id"),
            name=provider.get("name"),
            phone=provider.get("phone"),
            vehicle_type=provider.get("vehicleType") or vehicle.get("type"),
            license_plate=provider.get("licensePlate") or vehicle.get("licensePlate"),
        ),
        estimated_arrival=arrival,
        estimated_duration=rsa_duration(underway_s),
        estimated_duration_seconds=whole_seconds(underway_s),
        dispatch_location=_breakdown(incident),
        cost_estimate=_estimate(incident),
    )


def confirm_response(incident: RsaIncident, timeline: Sequence[TimelineEntry]) -> wire.DispatchConfirmResponse:
    """Return the answer to a partner's word (Partner Dispatch Confirmation Response)."""
    return wire.DispatchConfirmResponse(
        cid=incident.cid,
        partner_ticket_id=incident.partner_ticket_id,
        status=wire.RsaStatus(incident.status),
        timestamp=_since(incident, timeline),
    )


def location_response(incident: RsaIncident) -> wire.DispatchLocationResponse:
    """Return the answer to a partner's position."""
    return wire.DispatchLocationResponse(
        cid=incident.cid,
        partner_ticket_id=incident.partner_ticket_id,
        status=wire.RsaStatus(incident.status),
        timestamp=incident.updated_at,
        estimated_arrival=incident.estimated_arrival,
        estimated_distance=incident.estimated_distance_km,
    )


def cancel_response(incident: RsaIncident) -> wire.RsaCancelResponse:
    """Return the answer to a cancellation."""
    return wire.RsaCancelResponse(
        cid=incident.cid,
        status=wire.RsaStatus(incident.status),
        timestamp=incident.closed_at or incident.updated_at,
    )


def complete_response(incident: RsaIncident) -> wire.ServiceCompleteResponse:
    """Return the answer to a completion; what nothing is attached for has not been done."""
    return wire.ServiceCompleteResponse(
        cid=incident.cid,
        partner_ticket_id=incident.partner_ticket_id,
        status=wire.RsaStatus.COMPLETED,  # of the service: the same word again is answered the same after the closing
        timestamp=incident.completed_at or incident.updated_at,
        confirmation=wire.CompletionConfirmation(
            service_id=None,
            billing_processed=(incident.cost or {}).get("billingStatus") == "PAID",
            customer_notified=False,
            documents_generated=(),
        ),
        next_steps=wire.NextSteps(
            customer_feedback_requested=False,
            follow_up_scheduled=bool(incident.follow_up_required),
            warranty_claim=False,
        ),
    )


def closure_response(incident: RsaIncident) -> wire.RsaClosureResponse:
    """Return the answer to a closing (RSA Closure Response)."""
    duration_s = _duration_s(incident)
    return wire.RsaClosureResponse(
        cid=incident.cid,
        status=wire.RsaStatus(incident.status),
        timestamp=incident.closed_at or incident.updated_at,
        summary=wire.RsaClosureSummary(
            service_type=_service(incident.service_type),
            duration=rsa_duration(duration_s),
            duration_seconds=whole_seconds(duration_s),
            total_cost=(incident.cost or {}).get("totalCost"),
            customer_satisfaction=incident.customer_satisfaction,
            partner=incident.partner,
            provider=(incident.provider or {}).get("name"),
        ),
    )


def status_response(
    incident: RsaIncident,
    timeline: Sequence[TimelineEntry],
    vehicle: Vehicle | None,
    delivery: DeliveryState | None,
) -> wire.RsaStatusResponse:
    """Return everything about one request (RSA Status Response)."""
    return wire.RsaStatusResponse(
        vin=incident.vin,
        cid=incident.cid,
        status=wire.RsaStatus(incident.status),
        timestamp=_since(incident, timeline),
        service_type=_service(incident.service_type),
        priority=wire.Priority(incident.priority),
        partner=incident.partner,
        partner_ticket_id=incident.partner_ticket_id,
        provider=_provider(incident.provider),
        location_tracking=wire.LocationTracking(
            current_location=_provider_location(incident),
            breakdown_location=_breakdown(incident),
            destination=_destination(incident.destination),
            estimated_distance=incident.estimated_distance_km,
            estimated_arrival=incident.estimated_arrival,
        ),
        timeline=tuple(
            wire.RsaTimelineLine(
                status=wire.RsaStatus(line.status),
                timestamp=line.occurred_at,
                description=line.description,
                actor=line.actor,
            )
            for line in timeline
        ),
        estimated_cost=_estimate(incident),
        customer_info=_customer(incident, vehicle),
        customer_consent=None
        if incident.customer_consent is None
        else wire.RsaConsent.model_validate(incident.customer_consent),
        breakdown_details=wire.BreakdownDetails(
            symptoms=tuple(incident.symptoms),
            description=incident.description,
            dtc_codes=tuple(incident.dtc_codes),
            battery_voltage=incident.battery_voltage,
        ),
        agent_id=incident.agent_id,
        promised_arrival=incident.promised_arrival,
        dispatch=None
        if delivery is None
        else wire.DispatchDelivery(
            delivery=wire.DeliveryStatus(delivery.status), attempts=delivery.attempts, last_error=delivery.last_error
        ),
        anomalies=tuple(incident.anomalies),
    )


def history_response(
    vin: str, incidents: Sequence[RsaIncident], summary: HistorySummary, *, limit: int, offset: int
) -> wire.RsaHistoryResponse:
    """Return a page of a vehicle's requests (RSA History Response)."""
    total = summary.matching
    return wire.RsaHistoryResponse(
        vin=vin,
        incidents=tuple(_history_entry(incident) for incident in incidents),
        total=total,
        summary=wire.RsaHistorySummary(
            total_incidents=summary.total,
            total_cost=summary.total_cost,
            average_satisfaction=summary.average_satisfaction,
            most_used_service=_service(summary.most_used_service),
            last_service_date=summary.last_service_at,
        ),
        pagination=Pagination(total=total, limit=limit, offset=offset, has_more=offset + len(incidents) < total),
    )


def _history_entry(incident: RsaIncident) -> wire.RsaHistoryEntry:
    status = wire.RsaStatus(incident.status)
    # The guide shows a closed request as COMPLETED; one that nobody completed is not shown as if somebody had.
    completed = status in _DONE and incident.result != wire.RsaResult.NOT_COMPLETED
    duration_s = _duration_s(incident)
    cost = incident.cost
    return wire.RsaHistoryEntry(
        cid=incident.cid,
        timestamp=incident.occurred_at,
        service_type=_service(incident.service_type),
        status=wire.RsaStatus.COMPLETED if completed else status,
        incident_status=status,
        priority=wire.Priority(incident.priority),
        partner=incident.partner,
        provider=(incident.provider or {}).get("name"),
        duration=rsa_duration(duration_s),
        duration_seconds=whole_seconds(duration_s),
        cost=None
        if cost is None
        else wire.HistoryCost(
            amount=cost.get("totalCost"), currency=cost.get("currency"), payment_method=cost.get("paymentMethod")
        ),
        breakdown_location=incident.address,
        destination=_name_or_address(incident.destination),
        customer_satisfaction=incident.customer_satisfaction,
        agent_id=incident.agent_id,
        completion_time=incident.closed_at,
        notes=incident.notes,
    )


def _since(incident: RsaIncident, timeline: Sequence[TimelineEntry]) -> datetime:
    """Return since when the present status holds: the first of the last lines that carry it."""
    since = incident.updated_at
    for line in reversed(timeline):
        if line.status != incident.status:
            break
        since = line.occurred_at
    return since


def _provider(said: dict[str, Any] | None) -> wire.KnownProvider | None:
    if said is None:
        return None
    driver, vehicle = said.get("driver"), said.get("vehicle")
    return wire.KnownProvider(
        id=said.get("id"),
        name=said.get("name"),
        phone=said.get("phone"),
        driver=wire.KnownDriver(name=driver.get("name"), phone=driver.get("phone")) if driver else None,
        vehicle=wire.KnownProviderVehicle(type=vehicle.get("type"), license_plate=vehicle.get("licensePlate"))
        if vehicle
        else None,
    )


def _provider_location(incident: RsaIncident) -> wire.TrackedPlace | None:
    said = incident.provider_location
    if said is None:
        return None
    return wire.TrackedPlace(
        latitude=said.get("latitude"),
        longitude=said.get("longitude"),
        address=said.get("address"),
        last_update=incident.provider_located_at,
    )


def _breakdown(incident: RsaIncident) -> wire.KnownPlace | None:
    if incident.latitude is None and incident.longitude is None and incident.address is None:
        return None
    return wire.KnownPlace(latitude=incident.latitude, longitude=incident.longitude, address=incident.address)


def _destination(said: dict[str, Any] | None) -> wire.KnownPlace | None:
    if said is None:
        return None
    return wire.KnownPlace(
        latitude=said.get("latitude"), longitude=said.get("longitude"), address=_name_or_address(said)
    )


def _name_or_address(place: dict[str, Any] | None) -> str | None:
    """Return what the guide prints of a destination: "Gangnam Service Center", its name."""
    return None if place is None else place.get("name") or place.get("address")


def _estimate(incident: RsaIncident) -> wire.CostEstimate | None:
    said = incident.cost_estimate
    if said is None:
        return None
    return wire.CostEstimate(
        base_fee=said.get("baseFee"),
        additional_fee=said.get("additionalFee"),
        total_estimate=said.get("totalEstimate"),
        currency=said.get("currency"),
    )


def _customer(incident: RsaIncident, vehicle: Vehicle | None) -> wire.KnownCustomer | None:
    said = incident.customer_info or {}
    name = said.get("name") or (vehicle.customer_name if vehicle else None)
    phone = said.get("phone") or (vehicle.customer_phone if vehicle else None)
    return None if name is None and phone is None else wire.KnownCustomer(name=name, phone=phone)


def _service(name: str | None) -> wire.ServiceType | None:
    return None if name is None else wire.ServiceType(name)


def _duration_s(incident: RsaIncident) -> float | None:
    if incident.closed_at is None:
        return None
    return max(0.0, (incident.closed_at - incident.occurred_at).total_seconds())
