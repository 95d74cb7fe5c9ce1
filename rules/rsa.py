"""The life of an RSA incident, as a table of moves, and how a further press changes an open one."""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rules.errors import IllegalMoveError
from rules.sos import dump
from schemas.base import format_instant
from schemas.rsa import RsaReport, RsaStatus

if TYPE_CHECKING:
    from db.rsa import RsaIncident
    from db.vehicles import Vehicle

UNANSWERED_AFTER = timedelta(minutes=10)
"""A partner that has not answered its dispatch for so long is not waited for: the center may send another."""

ETA_NOTED = timedelta(minutes=5)
"""A partner reckons its arrival anew with each position; the timeline shows changes of at least this."""


class Action(StrEnum):
    """What can be done to an incident."""

    DISPATCH = "DISPATCH"
    CONFIRM = "CONFIRM"
    REJECT = "REJECT"
    TRACK = "TRACK"
    DEPART = "DEPART"
    ARRIVE = "ARRIVE"
    COMPLETE = "COMPLETE"
    CLOSE = "CLOSE"
    CANCEL = "CANCEL"


_S, _A = RsaStatus, Action
MOVES: dict[tuple[RsaStatus, Action], RsaStatus] = {
    (_S.REQUESTED, _A.DISPATCH): _S.DISPATCHED,
    (_S.REQUESTED, _A.CLOSE): _S.CLOSED,
    (_S.REQUESTED, _A.CANCEL): _S.CANCELLED,
    (_S.DISPATCHED, _A.DISPATCH): _S.DISPATCHED,  # to another partner, where this one does not answer
    (_S.DISPATCHED, _A.CONFIRM): _S.CONFIRMED,
    (_S.DISPATCHED, _A.REJECT): _S.REJECTED,
    (_S.DISPATCHED, _A.CLOSE): _S.CLOSED,
    (_S.DISPATCHED, _A.CANCEL): _S.CANCELLED,
    (_S.CONFIRMED, _A.REJECT): _S.REJECTED,
    (_S.CONFIRMED, _A.TRACK): _S.CONFIRMED,
    (_S.CONFIRMED, _A.DEPART): _S.EN_ROUTE,
    (_S.CONFIRMED, _A.ARRIVE): _S.ARRIVED,
    (_S.CONFIRMED, _A.COMPLETE): _S.COMPLETED,  # partners that report no position complete straight away
    (_S.CONFIRMED, _A.CLOSE): _S.CLOSED,
    (_S.CONFIRMED, _A.CANCEL): _S.CANCELLED,
    (_S.EN_ROUTE, _A.REJECT): _S.REJECTED,
    (_S.EN_ROUTE, _A.TRACK): _S.EN_ROUTE,
    (_S.EN_ROUTE, _A.ARRIVE): _S.ARRIVED,
    (_S.EN_ROUTE, _A.COMPLETE): _S.COMPLETED,
    (_S.EN_ROUTE, _A.CLOSE): _S.CLOSED,
    (_S.EN_ROUTE, _A.CANCEL): _S.CANCELLED,
    (_S.ARRIVED, _A.TRACK): _S.ARRIVED,
    (_S.ARRIVED, _A.COMPLETE): _S.COMPLETED,
    (_S.ARRIVED, _A.CLOSE): _S.CLOSED,
    (_S.ARRIVED, _A.CANCEL): _S.CANCELLED,
    (_S.REJECTED, _A.DISPATCH): _S.DISPATCHED,
    (_S.REJECTED, _A.CLOSE): _S.CLOSED,
    (_S.REJECTED, _A.CANCEL): _S.CANCELLED,
    (_S.COMPLETED, _A.CLOSE): _S.CLOSED,
}

UNDER_WAY = frozenset({_S.DISPATCHED, _S.CONFIRMED, _S.EN_ROUTE, _S.ARRIVED})
"""While in one of these a partner has the job, and has to be told where it is taken away."""

TRACKED = frozenset(status for status, action in MOVES if action is _A.TRACK)
"""While in one of these the partner has said yes."""


def advance(status: str, action: Action) -> RsaStatus:
    """Return the status after the action. Raises IllegalMoveError where the table has no such move."""
    after = MOVES.get((RsaStatus(status), action))
    if after is None:
        raise IllegalMoveError(status=status, action=action)
    return after


def join(
    incident: "RsaIncident", report: RsaReport, *, occurred_at: datetime, anomalies: tuple[str, ...], now: datetime
) -> "RsaIncident":
    """Return the incident after a further press: what it newly tells is kept, what it does not tell stays."""
    place = report.location
    if place is not None and occurred_at >= incident.occurred_at:
        incident = replace(
            incident,
            latitude=place.latitude,
            longitude=place.longitude,
            accuracy_m=place.accuracy,
            address=place.address or incident.address,
        )
    voltage = report.battery_voltage
    return replace(
        incident,
        service_type=report.service_type or incident.service_type,
        anomalies=[*incident.anomalies, *(a for a in anomalies if a not in incident.anomalies)],
        symptoms=[*incident.symptoms, *(s for s in report.symptoms if s not in incident.symptoms)],
        description=report.description or incident.description,
        dtc_codes=[*incident.dtc_codes, *(c for c in report.dtc_codes if c not in incident.dtc_codes)],
        battery_voltage=incident.battery_voltage if voltage is None else voltage,
        customer_info=dump(report.customer_info) or incident.customer_info,
        customer_consent=dump(report.customer_consent) or incident.customer_consent,
        updated_at=now,
    )


def arrival_action(status: str, said: RsaStatus | None) -> Action:
    """Return what a partner's position does: the same state again is a mere position."""
    if said is None or said == status:
        return Action.TRACK
    return Action.DEPART if said is RsaStatus.EN_ROUTE else Action.ARRIVE


def is_noted(noted: datetime | None, said: datetime) -> bool:
    """Tell whether a time of arrival differs enough from the one that the timeline shows to be shown as well."""
    return noted is None or abs(said - noted) >= ETA_NOTED


def breakdown_location(incident: "RsaIncident") -> dict[str, Any] | None:
    """Return where the vehicle stands, as the guide's breakdownLocation; None where nobody said."""
    if incident.latitude is None or incident.longitude is None:
        return None
    return {"latitude": incident.latitude, "longitude": incident.longitude, "address": incident.address}


def event_data(incident: "RsaIncident") -> dict[str, Any]:
    """Return the `data` of an event about this incident (RSA guide, RSA Processing Status Real-time Query)."""
    return {
        "cid": incident.cid,
        "vin": incident.vin,
        "partner": incident.partner,
        "partnerTicketId": incident.partner_ticket_id,
        "serviceType": incident.service_type,
        "status": incident.status,
        "provider": incident.provider,
        "location": {
            "breakdownLocation": breakdown_location(incident),
            "providerLocation": incident.provider_location,
            "destination": incident.destination,
        },
        "estimatedArrival": format_instant(incident.estimated_arrival) if incident.estimated_arrival else None,
        "estimatedDistance": incident.estimated_distance_km,
        "customerInfo": incident.customer_info,
        "agentId": incident.agent_id,
        "anomalies": incident.anomalies,
        "occurredAt": format_instant(incident.occurred_at),
    }


def dispatch_payload(incident: "RsaIncident", vehicle: "Vehicle | None", *, requested_at: datetime) -> dict[str, Any]:
    """Return what a partner is told of its dispatch (RSA guide, RSA Dispatch Request), as far as the customer agreed.

    Coordinates and what the vehicle reported are left out (null) where the customer said no to sharing them.
    """
    consent = incident.customer_consent or {}
    located, reported = consent.get("locationSharing") is not False, consent.get("vehicleStatusSharing") is not False
    said = incident.vehicle_info or {}
    customer = incident.customer_info or {}
    return {
        "cid": incident.cid,
        "vin": incident.vin,
        "partner": incident.partner,
        "serviceType": incident.service_type,
        "priority": incident.priority,
        "breakdownLocation": {
            "address": incident.address,
            "latitude": incident.latitude if located else None,
            "longitude": incident.longitude if located else None,
            "description": incident.location_description,
        },
        "destination": incident.destination,
        "vehicleInfo": {
            "make": said.get("make") or (vehicle and vehicle.make),
            "model": said.get("model") or (vehicle and vehicle.model),
            "year": said.get("year") or (vehicle and vehicle.model_year),
            "color": said.get("color") or (vehicle and vehicle.color),
            "licensePlate": said.get("licensePlate") or (vehicle and vehicle.license_plate),
        },
        "breakdownDetails": {
            "symptoms": incident.symptoms,
            "description": incident.description,
            "dtcCodes": incident.dtc_codes if reported else None,
            "batteryVoltage": incident.battery_voltage if reported else None,
        },
        "customerInfo": {
            "name": customer.get("name") or (vehicle and vehicle.customer_name),
            "phone": customer.get("phone") or (vehicle and vehicle.customer_phone),
            "membershipId": customer.get("membershipId") or (vehicle and vehicle.membership_id),
        },
        "customerConsent": incident.customer_consent,
        "requestTime": format_instant(requested_at),
        "notes": incident.notes,
    }


def withdrawal_payload(incident: "RsaIncident", *, reason: str, now: datetime) -> dict[str, Any]:
    """Return what a partner is told when its dispatch is taken away."""
    return {
        "cid": incident.cid,
        "vin": incident.vin,
        "partner": incident.partner,
        "partnerTicketId": incident.partner_ticket_id,
        "reason": reason,
        "timestamp": format_instant(now),
    }
