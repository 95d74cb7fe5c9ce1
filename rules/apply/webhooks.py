"""What partners and guardians are told by webhook, written in the transaction of what it tells."""

from datetime import datetime

from db import vehicles, webhooks
from db.pool import Connection
from db.rsa import RsaIncident
from rules import rsa as rule
from rules.webhooks import Topic


def push_dispatch(conn: Connection, incident: RsaIncident, *, requested_at: datetime, now: datetime) -> None:
    """Tell the incident's partner of its dispatch, if it has a URL."""
    payload = rule.dispatch_payload(incident, vehicles.get(conn, incident.vin), requested_at=requested_at)
    _push(conn, incident, Topic.DISPATCH, payload, now=now)


def withdraw(conn: Connection, incident: RsaIncident, *, reason: str, now: datetime) -> None:
    """Send no dispatch of this incident any more, and tell a partner that is under way that it need not come."""
    webhooks.withdraw(conn, cid=incident.cid, topic=Topic.DISPATCH, reason=f"withdrawn: {reason}", at=now)
    if incident.status in rule.UNDER_WAY:
        _push(conn, incident, Topic.WITHDRAWAL, rule.withdrawal_payload(incident, reason=reason, now=now), now=now)


def alert_guardian(conn: Connection, vin: str, topic: Topic, payload: dict[str, object], *, now: datetime) -> None:
    """Alert the vehicle's guardian, if there is a URL."""
    endpoint = webhooks.endpoint_of_guardian(conn, vin)
    if endpoint is not None:
        webhooks.enqueue(conn, endpoint, topic=topic, payload={"type": topic} | payload, cid=None, at=now)


def _push(conn: Connection, incident: RsaIncident, topic: Topic, payload: dict[str, object], *, now: datetime) -> None:
    endpoint = webhooks.endpoint_of_partner(conn, incident.partner) if incident.partner else None
    if endpoint is not None:
        webhooks.enqueue(conn, endpoint, topic=topic, payload={"type": topic} | payload, cid=incident.cid, at=now)
