"""Dispatches that time has run out for: the call center is told once of each."""

from datetime import datetime

from db import incidents, rsa
from db.pool import Connection
from rules.apply.rsa import announce, note
from rules.rsa import UNANSWERED_AFTER


def raise_delayed(conn: Connection, *, now: datetime) -> None:
    """Tell of partners that are not there at the time they gave; a new time of arrival is told of anew."""
    incidents.lock(conn)
    for incident in rsa.take_delayed(conn, now=now):
        note(conn, incident, at=now, actor="SYSTEM", description=f"{incident.partner} is late")
        announce(conn, incident, "RSA_DELAYED", at=now)


def raise_unanswered(conn: Connection, *, now: datetime) -> None:
    """Tell of partners that have not answered their dispatch, so that the center may send another."""
    incidents.lock(conn)
    for incident in rsa.take_unanswered(conn, dispatched_before=now - UNANSWERED_AFTER):
        minutes = int(UNANSWERED_AFTER.total_seconds() // 60)
        words = f"{incident.partner} has not answered for {minutes} minutes"
        note(conn, incident, at=now, actor="SYSTEM", description=words)
        announce(conn, incident, "RSA_UNANSWERED", at=now)
