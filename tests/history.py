"""A seeded history of incidents, as values that a test can compute with and as rows of the database."""

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, fields
from datetime import datetime, timedelta
from random import Random
from typing import Any

from db import agents, partners
from db.pool import Connection

AGENTS = {
    "AGENT_001": "AVAILABLE",
    "AGENT_002": "BUSY",
    "AGENT_003": "OFFLINE",
    "AGENT_004": "AVAILABLE",
    "IDLE": "OFFLINE",
}
"""Counselors and what they do now; IDLE never handled an incident."""
PARTNERS = ("GENESIS_ROAD", "HYUNDAI_ROAD", "NEW_ROAD", "SAMSUNG_FIRE")
"""Partners; NEW_ROAD never had a dispatch."""
PERIODS = (1, 7, 30, 90, 365)
_MICROSECOND = timedelta(microseconds=1)


@dataclass
class Sos:
    """An SOS incident, as far as statistics go."""

    cid: str
    vin: str
    status: str
    emergency_type: str
    test_call: bool
    occurred_at: datetime
    agent_id: str | None = None
    assigned_at: datetime | None = None
    connected_at: datetime | None = None
    dispatch_info: dict[str, Any] | None = None
    dispatched_at: datetime | None = None
    result: str | None = None
    closed_at: datetime | None = None
    emergency_services: dict[str, Any] | None = None


@dataclass
class Rsa:
    """A roadside assistance request, as far as statistics go."""

    cid: str
    vin: str
    status: str
    occurred_at: datetime
    service_type: str | None = None
    agent_id: str | None = None
    partner: str | None = None
    dispatched_at: datetime | None = None
    completed_at: datetime | None = None
    closed_at: datetime | None = None
    result: str | None = None
    cost: dict[str, Any] | None = None
    customer_satisfaction: int | None = None


@dataclass
class Call:
    """A voice call of an incident."""

    session_id: str
    cid: str
    status: str
    started_at: datetime
    connected_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: int | None = None


@dataclass
class History:
    """Everything that happened, calls by the cid of their incident."""

    sos: list[Sos] = field(default_factory=list)
    rsa: list[Rsa] = field(default_factory=list)
    calls: dict[str, list[Call]] = field(default_factory=dict)


def generate(seed: int, *, now: datetime, sos: int, rsa: int) -> History:
    """Return a history of somewhat more than 365 days, dense towards its end, with incidents on every edge."""
    random = Random(seed)
    history = History()
    edges = [edge for days in PERIODS for at in [now - timedelta(days=days)] for edge in (at, at - _MICROSECOND)] + [
        now
    ]
    for number in range(sos):
        at = edges[number] if number < len(edges) else _moment(random, now)
        incident = _sos(random, number, at)
        history.sos.append(incident)
        history.calls[incident.cid] = _calls(random, incident.cid, at)
    for number in range(rsa):
        at = edges[number] if number < len(edges) else _moment(random, now)
        request = _rsa(random, number, at)
        history.rsa.append(request)
        history.calls[request.cid] = _calls(random, request.cid, at)
        if number % 40 == 0:  # an emergency of the same vehicle, while the request is open and on the edges of that
            over = min((t for t in (request.completed_at, request.closed_at) if t), default=now)
            meeting = history.sos[-1 - number // 40]
            if meeting.status in {"CLOSED", "RESOLVED"} and over > at:
                meeting.vin, meeting.occurred_at = (
                    request.vin,
                    random.choice([at, at - _MICROSECOND, over, over - _MICROSECOND]),
                )
    _end_at_the_edges_of_today(history, now)
    return history


def _end_at_the_edges_of_today(history: History, now: datetime) -> None:
    midnight, lately = now.replace(hour=0, minute=0, second=0, microsecond=0), now - timedelta(days=2)
    edges = [midnight - _MICROSECOND, midnight, now - _MICROSECOND, now]
    emergencies = [i for i in history.sos if i.status == "CLOSED" and not i.test_call]
    requests = [i for i in history.rsa if i.status == "CLOSED" and i.result != "NOT_COMPLETED" and not i.completed_at]
    for ended in (emergencies, requests):
        yesterday = [i for i in ended if lately < i.occurred_at < edges[0]]
        for incident, closed_at in zip(yesterday[: len(edges)], edges, strict=True):
            incident.closed_at = closed_at


def store(conn: Connection, history: History) -> None:
    """Write the history into the tables."""
    for agent_id, availability in AGENTS.items():
        agents.put(conn, agent_id, name=f"Counselor {agent_id}")
        conn.execute("UPDATE agents SET availability = %s WHERE agent_id = %s", (availability, agent_id))
    for partner in PARTNERS:
        partners.put(conn, partner, name=partner.title())
    vins = sorted({incident.vin for incident in [*history.sos, *history.rsa]})
    conn.cursor().executemany("INSERT INTO vehicles (vin) VALUES (%s)", [(vin,) for vin in vins])
    _copy(
        conn,
        "sos_incidents",
        history.sos,
        {"urgency": "HIGH", "source": "TCU", "anomalies": "{}"},
        same=("received_at", "updated_at"),
    )
    _copy(
        conn, "rsa_incidents", history.rsa,
        {"priority": "NORMAL", "source": "APP", "anomalies": "{}", "symptoms": "{}", "dtc_codes": "{}"},
        same=("received_at", "updated_at"),
    )  # fmt: skip
    _copy(conn, "voice_calls", [call for calls in history.calls.values() for call in calls], {})
    conn.execute("ANALYZE")


def _copy(
    conn: Connection, table: str, rows: Iterable[Any], constant: dict[str, str], same: tuple[str, ...] = ()
) -> None:
    """Copy rows; `constant` columns have one value, `same` columns that of occurred_at."""
    rows = list(rows)
    columns = [*(f.name for f in fields(rows[0])), *constant, *same]
    with conn.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN".encode()) as copy:
        for row in rows:
            values = [json.dumps(value) if isinstance(value, dict) else value for value in astuple(row)]
            copy.write_row([*values, *constant.values(), *(row.occurred_at for _ in same)])


def _moment(random: Random, now: datetime) -> datetime:
    """Return an instant of the last 400 days: rather late ones, rather in the evening and on Fridays."""
    while True:
        at = now - timedelta(
            seconds=int(400 * 86_400 * random.random() ** 3) + 1, microseconds=random.choice([0, 250_000])
        )
        likely = 1.0 if at.hour in {18, 19, 20, 21, 23, 0} else 0.35
        if random.random() < likely * (1.0 if at.weekday() == 4 else 0.7):
            return at


def _vin(random: Random, number: int, *, is_open: bool) -> str:
    # One open incident per vehicle: those get one of their own.
    return f"KMHSH81C7LU{number:06d}" if is_open else f"KMHSH81C7LV{random.randrange(300):06d}"


def _sos(random: Random, number: int, at: datetime) -> Sos:
    status = random.choices(
        ["CLOSED", "RESOLVED", "CANCELLED", "INITIATED", "CONNECTED", "DISPATCHED"], [86, 4, 5, 1, 2, 2]
    )[0]
    is_open = status in {"INITIATED", "CONNECTED", "DISPATCHED"}
    incident = Sos(
        cid=f"SOS_20260101_{number:05d}",
        vin=_vin(random, number, is_open=is_open),
        status=status,
        emergency_type=random.choices(["MEDICAL", "BREAKDOWN", "ACCIDENT", "SECURITY", "OTHER"], [36, 28, 20, 12, 4])[
            0
        ],
        test_call=random.random() < 0.06,
        occurred_at=at,
        agent_id=random.choices([*list(AGENTS)[:4], None], [40, 25, 20, 10, 5])[0],
    )
    if incident.agent_id and random.random() < 0.9:
        incident.assigned_at = at + timedelta(seconds=random.randrange(60))
    if status != "INITIATED" and random.random() < 0.9:
        incident.connected_at = at + timedelta(seconds=random.randrange(-5, 200), milliseconds=random.randrange(1000))
    if random.random() < 0.3:
        incident.dispatched_at = at + timedelta(seconds=random.randrange(30, 900))
        sent = random.sample(["POLICE", "AMBULANCE", "FIRE", "TOWING"], 2)
        incident.dispatch_info = {"serviceType": sent[0]}
        if random.random() < 0.5:
            incident.dispatch_info["servicesDispatched"] = sent
    if status in {"CLOSED", "CANCELLED"}:
        incident.closed_at = at + timedelta(seconds=random.randrange(60, 40_000))
    if status == "CLOSED":
        incident.result = random.choice(
            ["POLICE_DISPATCHED", "TOWING_DISPATCHED", "RESOLVED_BY_PHONE", "RESOLVED_BY_PHONE", "FALSE_ALARM", "OTHER"]
        )
        if random.random() < 0.4:
            named = random.sample(["police", "ambulance", "fire", "towing"], 2)
            incident.emergency_services = {name: {"dispatched": random.random() < 0.5} for name in named}
    return incident


def _rsa(random: Random, number: int, at: datetime) -> Rsa:
    status = random.choices(
        ["CLOSED", "COMPLETED", "CANCELLED", "REJECTED", "REQUESTED", "DISPATCHED", "CONFIRMED", "EN_ROUTE", "ARRIVED"],
        [80, 6, 6, 1, 2, 2, 1, 1, 1],
    )[0]
    over = status in {"CLOSED", "COMPLETED", "CANCELLED"}
    request = Rsa(
        cid=f"RSA_20260101_{number:05d}",
        vin=_vin(random, 500_000 + number, is_open=not over),
        status=status,
        occurred_at=at,
        service_type=random.choices(["TOWING", "BATTERY_JUMP", "TIRE_CHANGE", "LOCKOUT", None], [40, 25, 20, 10, 5])[0],
        agent_id=random.choices([*list(AGENTS)[:4], None], [10, 20, 40, 25, 10])[0],
    )
    if status != "REQUESTED" and random.random() < 0.9:
        request.partner = random.choice([partner for partner in PARTNERS if partner != "NEW_ROAD"])
        request.dispatched_at = at + timedelta(seconds=random.randrange(30, 3000))
    if status == "COMPLETED" or (status == "CLOSED" and request.partner and random.random() < 0.8):
        request.completed_at = at + timedelta(
            seconds=random.randrange(3000, 15_000), milliseconds=random.randrange(1000)
        )
    if status in {"CLOSED", "CANCELLED"}:
        request.closed_at = (request.completed_at or at) + timedelta(seconds=random.randrange(60, 3000))
    if status == "CLOSED":
        failing = 4 if request.agent_id == "AGENT_004" else 1  # many requests, few of them successful
        ends = ["TOWING_COMPLETED", "LOCKOUT_COMPLETED", "RESOLVED_BY_PHONE", *["NOT_COMPLETED"] * failing]
        request.result = random.choice(ends)
        if request.result == "NOT_COMPLETED" and request.completed_at and random.random() < 0.1:
            request.completed_at = request.completed_at + timedelta(hours=9)
    if status in {"CLOSED", "COMPLETED"}:
        if random.random() < 0.8:
            currency = random.choices(["KRW", "USD"], [9, 1])[0]
            request.cost = {"totalCost": random.randrange(90_000), "currency": currency}
        request.customer_satisfaction = random.choice([None, None, 1, 3, 4, 5, 5])
    return request


def _calls(random: Random, cid: str, at: datetime) -> list[Call]:
    calls = []
    for number in range(random.choices([0, 1, 2, 3], [1, 12, 4, 1])[0]):
        call = Call(f"{cid}-{number}", cid, "CONNECTING", at + timedelta(minutes=number))
        call.status = random.choices(["ENDED", "FAILED", "CONNECTED", "CONNECTING"], [80, 15, 3, 2])[0]
        if call.status == "CONNECTED" or (call.status == "ENDED" and random.random() < 0.97) or random.random() < 0.1:
            call.connected_at = call.started_at + timedelta(seconds=5)
        if call.status == "ENDED" or (call.status == "FAILED" and call.connected_at):
            call.duration_s = random.randrange(2700) + (0 if call.connected_at else 5000)  # ringing is no talking
            call.ended_at = call.started_at + timedelta(seconds=5 + call.duration_s)
        calls.append(call)
    return calls
