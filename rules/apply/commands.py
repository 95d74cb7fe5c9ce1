"""Commands to vehicles: issued with their event, so that the downlink sends them after the commit."""

from datetime import datetime, timedelta
from uuid import uuid4

from db import commands, events
from db.events import NewEvent
from db.pool import Connection
from schemas.base import format_instant
from schemas.command import CommandMessage, CommandType

TIME_SYNC_MOST = 3
TIME_SYNC_WITHIN = timedelta(hours=1)
TIME_SYNC_VALID = timedelta(minutes=1)


def sync_time(conn: Connection, vin: str, *, now: datetime) -> bool:
    """Ask a vehicle with an unusable clock to set it; at most three times an hour (design, section 4, Time)."""
    sent = commands.count_since(conn, vin=vin, type_=CommandType.TIME_SYNC, since=now - TIME_SYNC_WITHIN)
    if sent >= TIME_SYNC_MOST:
        return False
    command_id = uuid4()
    message = CommandMessage(
        command_id=str(command_id),
        type=CommandType.TIME_SYNC,
        issued_at=now,
        expires_at=now + TIME_SYNC_VALID,
        parameters={"serverTime": format_instant(now)},
    )
    commands.issue(
        conn,
        command_id=command_id,
        vin=vin,
        type_=message.type,
        parameters=message.parameters,
        issued_at=message.issued_at,
        expires_at=message.expires_at,
    )
    data = message.model_dump(mode="json", by_alias=True)
    events.append(
        conn,
        NewEvent(service="COMMAND", type="COMMAND_ISSUED", priority="NORMAL", vin=vin, occurred_at=now, data=data),
    )
    return True
