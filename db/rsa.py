"""RSA incidents: rows and timeline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from db.incidents import TimelineEntry
from db.pool import Connection
from db.statements import statements

_SQL = statements("rsa")
_JSON = (
    "customer_info",
    "customer_consent",
    "vehicle_info",
    "destination",
    "provider",
    "provider_location",
    "cost_estimate",
    "completion",
    "cost",
)


@dataclass(frozen=True, slots=True)
class RsaIncident:
    """One row of `rsa_incidents`. JSON columns hold the guides' objects in their wire spelling."""

    cid: str
    vin: str
    status: str
    priority: str
    source: str
    occurred_at: datetime
    received_at: datetime
    anomalies: list[str]
    updated_at: datetime
    service_type: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    accuracy_m: float | None = None
    address: str | None = None
    location_description: str | None = None
    symptoms: list[str] = field(default_factory=list)
    description: str | None = None
    dtc_codes: list[str] = field(default_factory=list)
    battery_voltage: float | None = None
    customer_info: dict[str, Any] | None = None
    customer_consent: dict[str, Any] | None = None
    vehicle_info: dict[str, Any] | None = None
    destination: dict[str, Any] | None = None
    partner: str | None = None
    partner_ticket_id: str | None = None
    provider: dict[str, Any] | None = None
    provider_location: dict[str, Any] | None = None
    provider_located_at: datetime | None = None
    estimated_arrival: datetime | None = None
    arrival_noted: datetime | None = None
    promised_arrival: datetime | None = None
    estimated_distance_km: float | None = None
    cost_estimate: dict[str, Any] | None = None
    dispatched_at: datetime | None = None
    completed_at: datetime | None = None
    completion: dict[str, Any] | None = None
    result: str | None = None
    completion_time: datetime | None = None
    closed_at: datetime | None = None
    cost: dict[str, Any] | None = None
    customer_satisfaction: int | None = None
    agent_id: str | None = None
    notes: str | None = None
    follow_up_required: bool | None = None


@dataclass(frozen=True, slots=True)
class HistorySummary:
    """Figures over one vehicle's whole history; null where there is no data."""

    total: int
    matching: int
    last_service_at: datetime | None
    total_cost: int | None
    average_satisfaction: float | None
    most_used_service: str | None


def load(conn: Connection, cids: Sequence[str]) -> list[RsaIncident]:
    """Return these incidents in this order; unknown ones are left out."""
    with conn.cursor(row_factory=class_row(RsaIncident)) as cursor:
        return cursor.execute(_SQL["load"], {"cids": list(cids)}).fetchall()


def get(conn: Connection, cid: str) -> RsaIncident | None:
    """Return one incident."""
    return next(iter(load(conn, [cid])), None)


def open_of_vehicle(conn: Connection, vin: str) -> str | None:
    """Return the cid of the vehicle's open incident."""
    row = conn.execute(_SQL["open_of_vehicle"], {"vin": vin}).fetchone()
    return None if row is None else row[0]


def insert(conn: Connection, incident: RsaIncident) -> bool:
    """Add a new incident; false where the cid is taken or the vehicle has an open one."""
    return conn.execute(_SQL["insert"], _values(incident)).fetchone() is not None


def save(conn: Connection, incident: RsaIncident) -> None:
    """Save an incident that was loaded under the incidents' lock."""
    conn.execute(_SQL["save"], _values(incident))


def history(conn: Connection, vin: str, *, limit: int, offset: int, status: str | None = None) -> list[RsaIncident]:
    """Return a page of the vehicle's incidents, newest first; where a status is given, of those shown with it."""
    rows = conn.execute(_SQL["history"], {"vin": vin, "limit": limit, "offset": offset, "status": status})
    return load(conn, [row[0] for row in rows])


def history_summary(conn: Connection, vin: str, *, status: str | None = None) -> HistorySummary:
    """Return the figures of the vehicle's whole history, and how many of it have the status."""
    with conn.cursor(row_factory=class_row(HistorySummary)) as cursor:
        return cursor.execute(_SQL["history_summary"], {"vin": vin, "status": status}).fetchall()[0]


def append_timeline(
    conn: Connection, cid: str, *, status: str, occurred_at: datetime, actor: str, description: str
) -> None:
    """Write one line to the timeline; nothing ever changes one."""
    conn.execute(
        _SQL["append_timeline"],
        {"cid": cid, "status": status, "occurred_at": occurred_at, "actor": actor, "description": description},
    )


def timeline(conn: Connection, cid: str) -> list[TimelineEntry]:
    """Return the timeline in the order written."""
    with conn.cursor(row_factory=class_row(TimelineEntry)) as cursor:
        return cursor.execute(_SQL["timeline"], {"cid": cid}).fetchall()


def count_dispatched(conn: Connection) -> int:
    """Return how many requests a partner is working on now."""
    row = conn.execute(_SQL["count_dispatched"]).fetchone()
    return int(row[0]) if row else 0


def take_delayed(conn: Connection, *, now: datetime) -> list[RsaIncident]:
    """Return those whose partner is not there at its time, each time of arrival once. Needs the incidents' lock."""
    return load(conn, [row[0] for row in conn.execute(_SQL["take_delayed"], {"now": now})])


def take_unanswered(conn: Connection, *, dispatched_before: datetime) -> list[RsaIncident]:
    """Return those whose partner has not answered, each dispatch once. Needs the incidents' lock."""
    rows = conn.execute(_SQL["take_unanswered"], {"dispatched_before": dispatched_before})
    return load(conn, [row[0] for row in rows])


def _values(incident: RsaIncident) -> dict[str, object]:
    values = {name: getattr(incident, name) for name in RsaIncident.__slots__}
    return values | {name: None if values[name] is None else Jsonb(values[name]) for name in _JSON}
