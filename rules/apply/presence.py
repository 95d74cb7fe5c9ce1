"""Vehicles that fell silent although no last will said so: they are offline, and whoever looks at them is told."""

from datetime import datetime, timedelta

from db import events, rsa, sos, vehicles
from db.events import NewEvent
from db.pool import Connection
from rules.apply import rsa as apply_rsa
from rules.apply import sos as apply_sos

SILENT_AFTER = timedelta(minutes=10)
"""A connected vehicle says something every few seconds, at rest every few minutes."""

_MOST = 1000


def follow(conn: Connection, *, now: datetime) -> None:
    """Take silent vehicles for offline and those that spoke again for online, each told once."""
    for vin in vehicles.take_heard(conn, limit=_MOST):
        _tell(conn, vin, "VEHICLE_ONLINE", now=now)
    for vin in vehicles.take_silent(conn, heard_before=now - SILENT_AFTER, at=now, limit=_MOST):
        _tell(conn, vin, "VEHICLE_OFFLINE", now=now)


def _tell(conn: Connection, vin: str, type_: str, *, now: datetime) -> None:
    """Tell it on the streams of the vehicle's open incidents; where there is none, the event is only kept."""
    emergency = sos.open_of_vehicle(conn, vin, test_call=False)
    request = rsa.open_of_vehicle(conn, vin)
    if emergency is not None:
        apply_sos.announce(conn, apply_sos.of_vehicle(conn, vin, emergency), type_, at=now)
    if request is not None:
        apply_rsa.announce(conn, apply_rsa.of_vehicle(conn, vin, request), type_, at=now)
    if emergency is None and request is None:
        data = {"vin": vin, "online": type_ == "VEHICLE_ONLINE"}
        events.append(conn, NewEvent("VEHICLE", type_, "NORMAL", vin, occurred_at=now, data=data))
