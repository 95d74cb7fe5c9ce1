"""The outbox of webhooks: enqueue in the transaction of what they tell, lease, and note what became of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import class_row
from psycopg.types.json import Json

from db.pool import Connection
from db.statements import statements

_SQL = statements("webhooks")


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that the caller may post until its lease ends; `attempts` counts this one too."""

    delivery_id: UUID
    topic: str
    cid: str | None
    payload: dict[str, Any]
    attempts: int
    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """How far a delivery has come: PENDING, DELIVERED or FAILED."""

    status: str
    attempts: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class DeliveryLoad:
    """Deliveries that wait, and those that were taken or given up; withdrawn ones are neither."""

    pending: int
    delivered: int
    failed: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as operators see it, without its payload."""

    delivery_id: UUID
    partner: str | None
    topic: str
    cid: str | None
    status: str
    attempts: int
    last_error: str | None
    created_at: datetime
    next_attempt_at: datetime
    finished_at: datetime | None


def put_endpoint(conn: Connection, partner: str, *, url: str, secret: str, at: datetime) -> None:
    """Say where this partner's webhooks are posted to and what signs them; both replace what was said before."""
    conn.execute(_SQL["put_endpoint"], {"partner": partner, "url": url, "secret": secret, "changed_at": at})


def endpoint_of_partner(conn: Connection, partner: str) -> int | None:
    """Return the partner's endpoint, None where it has no URL."""
    row = conn.execute(_SQL["endpoint_of_partner"], {"partner": partner}).fetchone()
    return None if row is None else row[0]


def put_guardian_endpoint(conn: Connection, vin: str, *, url: str, secret: str, at: datetime) -> None:
    """Say where this vehicle's guardian is alerted and what signs it; both replace what was said before."""
    conn.execute(_SQL["put_guardian_endpoint"], {"vin": vin, "url": url, "secret": secret, "changed_at": at})


def endpoint_of_guardian(conn: Connection, vin: str) -> int | None:
    """Return the endpoint of this vehicle's guardian, None where there is none."""
    row = conn.execute(_SQL["endpoint_of_guardian"], {"vin": vin}).fetchone()
    return None if row is None else row[0]


def enqueue(
    conn: Connection, endpoint_id: int, *, topic: str, payload: dict[str, Any], cid: str | None, at: datetime
) -> UUID:
    """Write a delivery in the caller's transaction and return its id, which is the webhook-id."""
    delivery_id = uuid4()
    conn.execute(
        _SQL["enqueue"],
        {
            "delivery_id": delivery_id,
            "endpoint_id": endpoint_id,
            "topic": topic,
            "cid": cid,
            "payload": Json(payload),
            "at": at,
        },
    )
    return delivery_id


def claim(conn: Connection, *, now: datetime, leased_until: datetime, parallel: int, limit: int) -> list[Leased]:
    """Lease what is due, at most `parallel` at a time for each endpoint and `limit` in all."""
    values = {"now": now, "leased_until": leased_until, "parallel": parallel, "limit": limit}
    with conn.cursor(row_factory=class_row(Leased)) as cursor:
        return cursor.execute(_SQL["claim"], values).fetchall()


def delivered(conn: Connection, delivery_id: UUID, *, at: datetime) -> None:
    """Note that the receiver took it."""
    _finish(conn, delivery_id, status="DELIVERED", last_error=None, at=at)


def hasten(conn: Connection, delivery_id: UUID, *, at: datetime) -> None:
    """Make due what else waits for the receiver of this delivery: it takes deliveries again."""
    conn.execute(_SQL["hasten"], {"delivery_id": delivery_id, "at": at})


def failed(conn: Connection, delivery_id: UUID, *, error: str, at: datetime) -> None:
    """Note that it will not be tried again."""
    _finish(conn, delivery_id, status="FAILED", last_error=error, at=at)


def put_off(conn: Connection, delivery_id: UUID, *, error: str, next_attempt_at: datetime) -> None:
    """Note why it was not taken and when it is due again."""
    values = {"delivery_id": delivery_id, "last_error": error, "next_attempt_at": next_attempt_at}
    conn.execute(_SQL["put_off"], values)


def withdraw(conn: Connection, *, cid: str, topic: str, reason: str, at: datetime) -> int:
    """End what is still to be delivered of this incident and topic, and return how many there were."""
    values = {"cid": cid, "topic": topic, "reason": reason, "at": at}
    return conn.execute(_SQL["withdraw"], values).rowcount


def latest_of_incident(conn: Connection, cid: str, *, partner: str, topic: str) -> DeliveryState | None:
    """Return how far the partner's latest delivery about this incident has come, None where there is none."""
    with conn.cursor(row_factory=class_row(DeliveryState)) as cursor:
        values = {"cid": cid, "partner": partner, "topic": topic}
        return cursor.execute(_SQL["latest_of_incident"], values).fetchone()


def list_all(conn: Connection, *, partner: str | None, finished: bool, limit: int) -> list[Delivery]:
    """Return the pending deliveries, newest first; with `finished` also those that are over."""
    with conn.cursor(row_factory=class_row(Delivery)) as cursor:
        values = {"partner": partner, "finished": finished, "limit": limit}
        return cursor.execute(_SQL["list_all"], values).fetchall()


def load(conn: Connection, *, since: datetime) -> DeliveryLoad:
    """Return how many deliveries wait, and what became of those that ended since an instant."""
    with conn.cursor(row_factory=class_row(DeliveryLoad)) as cursor:
        return cursor.execute(_SQL["load"], {"since": since}).fetchall()[0]


def _finish(conn: Connection, delivery_id: UUID, *, status: str, last_error: str | None, at: datetime) -> None:
    conn.execute(_SQL["finish"], {"delivery_id": delivery_id, "status": status, "last_error": last_error, "at": at})
