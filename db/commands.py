"""Commands to vehicles and their acknowledgements."""

from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from db.pool import Connection
from db.statements import statements

_SQL = statements("commands")


def issue(
    conn: Connection,
    *,
    command_id: UUID,
    vin: str,
    type_: str,
    parameters: dict[str, str],
    issued_at: datetime,
    expires_at: datetime,
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
        },
    )


def count_since(conn: Connection, *, vin: str, type_: str, since: datetime) -> int:
    """Return how many commands of this type the vehicle was sent after an instant."""
    row = conn.execute(_SQL["count_since"], {"vin": vin, "type": type_, "since": since}).fetchone()
    return int(row[0]) if row else 0


def acknowledge(
    conn: Connection, *, command_id: UUID, vin: str, status: str, reason: str | None, acked_at: datetime
) -> bool:
    """Record the vehicle's answer; false where the command is unknown to this vehicle or had its final answer."""
    values = {"command_id": command_id, "vin": vin, "status": status, "reason": reason, "acked_at": acked_at}
    return conn.execute(_SQL["acknowledge"], values).fetchone() is not None


def exists(conn: Connection, *, command_id: UUID, vin: str) -> bool:
    """Tell whether this vehicle was ever sent this command."""
    row = conn.execute(_SQL["exists"], {"command_id": command_id, "vin": vin}).fetchone()
    return row is not None and bool(row[0])
