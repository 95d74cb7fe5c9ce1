"""Reads for the checker what the database holds."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from db.pool import Connection
from tests.faults.ledger import Claimed, Command, Stored, Violation


def read_stored(conn: Connection, vins: Sequence[str]) -> Stored:
    """Return all of it that is about these vehicles."""

    def rows(columns: str, table: str) -> list[tuple[Any, ...]]:
        query = f"SELECT {columns} FROM {table} WHERE vin = ANY(%s)"  # noqa: S608 - names of ours
        return conn.execute(query.encode(), (list(vins),)).fetchall()

    return Stored(
        claimed={
            str(message_id): Claimed(vin, kind, cid)
            for message_id, vin, kind, cid in rows("message_id, vin, kind, cid", "received_messages")
        },
        engine=Counter(str(row[0]) for row in rows("message_id", "engine_events")),
        status=Counter(str(row[0]) for row in rows("message_id", "vehicle_status")),
        incidents=dict(rows("cid, vin", "sos_incidents") + rows("cid, vin", "rsa_incidents")),
        calls=Counter(row[0] for row in rows("cid", "voice_calls JOIN incidents_overview USING (cid)")),
        violations=[
            Violation(vin, started_at, ended_at)
            for vin, started_at, ended_at, retracted_at in rows(
                "vin, started_at, ended_at, retracted_at", "curfew_violations"
            )
            if retracted_at is None
        ],
        commands={
            str(command_id): Command(vin, type_, issued_at, ack_status)
            for command_id, vin, type_, issued_at, ack_status in rows(
                "command_id, vin, type, issued_at, ack_status", "vehicle_commands"
            )
        },
    )
