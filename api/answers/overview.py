"""Rows of lists over several vehicles as answers."""

from db.agents import Agent
from db.incidents import Overview
from db.vehicles import FleetVehicle, TrackPoint
from schemas import overview as wire
from schemas.incident import Service
from schemas.sos import AgentEntry, Availability, KnownLocation, Urgency


def incident_entry(row: Overview) -> wire.IncidentEntry:
    """Return an incident in one line."""
    return wire.IncidentEntry(
        service=Service(row.service),
        cid=row.cid,
        vin=row.vin,
        status=row.status,
        kind=row.kind,
        urgency=None if row.urgency is None else Urgency(row.urgency),
        priority=row.priority,
        timestamp=row.occurred_at,
        received_at=row.received_at,
        location=_location(row.latitude, row.longitude, row.address),
        customer_name=row.customer_name,
        agent_id=row.agent_id,
        assigned_at=row.assigned_at,
        connected_at=row.connected_at,
        dispatched_at=row.dispatched_at,
        partner=row.partner,
        estimated_arrival=row.estimated_arrival,
        promised_arrival=row.promised_arrival,
        anomalies=tuple(row.anomalies),
        updated_at=row.updated_at,
    )


def vehicle_entry(row: FleetVehicle) -> wire.VehicleEntry:
    """Return a vehicle with its latest state."""
    return wire.VehicleEntry(
        vin=row.vin,
        make=row.make,
        model=row.model,
        model_year=row.model_year,
        license_plate=row.license_plate,
        online=row.online,
        online_since=row.presence_changed_at,
        as_of=row.occurred_at,
        location=_location(row.latitude, row.longitude, None),
        heading=row.heading_deg,
        speed_kph=row.speed_kph,
        battery_voltage=row.battery_voltage,
        fuel_level=row.fuel_level,
        engine_status=row.engine_status,
    )


def track_point(row: TrackPoint) -> wire.TrackPoint:
    """Return where a vehicle was."""
    return wire.TrackPoint(
        timestamp=row.occurred_at,
        latitude=row.latitude,
        longitude=row.longitude,
        heading=row.heading_deg,
        speed_kph=row.speed_kph,
    )


def agent_entry(agent: Agent) -> AgentEntry:
    """Return a counselor."""
    return AgentEntry(
        agent_id=agent.agent_id,
        name=agent.name,
        extension=agent.extension,
        availability=Availability(agent.availability),
        since=agent.changed_at,
    )


def _location(latitude: float | None, longitude: float | None, address: str | None) -> KnownLocation | None:
    if latitude is None or longitude is None:
        return None
    return KnownLocation(latitude=latitude, longitude=longitude, address=address)
