"""The life of an RSA incident, as a table of moves, and how a further press changes an open one."""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rules.errors import IllegalMoveError
from rules.sos import dump
from schemas.base import format_instant
from schemas.rsa import RsaReport, RsaStatus

if TYPE_CHECKING:
    from db.rsa import RsaIncident


class Action(StrEnum):
    """What can be done to an incident."""

    DISPATCH = "DISPATCH"
    CONFIRM = "CONFIRM"
    REJECT = "REJECT"
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
    (_S.DISPATCHED, _A.CONFIRM): _S.CONFIRMED,
    (_S.DISPATCHED, _A.REJECT): _S.REJECTED,
    (_S.DISPATCHED, _A.CLOSE): _S.CLOSED,
    (_S.DISPATCHED, _A.CANCEL): _S.CANCELLED,
    (_S.CONFIRMED, _A.REJECT): _S.REJECTED,
    (_S.CONFIRMED, _A.DEPART): _S.EN_ROUTE,
    (_S.CONFIRMED, _A.ARRIVE): _S.ARRIVED,
    (_S.CONFIRMED, _A.COMPLETE): _S.COMPLETED,  # partners that report no position complete straight away
    (_S.CONFIRMED, _A.CLOSE): _S.CLOSED,
    (_S.CONFIRMED, _A.CANCEL): _S.CANCELLED,
    (_S.EN_ROUTE, _A.REJECT): _S.REJECTED,
    (_S.EN_ROUTE, _A.ARRIVE): _S.ARRIVED,
    (_S.EN_ROUTE, _A.COMPLETE): _S.COMPLETED,
    (_S.EN_ROUTE, _A.CLOSE): _S.CLOSED,
    (_S.EN_ROUTE, _A.CANCEL): _S.CANCELLED,
    (_S.ARRIVED, _A.COMPLETE): _S.COMPLETED,
    (_S.ARRIVED, _A.CLOSE): _S.CLOSED,
    (_S.ARRIVED, _A.CANCEL): _S.CANCELLED,
    (_S.REJECTED, _A.DISPATCH): _S.DISPATCHED,
    (_S.REJECTED, _A.CLOSE): _S.CLOSED,
    (_S.REJECTED, _A.CANCEL): _S.CANCELLED,
    (_S.COMPLETED, _A.CLOSE): _S.CLOSED,
}


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
