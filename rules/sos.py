"""The life of an SOS incident, as a table of moves, and how a further press changes an open one."""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rules.errors import IllegalMoveError
from schemas.base import format_instant
from schemas.sos import EmergencyType, SosDispatchRequest, SosReport, SosStatus, Urgency

if TYPE_CHECKING:
    from db.sos import SosIncident
    from db.vehicles import Vehicle


class Action(StrEnum):
    """What can be done to an incident."""

    CONNECT = "CONNECT"
    DISPATCH = "DISPATCH"
    RESOLVE = "RESOLVE"
    CLOSE = "CLOSE"
    CANCEL = "CANCEL"


_S, _A = SosStatus, Action
MOVES: dict[tuple[SosStatus, Action], SosStatus] = {
    (_S.INITIATED, _A.CONNECT): _S.CONNECTED,
    (_S.INITIATED, _A.DISPATCH): _S.DISPATCHED,
    (_S.INITIATED, _A.RESOLVE): _S.RESOLVED,
    (_S.INITIATED, _A.CLOSE): _S.CLOSED,
    (_S.INITIATED, _A.CANCEL): _S.CANCELLED,
    (_S.CONNECTED, _A.CONNECT): _S.CONNECTED,  # the line broke and the call was made again
    (_S.CONNECTED, _A.DISPATCH): _S.DISPATCHED,
    (_S.CONNECTED, _A.RESOLVE): _S.RESOLVED,
    (_S.CONNECTED, _A.CLOSE): _S.CLOSED,
    (_S.CONNECTED, _A.CANCEL): _S.CANCELLED,
    (_S.DISPATCHED, _A.CONNECT): _S.DISPATCHED,  # help was sent before the voice call stood
    (_S.DISPATCHED, _A.DISPATCH): _S.DISPATCHED,  # police first, an ambulance after
    (_S.DISPATCHED, _A.RESOLVE): _S.RESOLVED,
    (_S.DISPATCHED, _A.CLOSE): _S.CLOSED,
    (_S.DISPATCHED, _A.CANCEL): _S.CANCELLED,
    (_S.RESOLVED, _A.CLOSE): _S.CLOSED,
}
OPEN = frozenset({_S.INITIATED, _S.CONNECTED, _S.DISPATCHED})
"""While in one of these the vehicle's next press joins the incident, and its counselor is busy with it."""

_URGENCIES = list(Urgency)
_PRIORITIES = {Urgency.CRITICAL: "HIGH", Urgency.HIGH: "HIGH", Urgency.MEDIUM: "NORMAL", Urgency.LOW: "LOW"}


def advance(status: str, action: Action) -> SosStatus:
    """Return the status after the action. Raises IllegalMoveError where the table has no such move."""
    after = MOVES.get((SosStatus(status), action))
    if after is None:
        raise IllegalMoveError(status=status, action=action)
    return after


def is_open(status: str) -> bool:
    """Tell whether the incident still needs somebody."""
    return SosStatus(status) in OPEN


def priority(urgency: str) -> str:
    """Return the priority of an event about an incident of this urgency."""
    return _PRIORITIES[Urgency(urgency)]


def join(
    incident: "SosIncident", report: SosReport, *, occurred_at: datetime, anomalies: tuple[str, ...], now: datetime
) -> "SosIncident":
    """Return the incident after a further press: urgency only rises, newer knowledge replaces older, none is lost."""
    place = report.location
    newer = incident.located_at is None or occurred_at >= incident.located_at
    if place is not None and newer:
        incident = replace(
            incident,
            latitude=place.latitude,
            longitude=place.longitude,
            accuracy_m=place.accuracy,
            address=place.address or incident.address,
            located_at=occurred_at,
        )
    more_urgent = min(_URGENCIES.index(Urgency(incident.urgency)), _URGENCIES.index(report.urgency))
    said = report.emergency_type is not EmergencyType.OTHER
    return replace(
        incident,
        emergency_type=report.emergency_type if said else incident.emergency_type,
        urgency=_URGENCIES[more_urgent],
        anomalies=[*incident.anomalies, *(a for a in anomalies if a not in incident.anomalies)],
        description=report.description or incident.description,
        contact_number=report.contact_number or incident.contact_number,
        passenger_count=incident.passenger_count if report.passenger_count is None else report.passenger_count,
        vehicle_condition=report.vehicle_condition or incident.vehicle_condition,
        customer_consent=dump(report.customer_consent) or incident.customer_consent,
        vehicle_status=dump(report.vehicle_status) or incident.vehicle_status,
        updated_at=now,
    )


def dispatch_info(known: dict[str, Any] | None, request: SosDispatchRequest) -> dict[str, Any]:
    """Return what is known of the services after one was sent (SOS guide, dispatchInfo): the last, and all by name."""
    services = [service for service in (known or {}).get("servicesDispatched", []) if service != request.service_type]
    eta = request.estimated_arrival
    return {
        "dispatched": True,
        "serviceType": request.service_type,
        "provider": request.provider,
        "estimatedArrival": None if eta is None else format_instant(eta),
        "status": request.status,
        "contactNumber": request.contact_number,
        "unitNumber": request.unit_number,
        "servicesDispatched": [*services, request.service_type],
    }


def dump(value: Any) -> dict[str, Any] | None:
    """Return a wire model as the JSON object it came from, without what was not said; None stays None."""
    return None if value is None else value.model_dump(mode="json", by_alias=True, exclude_none=True)


def event_data(incident: "SosIncident", vehicle: "Vehicle | None") -> dict[str, Any]:
    """Return the `data` of an event about this incident (SOS guide, SOS Real-time Event)."""
    location = None
    if incident.latitude is not None and incident.longitude is not None:
        location = {
            "latitude": incident.latitude,
            "longitude": incident.longitude,
            "address": incident.address,
            "accuracy": incident.accuracy_m,
        }
    return {
        "cid": incident.cid,
        "vin": incident.vin,
        "emergencyType": incident.emergency_type,
        "urgency": incident.urgency,
        "status": incident.status,
        "location": location,
        "customerInfo": {
            "name": vehicle.customer_name if vehicle else None,
            "phone": incident.contact_number or (vehicle.customer_phone if vehicle else None),
            "passengerCount": incident.passenger_count,
        },
        "vehicleInfo": {
            "make": vehicle.make if vehicle else None,
            "model": vehicle.model if vehicle else None,
            "year": vehicle.model_year if vehicle else None,
            "condition": incident.vehicle_condition,
        },
        "description": incident.description,
        "agentId": incident.agent_id,
        "dispatchInfo": incident.dispatch_info,
        "testCall": incident.test_call,
        "anomalies": incident.anomalies,
        "occurredAt": format_instant(incident.occurred_at),
    }
