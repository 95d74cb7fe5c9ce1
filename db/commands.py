"""Commands to vehicles and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from db.pool import Connection
from db.statements import statements

_SQL = statements("commands")


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how often it was sent, what the vehicle answered, and what became of it."""

    command_id: UUID
    vin: str
    type: str
    parameters: dict[str, Any]
    issued_at: datetime
    expires_at: datetime
    ack_status: str | None
    ack_reason: str | None
    acked_at: datetime | None
    outcome: str
    reason: str
    sends: int
    next_send_at: datetime | None
    closed_at: datetime | None


def issue(
    conn: Connection,
    *,
    command_id: UUID,
    vin: str,
    type_: str,
    parameters: dict[str, str],
    issued_at: datetime,
    expires_at: datetime,
    next_send_at: datetime | None,
) -> None:
    """Record a command that is about to be sent."""
    conn.execute(
        _SQL["issue"],
        {
            "command_id": command_id,
            "vin": vin,
            "type": type_,
            "parameters": Jsonb(parameters),
            "issued_at": issued_at,
            "expires_at": expires_at,
            "next_send_at": next_send_at,
        },
    )


def count_since(conn: Connection, *, vin: str, type_: str, since: datetime) -> int:
    """Return how many commands of this type the vehicle was sent after an instant."""
    row = conn.execute(_SQL["count_since"], {"vin": vin, "type": type_, "since": since}).fetchone()
    return int(row[0]) if row else 0


def get(conn: Connection, command_id: UUID) -> Command | None:
    """Return one command and lock it until the caller's commit."""
    with conn.cursor(row_factory=class_row(Command)) as cursor:
        return cursor.execute(_SQL["get"], {"command_id": command_id}).fetchone()


def of_vehicle(conn: Connection, vin: str, *, limit: int, offset: int) -> list[Command]:
    """Return a page of the vehicle's commands, newest first."""
    with conn.cursor(row_factory=class_row(Command)) as cursor:
        return cursor.execute(_SQL["of_vehicle"], {"vin": vin, "limit": limit, "offset": offset}).fetchall()


def count_of_vehicle(conn: Connection, vin: str) -> int:
    """Return how many commands the vehicle was ever sent."""
    row = conn.execute(_SQL["count_of_vehicle"], {"vin": vin}).fetchone()
    return int(row[0]) if row else 0


def newest(conn: Connection, vin: str, types: Sequence[str]) -> Command | None:
    """Return the vehicle's latest command of these types."""
    with conn.cursor(row_factory=class_row(Command)) as cursor:
        return cursor.execute(_SQL["newest"], {"vin": vin, "types": list(types)}).fetchone()


def due(conn: Connection, *, now: datetime, limit: int) -> list[Command]:
    """Return pending commands to be sent again or past their expiry."""
    with conn.cursor(row_factory=class_row(Command)) as cursor:
        return cursor.execute(_SQL["due"], {"now": now, "limit": limit}).fetchall()


def set_sent(conn: Connection, command_id: UUID, *, sends: int, next_send_at: datetime | None) -> None:
    """Note that the command was sent once more."""
    conn.execute(_SQL["set_sent"], {"command_id": command_id, "sends": sends, "next_send_at": next_send_at})


def set_acknowledged(
    conn: Connection, command_id: UUID, *, status: str, reason: str | None, acked_at: datetime
) -> None:
    """Record the vehicle's answer, which is the command's outcome."""
    values = {"command_id": command_id, "status": status, "reason": reason, "acked_at": acked_at}
    conn.execute(_SQL["set_acknowledged"], values)


def close(conn: Connection, command_id: UUID, *, outcome: str, reason: str, at: datetime) -> None:
    """End a command without an answer: EXPIRED or WITHDRAWN."""
    conn.execute(_SQL["close"], {"command_id": command_id, "outcome": outcome, "reason": reason, "at": at})
