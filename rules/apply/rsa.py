"""RSA incidents of app and call center: opened or joined by a press, dispatched to partners, cancelled and closed."""

from dataclasses import dataclass, replace
from datetime import datetime

from db import agents, events, incidents, partners, rsa, vehicles
from db.events import NewEvent
from db.pool import Connection
from db.rsa import RsaIncident
from rules import rsa as rule
from rules.apply import webhooks
from rules.errors import ConflictError, IllegalMoveError, NotFoundError, UnprocessableError
from rules.sos import dump
from schemas.rsa import (
    Completion,
    Priority,
    RsaCancelRequest,
    RsaCloseRequest,
    RsaDispatchRequest,
    RsaReport,
    RsaStatus,
)


@dataclass(frozen=True, slots=True)
class Press:
    """Somebody asked for assistance: in the vehicle (TCU) or in the app (APP)."""

    vin: str
    source: str
    report: RsaReport
    occurred_at: datetime
    received_at: datetime
    anomalies: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL
    cid: str | None = None


def press(conn: Connection, press: Press, *, now: datetime) -> str:
    """Open an incident, or join the vehicle's open one, and return its cid.

    Raises ConflictError where the press brings a cid that another incident has.
    """
    incidents.lock(conn)
    press = _as_consented(conn, press)
    joined = rsa.open_of_vehicle(conn, press.vin)
    if joined is not None:
        _join(conn, joined, press, now=now)
        return joined
    incident = _insert(conn, press, now=now)
    note(conn, incident, at=incident.occurred_at, actor=press.source, description="Roadside assistance requested")
    announce(conn, incident, "RSA_REQUESTED", at=incident.occurred_at)
    return incident.cid


def dispatch(conn: Connection, vin: str, request: RsaDispatchRequest, *, actor: str, now: datetime) -> RsaIncident:
    """Send a partner; from one that does not answer, or rejected, to another.

    Raises NotFoundError, IllegalMoveError, and UnprocessableError where consent was refused.
    """
    incident = _lock(conn, vin, request.cid)
    if partners.get(conn, request.partner) is None:
        raise NotFoundError(f"there is no partner {request.partner}")
    if incident.status == RsaStatus.DISPATCHED and incident.partner == request.partner:
        raise IllegalMoveError(status=incident.status, action=rule.Action.DISPATCH)
    if request.customer_consent is not None and not request.customer_consent.granted:
        raise UnprocessableError("expected the customer's consent to the dispatch", field="customerConsent.granted")
    changes = _with_dispatch(incident, request, now=now)
    changes = replace(changes, agent_id=_known_agent(conn, request.agent_id) or incident.agent_id)
    words = f"Dispatched to {request.partner}"
    if incident.status == RsaStatus.DISPATCHED:
        announce(conn, incident, "RSA_WITHDRAWN", at=now)  # the last event that its stream will show of this request
        words += f", {incident.partner} has not answered"
    webhooks.withdraw(conn, incident, reason="another partner was sent", now=now)
    moved = move(conn, changes, rule.Action.DISPATCH, actor=actor, description=words, now=now)
    webhooks.push_dispatch(conn, moved, requested_at=request.request_time or incident.occurred_at, now=now)
    return moved


def close(conn: Connection, vin: str, request: RsaCloseRequest, *, actor: str, now: datetime) -> RsaIncident:
    """End the request. Raises NotFoundError, ConflictError for another ticket, and IllegalMoveError when it is over."""
    incident = _lock(conn, vin, request.cid)
    check_ticket(incident, request.partner_ticket_id)
    changes = replace(
        with_completion(incident, request),
        result=request.result,
        agent_id=_known_agent(conn, request.agent_id) or incident.agent_id,
        notes=request.notes or incident.notes,
        closed_at=now,
    )
    closed = move(conn, changes, rule.Action.CLOSE, actor=actor, description=f"Closed: {request.result}", now=now)
    webhooks.withdraw(conn, incident, reason="the call center closed the request", now=now)
    return closed


def cancel(conn: Connection, vin: str, request: RsaCancelRequest, *, actor: str, now: datetime) -> RsaIncident:
    """End the request because nobody needs help any more. Raises NotFoundError and IllegalMoveError."""
    incident = _lock(conn, vin, request.cid)
    changes = replace(incident, notes=request.reason or incident.notes, closed_at=now)
    words = f"Cancelled: {request.reason or 'no reason given'}"
    cancelled = move(conn, changes, rule.Action.CANCEL, actor=actor, description=words, now=now)
    webhooks.withdraw(conn, incident, reason="the request was cancelled", now=now)
    return cancelled


def of_vehicle(conn: Connection, vin: str, cid: str) -> RsaIncident:
    """Return the vehicle's incident. Raises NotFoundError, also for another vehicle's."""
    incident = rsa.get(conn, cid)
    if incident is None or incident.vin != vin:
        raise NotFoundError(f"this vehicle has no RSA incident {cid}")
    return incident


def note(conn: Connection, incident: RsaIncident, *, at: datetime, actor: str, description: str) -> None:
    """Write one line to the incident's timeline, with its present status."""
    rsa.append_timeline(
        conn, incident.cid, status=incident.status, occurred_at=at, actor=actor, description=description
    )


def announce(conn: Connection, incident: RsaIncident, type_: str, *, at: datetime) -> None:
    """Write the event that tells everybody of the incident's new state."""
    events.append(
        conn,
        NewEvent(
            service="RSA",
            type=type_,
            priority=incident.priority,
            vin=incident.vin,
            cid=incident.cid,
            partner=incident.partner,
            occurred_at=at,
            data=rule.event_data(incident),
        ),
    )


def move(
    conn: Connection, incident: RsaIncident, action: rule.Action, *, actor: str, description: str, now: datetime
) -> RsaIncident:
    """Save the incident as changed and moved, with its line and its event. Raises IllegalMoveError."""
    moved = replace(incident, status=rule.advance(incident.status, action), updated_at=now)
    rsa.save(conn, moved)
    note(conn, moved, at=now, actor=actor, description=description)
    announce(conn, moved, f"RSA_{moved.status}", at=now)
    return moved


def with_completion(incident: RsaIncident, request: Completion) -> RsaIncident:
    """Return the incident with what a completion or a closing says of ticket, cost and satisfaction."""
    cost = dump(request.cost_details)
    if cost is None and request.actual_cost is not None:
        cost = {"totalCost": request.actual_cost, "currency": "KRW"}
    feedback = request.customer_feedback
    rating = feedback.satisfaction if feedback else None
    return replace(
        incident,
        provider=dump(request.provider) or incident.provider,
        partner_ticket_id=incident.partner_ticket_id or request.partner_ticket_id,
        completion_time=request.completion_time or incident.completion_time,
        cost=cost or incident.cost,
        customer_satisfaction=incident.customer_satisfaction if rating is None else rating,
        follow_up_required=incident.follow_up_required
        if request.follow_up_required is None
        else request.follow_up_required,
    )


def check_ticket(incident: RsaIncident, ticket: str | None) -> None:
    """Raise ConflictError where the ticket is not the one that the partner gave."""
    if ticket is not None and incident.partner_ticket_id not in {None, ticket}:
        raise ConflictError(f"expected partnerTicketId {incident.partner_ticket_id}")


def _with_dispatch(incident: RsaIncident, request: RsaDispatchRequest, *, now: datetime) -> RsaIncident:
    place, details = request.breakdown_location, request.breakdown_details
    changes = replace(
        incident,
        partner=request.partner,
        partner_ticket_id=None,  # a ticket of a partner that rejected is not the new partner's
        provider=None,
        provider_location=None,
        provider_located_at=None,
        estimated_arrival=None,
        arrival_noted=None,
        estimated_distance_km=None,
        service_type=request.service_type,
        priority=request.priority or incident.priority,
        destination=dump(request.destination) or incident.destination,
        vehicle_info=dump(request.vehicle_info) or incident.vehicle_info,
        customer_info=dump(request.customer_info) or incident.customer_info,
        customer_consent=dump(request.customer_consent) or incident.customer_consent,
        notes=request.notes or incident.notes,
        dispatched_at=now,
    )
    if place is not None:
        changes = replace(
            changes,
            latitude=place.latitude if place.latitude is not None else incident.latitude,
            longitude=place.longitude if place.longitude is not None else incident.longitude,
            address=place.address or incident.address,
            location_description=place.description or incident.location_description,
        )
    if details is not None:
        changes = replace(
            changes,
            symptoms=list(details.symptoms) or incident.symptoms,
            dtc_codes=list(details.dtc_codes) or incident.dtc_codes,
            description=details.description or incident.description,
            battery_voltage=incident.battery_voltage if details.battery_voltage is None else details.battery_voltage,
        )
    return changes


def _lock(conn: Connection, vin: str, cid: str) -> RsaIncident:
    incidents.lock(conn)
    return of_vehicle(conn, vin, cid)


def _known_agent(conn: Connection, agent_id: str | None) -> str | None:
    if agent_id is not None and agents.get(conn, agent_id) is None:
        raise NotFoundError(f"there is no agent {agent_id}")
    return agent_id


def _insert(conn: Connection, press: Press, *, now: datetime) -> RsaIncident:
    if press.cid is not None:
        incident = _new(press, press.cid, now=now)
        if not rsa.insert(conn, incident):
            raise ConflictError(f"another incident has the cid {press.cid}")
        return incident
    while True:  # a number may be taken by a cid that the app brought
        incident = _new(press, incidents.mint(conn, prefix="RSA", separator="_", now=now), now=now)
        if rsa.insert(conn, incident):
            return incident


def _as_consented(conn: Connection, press: Press) -> Press:
    """Return the press without its place where the driver has withdrawn LOCATION and this request does not share it."""
    report, consent = press.report, press.report.customer_consent
    shared = consent is not None and consent.location_sharing
    if report.location is None or shared or not vehicles.withholds_location(conn, press.vin):
        return press
    unplaced = report.model_copy(update={"location": None})
    return replace(press, report=unplaced, anomalies=(*press.anomalies, "LOCATION_WITHHELD"))


def _new(press: Press, cid: str, *, now: datetime) -> RsaIncident:
    report, place = press.report, press.report.location
    return RsaIncident(
        cid=cid,
        vin=press.vin,
        status=RsaStatus.REQUESTED,
        priority=press.priority,
        source=press.source,
        occurred_at=press.occurred_at,
        received_at=press.received_at,
        anomalies=list(press.anomalies),
        updated_at=now,
        service_type=report.service_type,
        latitude=place.latitude if place else None,
        longitude=place.longitude if place else None,
        accuracy_m=place.accuracy if place else None,
        address=place.address if place else None,
        symptoms=list(report.symptoms),
        description=report.description,
        dtc_codes=list(report.dtc_codes),
        battery_voltage=report.battery_voltage,
        customer_info=dump(report.customer_info),
        customer_consent=dump(report.customer_consent),
    )


def _join(conn: Connection, cid: str, press: Press, *, now: datetime) -> None:
    if press.cid not in {None, cid} and (taken := rsa.get(conn, str(press.cid))) is not None and taken.vin != press.vin:
        raise ConflictError(f"another incident has the cid {press.cid}")
    incident = rule.join(
        rsa.load(conn, [cid])[0], press.report, occurred_at=press.occurred_at, anomalies=press.anomalies, now=now
    )
    rsa.save(conn, incident)
    note(conn, incident, at=press.occurred_at, actor=press.source, description="Roadside assistance requested again")
    announce(conn, incident, "RSA_UPDATED", at=now)
