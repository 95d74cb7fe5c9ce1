"""SOS incidents: rows, queue, timeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from db.incidents import TimelineEntry
from db.pool import Connection
from db.statements import statements

_SQL = statements("sos")
_JSON = ("customer_consent", "vehicle_status", "dispatch_info", "emergency_services", "customer_status")


@dataclass(frozen=True, slots=True)
class SosIncident:
    """One row of `sos_incidents`. JSON columns hold the guides' objects in their wire spelling."""

    cid: str
    vin: str
    status: str
    emergency_type: str
    urgency: str
    source: str
    test_call: bool
    occurred_at: datetime
    received_at: datetime
    anomalies: list[str]
    updated_at: datetime
    latitude: float | None = None
    longitude: float | None = None
    accuracy_m: float | None = None
    address: str | None = None
    located_at: datetime | None = None
    description: str | None = None
    contact_number: str | None = None
    passenger_count: int | None = None
    vehicle_condition: str | None = None
    request_type: str | None = None
    customer_consent: dict[str, Any] | None = None
    vehicle_status: dict[str, Any] | None = None
    agent_id: str | None = None
    assigned_at: datetime | None = None
    connected_at: datetime | None = None
    dispatch_info: dict[str, Any] | None = None
    dispatched_at: datetime | None = None
    result: str | None = None
    notes: str | None = None
    completion_time: datetime | None = None
    closed_at: datetime | None = None
    emergency_services: dict[str, Any] | None = None
    customer_status: dict[str, Any] | None = None
    follow_up_required: bool | None = None


@dataclass(frozen=True, slots=True)
class HistorySummary:
    """Figures over one vehicle's whole history; seconds from press to voice, null where nobody was connected."""

    total: int
    last_incident_at: datetime | None
    average_response_s: float | None


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the center has been: seconds from press to voice and from assignment to closing; null without data."""

    response_s: float | None
    handling_s: float | None


@dataclass(frozen=True, slots=True)
class CenterLoad:
    """What the call center has to do now; `today` counts since the start of the UTC day."""

    active: int
    queued: int
    dispatched: int
    today: int


def load(conn: Connection, cids: Sequence[str]) -> list[SosIncident]:
    """Return these incidents in this order; unknown ones are left out."""
    with conn.cursor(row_factory=class_row(SosIncident)) as cursor:
        return cursor.execute(_SQL["load"], {"cids": list(cids)}).fetchall()


def get(conn: Connection, cid: str) -> SosIncident | None:
    """Return one incident."""
    return next(iter(load(conn, [cid])), None)


def open_of_vehicle(conn: Connection, vin: str, *, test_call: bool) -> str | None:
    """Return the cid of the vehicle's open incident."""
    return _cid(conn, "open_of_vehicle", vin=vin, test_call=test_call)


def insert(conn: Connection, incident: SosIncident) -> bool:
    """Add a new incident; false where the cid is taken or the vehicle has an open one."""
    return conn.execute(_SQL["insert"], _values(incident)).fetchone() is not None


def absorb(conn: Connection, incident: SosIncident) -> None:
    """Save what a further press changed."""
    conn.execute(_SQL["absorb"], _values(incident))


def assign(conn: Connection, cid: str, *, agent_id: str, at: datetime) -> None:
    """Give the incident to a counselor."""
    conn.execute(_SQL["assign"], {"cid": cid, "agent_id": agent_id, "at": at})


def head_of_queue(conn: Connection) -> str | None:
    """Return who is next: the most urgent of those without a counselor, then who has waited longest."""
    return _cid(conn, "head_of_queue")


def place_in_queue(conn: Connection, cid: str) -> int | None:
    """Return the incident's place in the queue, 1 for the next, None where it has a counselor or is not open."""
    row = conn.execute(_SQL["place_in_queue"], {"cid": cid}).fetchone()
    return None if row is None else row[0]


def set_connected(conn: Connection, cid: str, *, status: str, connected_at: datetime, at: datetime) -> None:
    """Note that customer and counselor are talking; the first connection's time stays."""
    conn.execute(_SQL["set_connected"], {"cid": cid, "status": status, "connected_at": connected_at, "at": at})


def set_dispatched(conn: Connection, cid: str, *, status: str, dispatch_info: dict[str, Any], at: datetime) -> None:
    """Note which service was sent; the first dispatch's time stays."""
    conn.execute(
        _SQL["set_dispatched"], {"cid": cid, "status": status, "dispatch_info": Jsonb(dispatch_info), "at": at}
    )


def set_resolved(conn: Connection, cid: str, *, status: str, notes: str | None, at: datetime) -> None:
    """Note that the emergency is over; notes that are not given stay."""
    conn.execute(_SQL["set_resolved"], {"cid": cid, "status": status, "notes": notes, "at": at})


def set_closed(
    conn: Connection,
    cid: str,
    *,
    status: str,
    at: datetime,
    result: str | None = None,
    notes: str | None = None,
    completion_time: datetime | None = None,
    agent_id: str | None = None,
    emergency_services: dict[str, Any] | None = None,
    customer_status: dict[str, Any] | None = None,
    follow_up_required: bool | None = None,
) -> None:
    """End the incident (CLOSED or CANCELLED) with what the counselor wrote."""
    conn.execute(
        _SQL["set_closed"],
        {
            "cid": cid,
            "status": status,
            "at": at,
            "result": result,
            "notes": notes,
            "completion_time": completion_time,
            "agent_id": agent_id,
            "emergency_services": _json(emergency_services),
            "customer_status": _json(customer_status),
            "follow_up_required": follow_up_required,
        },
    )


def has_open_of_agent(conn: Connection, agent_id: str) -> bool:
    """Tell whether the counselor still has an open incident."""
    row = conn.execute(_SQL["has_open_of_agent"], {"agent_id": agent_id}).fetchone()
    return row is not None and bool(row[0])


def of_agent(conn: Connection, agent_id: str) -> list[SosIncident]:
    """Return the counselor's open incidents, oldest first."""
    return load(conn, [row[0] for row in conn.execute(_SQL["of_agent"], {"agent_id": agent_id})])


def history(conn: Connection, vin: str, *, limit: int, offset: int) -> list[SosIncident]:
    """Return a page of the vehicle's incidents, newest first, without test calls."""
    rows = conn.execute(_SQL["history"], {"vin": vin, "limit": limit, "offset": offset})
    return load(conn, [row[0] for row in rows])


def history_summary(conn: Connection, vin: str) -> HistorySummary:
    """Return the figures of the vehicle's whole history."""
    with conn.cursor(row_factory=class_row(HistorySummary)) as cursor:
        return cursor.execute(_SQL["history_summary"], {"vin": vin}).fetchall()[0]


def history_types(conn: Connection, vin: str) -> dict[str, int]:
    """Return the number of the vehicle's incidents by emergency type."""
    return dict(conn.execute(_SQL["history_types"], {"vin": vin}).fetchall())


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


def pace(conn: Connection, *, since: datetime) -> Pace:
    """Return how fast the center has answered and handled the incidents since an instant."""
    with conn.cursor(row_factory=class_row(Pace)) as cursor:
        return cursor.execute(_SQL["pace"], {"since": since}).fetchall()[0]


def handling_of_agent(conn: Connection, agent_id: str, *, since: datetime) -> float | None:
    """Return the counselor's mean seconds from assignment to closing since an instant; None without data."""
    row = conn.execute(_SQL["handling_of_agent"], {"agent_id": agent_id, "since": since}).fetchone()
    return None if row is None else row[0]


def load_of_center(conn: Connection, *, day_start: datetime) -> CenterLoad:
    """Return what the center has to do now."""
    with conn.cursor(row_factory=class_row(CenterLoad)) as cursor:
        return cursor.execute(_SQL["load_of_center"], {"day_start": day_start}).fetchall()[0]


def _cid(conn: Connection, name: str, **values: object) -> str | None:
    row = conn.execute(_SQL[name], values).fetchone()
    return None if row is None else row[0]


def _json(value: dict[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(value)


def _values(incident: SosIncident) -> dict[str, object]:
    values = {name: getattr(incident, name) for name in SosIncident.__slots__}
    return values | {name: _json(values[name]) for name in _JSON}
