"""SOS rows as the SOS guide's answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from api.answers.words import sos_duration, whole_seconds
from db.agents import Agent
from db.calls import VoiceCall
from db.incidents import TimelineEntry
from db.sos import HistorySummary, Pace, SosIncident
from db.vehicles import Vehicle, VehicleState
from rules.apply.presence import SILENT_AFTER
from schemas import sos as wire
from schemas.call import CallStatus
from schemas.problem import Pagination

STALE_AFTER = timedelta(minutes=5)
"""A vehicle status older than this is shown as stale; a connected vehicle reports every few seconds."""

_SERVICES = ("POLICE", "AMBULANCE", "FIRE", "TOWING")
_DISPATCHED = "_DISPATCHED"


@dataclass(frozen=True, slots=True)
class Center:
    """The call center's side of one incident: the counselor, the place in the queue, and the pace it is based on."""

    phone: str | None
    agent: Agent | None
    place: int | None
    on_duty: int
    pace: Pace


def incident_response(incident: SosIncident, calls: Sequence[VoiceCall], center: Center) -> wire.SosIncidentResponse:
    """Return the answer to a press in the app (SOS Incident Response)."""
    call = calls[-1] if calls else None
    return wire.SosIncidentResponse(
        cid=incident.cid,
        vin=incident.vin,
        status=wire.SosStatus(incident.status),
        timestamp=incident.occurred_at,
        emergency_type=wire.EmergencyType(incident.emergency_type),
        urgency=wire.Urgency(incident.urgency),
        location=_location(incident),
        contact_center=contact_center(center),
        voice_call=None
        if call is None
        else wire.InitialVoiceCall(
            status=CallStatus(call.status), phone_number=incident.contact_number, session_id=call.session_id
        ),
        estimated_response_time=sos_duration(center.pace.response_s),
        estimated_response_seconds=whole_seconds(center.pace.response_s),
        queue_place=center.place,
        anomalies=tuple(incident.anomalies),
    )


def contact_center(center: Center) -> wire.ContactCenter:
    """Return how soon somebody talks: with a counselor at once, else place × mean handling time / counselors."""
    wait_s: float | None = None
    if center.agent is not None:
        wait_s = 0
    elif center.place is not None and center.on_duty and center.pace.handling_s is not None:
        wait_s = center.place * center.pace.handling_s / center.on_duty
    return wire.ContactCenter(
        phone=center.phone,
        available=center.agent is not None or center.on_duty > 0,
        estimated_wait_time=sos_duration(wait_s),
        estimated_wait_seconds=whole_seconds(wait_s),
        agent_id=center.agent.agent_id if center.agent else None,
    )


def status_response(
    incident: SosIncident,
    calls: Sequence[VoiceCall],
    timeline: Sequence[TimelineEntry],
    center: Center,
    telemetry: VehicleState | None,
    *,
    vehicle: Vehicle,
    recordable: bool,
    now: datetime,
) -> wire.SosStatusResponse:
    """Return everything about one incident (SOS Status Response)."""
    place = _location(incident)
    tracked = place and wire.TrackedLocation(
        **place.model_dump(), accuracy=incident.accuracy_m, last_update=incident.located_at
    )
    return wire.SosStatusResponse(
        cid=incident.cid,
        vin=incident.vin,
        status=wire.SosStatus(incident.status),
        timestamp=incident.occurred_at,
        emergency_type=wire.EmergencyType(incident.emergency_type),
        urgency=wire.Urgency(incident.urgency),
        location=tracked,
        description=incident.description,
        contact_number=incident.contact_number,
        vehicle_status=_vehicle_status(incident, telemetry, now=now),
        voice_call=_voice_call(calls[-1], center.agent, recordable=recordable, now=now) if calls else None,
        dispatch_info=_dispatch_info(incident),
        timeline=tuple(
            wire.TimelineLine(
                status=line.status, timestamp=line.occurred_at, description=line.description, actor=line.actor
            )
            for line in timeline
        ),
        contact_center=contact_center(center),
        queue_place=center.place,
        customer_info=wire.SosCustomer(
            name=vehicle.customer_name,
            phone=incident.contact_number or vehicle.customer_phone,
            passenger_count=incident.passenger_count,
        ),
        customer_consent=None
        if incident.customer_consent is None
        else wire.SosConsent.model_validate(incident.customer_consent),
        test_call=incident.test_call,
        anomalies=tuple(incident.anomalies),
    )


def call_response(
    incident: SosIncident, call: VoiceCall, center: Center, *, recordable: bool, now: datetime
) -> wire.SosCallResponse:
    """Return the answer to what the counselor told of a call."""
    return wire.SosCallResponse(
        cid=incident.cid,
        status=wire.SosStatus(incident.status),
        timestamp=incident.updated_at,
        voice_call=_voice_call(call, center.agent, recordable=recordable, now=now),
    )


def dispatch_response(incident: SosIncident) -> wire.SosDispatchResponse:
    """Return the answer to a dispatch."""
    return wire.SosDispatchResponse(
        cid=incident.cid,
        status=wire.SosStatus(incident.status),
        timestamp=incident.updated_at,
        dispatch_info=_dispatch_info(incident),
    )


def move_response(incident: SosIncident) -> wire.SosMoveResponse:
    """Return the answer to a resolving or a cancellation."""
    return wire.SosMoveResponse(cid=incident.cid, status=wire.SosStatus(incident.status), timestamp=incident.updated_at)


def closure_response(incident: SosIncident, agent: Agent | None) -> wire.SosClosureResponse:
    """Return the answer to a closing (SOS Closure Response)."""
    duration_s = _duration_s(incident)
    return wire.SosClosureResponse(
        cid=incident.cid,
        status=wire.SosStatus(incident.status),
        timestamp=incident.closed_at or incident.updated_at,
        summary=wire.SosClosureSummary(
            emergency_type=wire.EmergencyType(incident.emergency_type),
            duration=sos_duration(duration_s),
            duration_seconds=whole_seconds(duration_s),
            services_dispatched=services_dispatched(incident),
            customer_safe=(incident.customer_status or {}).get("safe"),
            agent=agent.name if agent else None,
        ),
    )


def history_response(
    vin: str,
    incidents: Sequence[SosIncident],
    summary: HistorySummary,
    types: dict[str, int],
    *,
    limit: int,
    offset: int,
) -> wire.SosHistoryResponse:
    """Return a page of a vehicle's incidents (SOS History Response)."""
    total = summary.total
    return wire.SosHistoryResponse(
        vin=vin,
        incidents=tuple(_history_entry(incident) for incident in incidents),
        total=total,
        summary=wire.SosHistorySummary(
            total_incidents=total,
            emergency_types=types,
            average_response_time=sos_duration(summary.average_response_s),
            average_response_seconds=whole_seconds(summary.average_response_s),
            customer_satisfaction=None,  # nobody asks the customer after an SOS
            last_incident_date=summary.last_incident_at,
        ),
        pagination=Pagination(total=total, limit=limit, offset=offset, has_more=offset + len(incidents) < total),
    )


def agent_incidents_response(
    agent_id: str,
    incidents: Sequence[SosIncident],
    calls: dict[str, list[VoiceCall]],
    vehicles: dict[str, Vehicle],
    handling_s: float | None,
    *,
    limit: int,
    offset: int,
    now: datetime,
) -> wire.AgentIncidentsResponse:
    """Return a page of a counselor's open incidents, of which all are given (Agent Active Incidents Response)."""
    total, page = len(incidents), incidents[offset : offset + limit]
    urgencies = [incident.urgency for incident in incidents]
    return wire.AgentIncidentsResponse(
        agent_id=agent_id,
        active_incidents=tuple(_agent_incident(i, calls[i.cid], vehicles.get(i.vin), now=now) for i in page),
        total=total,
        summary=wire.AgentIncidentsSummary(
            critical_urgency=urgencies.count(wire.Urgency.CRITICAL),
            high_urgency=urgencies.count(wire.Urgency.HIGH),
            medium_urgency=urgencies.count(wire.Urgency.MEDIUM),
            low_urgency=urgencies.count(wire.Urgency.LOW),
            average_handling_time=sos_duration(handling_s),
            average_handling_seconds=whole_seconds(handling_s),
        ),
        pagination=Pagination(total=total, limit=limit, offset=offset, has_more=offset + len(page) < total),
    )


def services_dispatched(incident: SosIncident) -> tuple[str, ...]:
    """Return the services that were sent, by what the dispatch, the closing and its result say."""
    said = {name.upper() for name, service in (incident.emergency_services or {}).items() if service.get("dispatched")}
    dispatched = incident.dispatch_info or {}
    said |= {dispatched.get("serviceType") or "", *dispatched.get("servicesDispatched", [])}
    if incident.result is not None and incident.result.endswith(_DISPATCHED):
        said.add(incident.result.removesuffix(_DISPATCHED))
    return tuple(service for service in _SERVICES if service in said)


def _location(incident: SosIncident) -> wire.KnownLocation | None:
    if incident.latitude is None or incident.longitude is None:
        return None
    return wire.KnownLocation(latitude=incident.latitude, longitude=incident.longitude, address=incident.address)


def _vehicle_status(
    incident: SosIncident, telemetry: VehicleState | None, *, now: datetime
) -> wire.ReportedVehicleStatus | None:
    if incident.vehicle_status is not None:
        said: dict[str, Any] = incident.vehicle_status
        as_of, source = incident.occurred_at, "PRESS"
    elif telemetry is not None and telemetry.occurred_at is not None:
        said = {
            "drivable": telemetry.drivable,
            "engineStatus": telemetry.engine_status,
            "batteryVoltage": telemetry.battery_voltage,
            "fuelLevel": telemetry.fuel_level,
            "dtcCodes": telemetry.dtc_codes,
            "transmissionStatus": telemetry.transmission_status,
        }
        as_of, source = telemetry.occurred_at, "TELEMETRY"
    else:
        return None
    return wire.ReportedVehicleStatus(
        drivable=said.get("drivable"),
        engine_status=said.get("engineStatus"),
        battery_voltage=said.get("batteryVoltage"),
        fuel_level=said.get("fuelLevel"),
        dtc_codes=said.get("dtcCodes"),
        transmission_status=said.get("transmissionStatus"),
        as_of=as_of,
        age_seconds=max(0, int((now - as_of).total_seconds())),
        source=source,
        stale=now - as_of > STALE_AFTER,
        online=_online(incident, telemetry, now=now),
    )


def _online(incident: SosIncident, telemetry: VehicleState | None, *, now: datetime) -> bool | None:
    """Return whether the vehicle is connected; one that says so and has long been silent is not."""
    if telemetry is None or telemetry.online is None:
        return None
    spoke = [incident.received_at] if incident.source == "TCU" else []
    heard = max(at for at in (telemetry.received_at, telemetry.presence_changed_at, *spoke) if at is not None)
    return telemetry.online and now - heard <= SILENT_AFTER


def _voice_call(call: VoiceCall, agent: Agent | None, *, recordable: bool, now: datetime) -> wire.VoiceCallStatus:
    return wire.VoiceCallStatus(
        session_id=call.session_id,
        status=CallStatus(call.status),
        start_time=call.connected_at,
        duration=_call_duration_s(call, now=now),
        agent=wire.CallAgent(agent_id=agent.agent_id, name=agent.name, extension=agent.extension) if agent else None,
        # No recording system is attached, so nothing is recorded whatever the customer agreed to.
        recording=wire.Recording(consented=recordable, enabled=False, url=None, duration=None),
        battery_voltage=call.battery_voltage,
    )


def _call_duration_s(call: VoiceCall, *, now: datetime) -> int | None:
    if call.duration_s is not None or call.connected_at is None or call.status != CallStatus.CONNECTED:
        return call.duration_s
    return max(0, int((now - call.connected_at).total_seconds()))


def _dispatch_info(incident: SosIncident) -> wire.DispatchInfo:
    said = incident.dispatch_info or {}
    services = services_dispatched(incident)
    return wire.DispatchInfo(
        dispatched=bool(services) or incident.dispatched_at is not None,
        service_type=said.get("serviceType") or (services[0] if services else None),
        provider=said.get("provider"),
        estimated_arrival=said.get("estimatedArrival"),
        status=said.get("status"),
        contact_number=said.get("contactNumber"),
        unit_number=said.get("unitNumber"),
    )


def _history_entry(incident: SosIncident) -> wire.SosHistoryEntry:
    duration_s = whole_seconds(_duration_s(incident))
    return wire.SosHistoryEntry(
        cid=incident.cid,
        timestamp=incident.occurred_at,
        emergency_type=wire.EmergencyType(incident.emergency_type),
        status=wire.SosStatus(incident.status),
        urgency=wire.Urgency(incident.urgency),
        duration=duration_s,
        duration_seconds=duration_s,
        location=_location(incident),
        services_dispatched=services_dispatched(incident),
        customer_safe=(incident.customer_status or {}).get("safe"),
        agent_id=incident.agent_id,
        completion_time=incident.closed_at,
        notes=incident.notes,
    )


def _agent_incident(
    incident: SosIncident, calls: Sequence[VoiceCall], vehicle: Vehicle | None, *, now: datetime
) -> wire.AgentIncident:
    call = calls[-1] if calls else None
    return wire.AgentIncident(
        cid=incident.cid,
        vin=incident.vin,
        emergency_type=wire.EmergencyType(incident.emergency_type),
        urgency=wire.Urgency(incident.urgency),
        status=wire.SosStatus(incident.status),
        timestamp=incident.occurred_at,
        location=_location(incident),
        customer_name=vehicle.customer_name if vehicle else None,
        contact_number=incident.contact_number or (vehicle.customer_phone if vehicle else None),
        call_duration=_call_duration_s(call, now=now) if call else None,
        voice_call=wire.AgentCall(
            session_id=call.session_id, status=CallStatus(call.status), start_time=call.connected_at
        )
        if call
        else None,
    )


def _duration_s(incident: SosIncident) -> float | None:
    if incident.closed_at is None:
        return None
    return max(0.0, (incident.closed_at - incident.occurred_at).total_seconds())
