"""SOS incidents: opened or joined by a press, given to counselors, moved and closed."""

from dataclasses import dataclass, replace
from datetime import datetime

from db import agents, calls, events, incidents, sos, vehicles
from db import curfew as db_curfew
from db.calls import VoiceCall
from db.events import NewEvent
from db.pool import Connection
from db.sos import SosIncident
from rules import sos as rule
from rules.apply import commands, curfew
from rules.errors import ConflictError, IllegalMoveError, NotFoundError
from schemas.base import format_instant
from schemas.call import CallStatus
from schemas.sos import (
    SosCancelRequest,
    SosCloseRequest,
    SosDispatchRequest,
    SosReport,
    SosResolveRequest,
    SosStatus,
)

LOCATED_WITHOUT_CONSENT = "LOCATED_WITHOUT_CONSENT"
"""The driver has withdrawn the consent to be located: the place is used for the emergency, and this says so."""


@dataclass(frozen=True, slots=True)
class Press:
    """Somebody pressed SOS: in the vehicle (TCU) or in the app (APP). `anomalies` says what was wrong with it."""

    vin: str
    source: str
    report: SosReport
    occurred_at: datetime
    received_at: datetime
    anomalies: tuple[str, ...] = ()
    cid: str | None = None


def press(conn: Connection, press: Press, *, now: datetime) -> str:
    """Open an incident, or join the vehicle's open one, and return its cid.

    Raises ConflictError where the press brings a cid that another incident has.
    """
    incidents.lock(conn)
    if press.report.location is not None and vehicles.withholds_location(conn, press.vin):
        press = replace(press, anomalies=(*press.anomalies, LOCATED_WITHOUT_CONSENT))
    joined = sos.open_of_vehicle(conn, press.vin, test_call=press.report.test_call)
    if joined is not None:
        _join(conn, joined, press, now=now)
        return joined
    incident = _insert(conn, press, now=now)
    call = VoiceCall(mint_session(conn, now=now), incident.cid, CallStatus.CONNECTING, started_at=now)
    calls.insert(conn, call)
    note(conn, incident, at=incident.occurred_at, actor=press.source, description="Emergency call initiated")
    wrong = [anomaly for anomaly in press.anomalies if anomaly != LOCATED_WITHOUT_CONSENT]
    if len(wrong) < len(press.anomalies):
        note(conn, incident, at=now, actor="SYSTEM", description="Located for the emergency, though not consented to")
    if wrong:
        said = ", ".join(wrong)
        note(conn, incident, at=now, actor="SYSTEM", description=f"The press was not as it should be: {said}")
    if not incident.test_call:
        incident = _assign_idle(conn, incident, now=now)
        commands.release_start(conn, incident.vin, reason="SOS_OPEN", now=now)
    announce(conn, incident, "SOS_INITIATED", at=incident.occurred_at)
    return incident.cid


def press_in_app(conn: Connection, pressed: Press, *, now: datetime) -> str:
    """Do as `press`, and end a curfew violation with it; the worker judges all vehicles of a batch after it instead."""
    incidents.lock(conn)
    db_curfew.lock_watches(conn, [pressed.vin])
    cid = press(conn, pressed, now=now)
    curfew.judge(conn, pressed.vin, since=pressed.occurred_at, until=now, now=now)
    return cid


def close(conn: Connection, vin: str, request: SosCloseRequest, *, actor: str, now: datetime) -> SosIncident:
    """End the incident with what the counselor wrote, and free the counselor for the next in the queue.

    Raises NotFoundError, and IllegalMoveError where the incident is over already.
    """
    incidents.lock(conn)
    incident = of_vehicle(conn, vin, request.cid)
    status = rule.advance(incident.status, rule.Action.CLOSE)
    if request.agent_id is not None and agents.get(conn, request.agent_id) is None:
        raise NotFoundError(f"there is no agent {request.agent_id}")
    sos.set_closed(
        conn,
        incident.cid,
        status=status,
        at=now,
        result=request.result,
        notes=request.notes,
        completion_time=request.completion_time,
        agent_id=request.agent_id,
        emergency_services=rule.dump(request.emergency_services),
        customer_status=rule.dump(request.customer_status),
        follow_up_required=request.follow_up_required,
    )
    closed = of_vehicle(conn, vin, request.cid)
    note(conn, closed, at=now, actor=actor, description=f"Closed: {request.result}")
    announce(conn, closed, "SOS_CLOSED", at=now)
    if incident.agent_id is not None:
        _release(conn, incident.agent_id, now=now)
    curfew.judge(conn, vin, since=now, until=now, now=now)  # driving on inside a curfew counts again
    return closed


def take(conn: Connection, vin: str, cid: str, *, agent_id: str, actor: str, now: datetime) -> SosIncident:
    """Give an open incident to the counselor who asks for it, from the queue or from another counselor.

    Raises NotFoundError, and IllegalMoveError where the incident is over.
    """
    incidents.lock(conn)
    incident = of_vehicle(conn, vin, cid)
    if agents.get(conn, agent_id) is None:
        raise NotFoundError(f"there is no agent {agent_id}")
    if not rule.is_open(incident.status):
        raise IllegalMoveError(status=incident.status, action="TAKE")
    if incident.agent_id == agent_id:
        return incident
    agents.set_availability(conn, agent_id, "BUSY", at=now)
    sos.assign(conn, cid, agent_id=agent_id, at=now)
    taken = of_vehicle(conn, vin, cid)
    words = f"Taken by {agent_id}" + (f" from {incident.agent_id}" if incident.agent_id else "")
    note(conn, taken, at=now, actor=actor, description=words)
    announce(conn, taken, "SOS_UPDATED", at=now)
    if incident.agent_id is not None:
        _release(conn, incident.agent_id, now=now)
    return taken


def dispatch(conn: Connection, vin: str, request: SosDispatchRequest, *, actor: str, now: datetime) -> SosIncident:
    """Note which service was sent, or how far it has come. Raises NotFoundError and IllegalMoveError."""
    incidents.lock(conn)
    incident = of_vehicle(conn, vin, request.cid)
    status = rule.advance(incident.status, rule.Action.DISPATCH)
    info = rule.dispatch_info(incident.dispatch_info, request)
    sos.set_dispatched(conn, incident.cid, status=status, dispatch_info=info, at=now)
    sent = of_vehicle(conn, vin, request.cid)
    words = f"{request.service_type} {request.status}"
    named = ", ".join(name for name in (request.provider, request.unit_number) if name)
    note(conn, sent, at=now, actor=actor, description=f"{words}: {named}" if named else words)
    announce(conn, sent, "SOS_DISPATCHED", at=now)
    return sent


def resolve(conn: Connection, vin: str, request: SosResolveRequest, *, actor: str, now: datetime) -> SosIncident:
    """Note that the emergency is over, and free the counselor. Raises NotFoundError and IllegalMoveError."""
    incidents.lock(conn)
    incident = of_vehicle(conn, vin, request.cid)
    status = rule.advance(incident.status, rule.Action.RESOLVE)
    sos.set_resolved(conn, incident.cid, status=status, notes=request.notes, at=now)
    return _ended(conn, incident, actor=actor, description="Emergency resolved", now=now)


def cancel(conn: Connection, vin: str, request: SosCancelRequest, *, actor: str, now: datetime) -> SosIncident:
    """End an incident that was none, and free the counselor. Raises NotFoundError and IllegalMoveError."""
    incidents.lock(conn)
    incident = of_vehicle(conn, vin, request.cid)
    status = rule.advance(incident.status, rule.Action.CANCEL)
    sos.set_closed(conn, incident.cid, status=status, notes=request.reason, at=now)
    words = f"Cancelled: {request.reason or 'no reason given'}"
    return _ended(conn, incident, actor=actor, description=words, now=now)


def set_availability(conn: Connection, agent_id: str, availability: str, *, now: datetime) -> None:
    """Note whether a counselor is free; a free one takes the head of the queue. Raises NotFoundError."""
    incidents.lock(conn)
    agent = agents.get(conn, agent_id)
    if agent is None:
        raise NotFoundError(f"there is no agent {agent_id}")
    if agent.availability != availability:
        agents.set_availability(conn, agent_id, availability, at=now)
    serve_queue(conn, now=now)


def serve_queue(conn: Connection, *, now: datetime) -> None:
    """Give waiting incidents to idle counselors, head of the queue first. Needs the incidents' lock."""
    while (cid := sos.head_of_queue(conn)) is not None:
        incident = _assign_idle(conn, sos.load(conn, [cid])[0], now=now)
        if incident.agent_id is None:
            return
        announce(conn, incident, "SOS_UPDATED", at=now)


def of_vehicle(conn: Connection, vin: str, cid: str) -> SosIncident:
    """Return the vehicle's incident. Raises NotFoundError, also for another vehicle's."""
    incident = sos.get(conn, cid)
    if incident is None or incident.vin != vin:
        raise NotFoundError(f"this vehicle has no SOS incident {cid}")
    return incident


def connected(conn: Connection, incident: SosIncident, *, connected_at: datetime, now: datetime) -> SosIncident:
    """Note that customer and counselor talk. A message that comes after the end only fills in the time."""
    status = rule.advance(incident.status, rule.Action.CONNECT) if rule.is_open(incident.status) else incident.status
    sos.set_connected(conn, incident.cid, status=status, connected_at=connected_at, at=now)
    return replace(incident, status=status, connected_at=incident.connected_at or connected_at)


def note(conn: Connection, incident: SosIncident, *, at: datetime, actor: str, description: str) -> None:
    """Write one line to the incident's timeline, with its present status."""
    sos.append_timeline(
        conn, incident.cid, status=incident.status, occurred_at=at, actor=actor, description=description
    )


def announce(
    conn: Connection, incident: SosIncident, type_: str, *, at: datetime, call: VoiceCall | None = None
) -> None:
    """Write the event that tells everybody of the incident's new state."""
    data = rule.event_data(incident, vehicles.get(conn, incident.vin))
    if call is not None:
        data["voiceCall"] = call_data(call)
    events.append(
        conn,
        NewEvent(
            service="SOS",
            type=type_,
            priority=rule.priority(incident.urgency),
            vin=incident.vin,
            cid=incident.cid,
            occurred_at=at,
            data=data,
        ),
    )


def call_data(call: VoiceCall) -> dict[str, object]:
    """Return a call as events show it; duration in seconds, battery in volts."""
    return {
        "sessionId": call.session_id,
        "status": call.status,
        "startTime": format_instant(call.connected_at) if call.connected_at else None,
        "duration": call.duration_s,
        "batteryVoltage": call.battery_voltage,
    }


def mint_session(conn: Connection, *, now: datetime) -> str:
    """Return the id of a new voice call, as CALL-20260307-001."""
    return incidents.mint(conn, prefix="CALL", separator="-", now=now)


def _ended(conn: Connection, before: SosIncident, *, actor: str, description: str, now: datetime) -> SosIncident:
    """Return the incident as it ended, told to everybody, its counselor free for the next in the queue."""
    ended = of_vehicle(conn, before.vin, before.cid)
    note(conn, ended, at=now, actor=actor, description=description)
    announce(conn, ended, f"SOS_{ended.status}", at=now)
    if before.agent_id is not None:
        _release(conn, before.agent_id, now=now)
    curfew.judge(conn, before.vin, since=now, until=now, now=now)  # driving on inside a curfew counts again
    return ended


def _insert(conn: Connection, press: Press, *, now: datetime) -> SosIncident:
    if press.cid is not None:
        incident = _new(press, press.cid, now=now)
        if not sos.insert(conn, incident):
            raise ConflictError(f"another incident has the cid {press.cid}")
        return incident
    while True:  # a number may be taken by a cid that the app brought
        incident = _new(press, incidents.mint(conn, prefix="SOS", separator="_", now=now), now=now)
        if sos.insert(conn, incident):
            return incident


def _new(press: Press, cid: str, *, now: datetime) -> SosIncident:
    report, place = press.report, press.report.location
    return SosIncident(
        cid=cid,
        vin=press.vin,
        status=SosStatus.INITIATED,
        emergency_type=report.emergency_type,
        urgency=report.urgency,
        source=press.source,
        test_call=report.test_call,
        occurred_at=press.occurred_at,
        received_at=press.received_at,
        anomalies=list(press.anomalies),
        updated_at=now,
        latitude=place.latitude if place else None,
        longitude=place.longitude if place else None,
        accuracy_m=place.accuracy if place else None,
        address=place.address if place else None,
        located_at=press.occurred_at if place else None,
        description=report.description,
        contact_number=report.contact_number,
        passenger_count=report.passenger_count,
        vehicle_condition=report.vehicle_condition,
        request_type=report.request_type,
        customer_consent=rule.dump(report.customer_consent),
        vehicle_status=rule.dump(report.vehicle_status),
    )


def _join(conn: Connection, cid: str, press: Press, *, now: datetime) -> None:
    if press.cid not in {None, cid} and (taken := sos.get(conn, str(press.cid))) is not None and taken.vin != press.vin:
        raise ConflictError(f"another incident has the cid {press.cid}")
    incident = rule.join(
        sos.load(conn, [cid])[0], press.report, occurred_at=press.occurred_at, anomalies=press.anomalies, now=now
    )
    sos.absorb(conn, incident)
    note(conn, incident, at=press.occurred_at, actor=press.source, description="SOS pressed again")
    announce(conn, incident, "SOS_UPDATED", at=now)


def _assign_idle(conn: Connection, incident: SosIncident, *, now: datetime) -> SosIncident:
    agent = agents.longest_idle(conn)
    if agent is None:
        return incident
    agents.set_availability(conn, agent.agent_id, "BUSY", at=now)
    sos.assign(conn, incident.cid, agent_id=agent.agent_id, at=now)
    incident = replace(incident, agent_id=agent.agent_id, assigned_at=now, updated_at=now)
    note(conn, incident, at=now, actor="SYSTEM", description=f"Assigned to {agent.agent_id}")
    return incident


def _release(conn: Connection, agent_id: str, *, now: datetime) -> None:
    agent = agents.get(conn, agent_id)
    if agent is not None and agent.availability == "BUSY" and not sos.has_open_of_agent(conn, agent_id):
        agents.set_availability(conn, agent_id, "AVAILABLE", at=now)
    serve_queue(conn, now=now)
