"""RSA incidents of the partners: what each says of what was dispatched to it. The same word again changes nothing."""

from dataclasses import replace
from datetime import datetime

from db import incidents, rsa
from db.pool import Connection
from db.rsa import RsaIncident
from rules import rsa as rule
from rules.apply.rsa import announce, check_ticket, move, note, with_completion
from rules.errors import NotFoundError
from rules.sos import dump
from schemas.base import format_instant
from schemas.rsa import (
    Answer,
    DispatchConfirmRequest,
    DispatchLocationRequest,
    RsaStatus,
    ServiceCompleteRequest,
)


def answer(
    conn: Connection, partner: str, request: DispatchConfirmRequest, *, actor: str, now: datetime
) -> RsaIncident:
    """Take the partner's yes or no to its dispatch.

    Raises NotFoundError for another partner's incident, ConflictError for another ticket, IllegalMoveError.
    """
    incident = _lock(conn, partner, request.cid, request.partner_ticket_id)
    place, distance_km = request.current_location, request.estimated_distance
    if request.status is Answer.REJECTED:
        if incident.status == RsaStatus.REJECTED:
            return incident
        words = f"{partner} rejected: {request.reason or 'no reason given'}"
        changes = replace(incident, partner_ticket_id=incident.partner_ticket_id or request.partner_ticket_id)
        return move(conn, changes, rule.Action.REJECT, actor=actor, description=words, now=now)
    if incident.status in rule.TRACKED:
        return _confirm_again(conn, incident, request, now=now)
    changes = replace(
        incident,
        partner_ticket_id=request.partner_ticket_id or incident.partner_ticket_id,
        provider=dump(request.provider) or incident.provider,
        estimated_arrival=request.estimated_arrival or incident.estimated_arrival,
        estimated_distance_km=incident.estimated_distance_km if distance_km is None else distance_km,
        provider_location=dump(place) or incident.provider_location,
        provider_located_at=incident.provider_located_at if place is None else now,
    )
    words = f"{partner} confirmed{_expectation(changes)}"
    changes = replace(changes, arrival_noted=changes.estimated_arrival)
    return move(conn, changes, rule.Action.CONFIRM, actor=actor, description=words, now=now)


def locate(
    conn: Connection, partner: str, request: DispatchLocationRequest, *, actor: str, now: datetime
) -> RsaIncident:
    """Take where the partner is, when it will be there, and whether it has left or arrived.

    Raises NotFoundError, ConflictError for another ticket, IllegalMoveError before its yes and after its arrival.
    """
    incident = _lock(conn, partner, request.cid, request.partner_ticket_id)
    place, distance_km = request.current_location, request.estimated_distance
    located_at = min(request.timestamp or now, now)
    changes = incident
    # What was overtaken on its way must not move the truck back.
    if incident.provider_located_at is None or located_at >= incident.provider_located_at:
        changes = replace(
            incident,
            estimated_arrival=request.estimated_arrival or incident.estimated_arrival,
            estimated_distance_km=incident.estimated_distance_km if distance_km is None else distance_km,
            provider_location=dump(place) or incident.provider_location,
            provider_located_at=incident.provider_located_at if place is None else located_at,
        )
    action = rule.arrival_action(incident.status, request.status and RsaStatus(request.status))
    if action is not rule.Action.TRACK:
        departs = action is rule.Action.DEPART
        words = f"{partner} is on its way{_expectation(changes)}" if departs else f"{partner} has arrived"
        changes = replace(changes, arrival_noted=changes.estimated_arrival)
        return move(conn, changes, action, actor=actor, description=words, now=now)
    rule.advance(incident.status, action)
    if changes == incident:
        return incident
    eta = changes.estimated_arrival
    if eta is not None and rule.is_noted(incident.arrival_noted, eta):
        changes = replace(changes, arrival_noted=eta)
        note(conn, changes, at=now, actor=actor, description=f"{partner} changed its arrival{_expectation(changes)}")
    return _update(conn, changes, now=now)


def complete(
    conn: Connection, partner: str, request: ServiceCompleteRequest, *, actor: str, now: datetime
) -> RsaIncident:
    """Take the partner's word that the service is done. Raises NotFoundError, ConflictError and IllegalMoveError."""
    incident = _lock(conn, partner, request.cid, request.partner_ticket_id)
    said = dump(request)
    if incident.completed_at is not None and incident.completion == said:
        return incident
    changes = replace(
        with_completion(incident, request),
        completed_at=now,
        completion=said,
        notes=request.completion_notes or incident.notes,
    )
    words = f"{partner} completed the service"
    return move(conn, changes, rule.Action.COMPLETE, actor=actor, description=words, now=now)


def _confirm_again(
    conn: Connection, incident: RsaIncident, request: DispatchConfirmRequest, *, now: datetime
) -> RsaIncident:
    """Fill in what the first yes did not say; what positions have told since is newer than a yes sent again."""
    changes = replace(
        incident,
        partner_ticket_id=incident.partner_ticket_id or request.partner_ticket_id,
        provider=incident.provider or dump(request.provider),
        estimated_arrival=incident.estimated_arrival or request.estimated_arrival,
    )
    return incident if changes == incident else _update(conn, changes, now=now)


def _expectation(incident: RsaIncident) -> str:
    eta = incident.estimated_arrival
    return "" if eta is None else f", expected at {format_instant(eta)}"


def _update(conn: Connection, changes: RsaIncident, *, now: datetime) -> RsaIncident:
    updated = replace(changes, updated_at=now)
    rsa.save(conn, updated)
    announce(conn, updated, "RSA_UPDATED", at=now)
    return updated


def _lock(conn: Connection, partner: str, cid: str, ticket: str | None) -> RsaIncident:
    incidents.lock(conn)
    incident = rsa.get(conn, cid)
    if incident is None or incident.partner != partner:
        raise NotFoundError(f"{partner} has no dispatch {cid}")
    check_ticket(incident, ticket)
    return incident
