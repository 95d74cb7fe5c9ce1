"""Tickets that open one stream each."""

from datetime import datetime
from typing import Any

from psycopg.types.json import Json

from db.keys import hash_key
from db.pool import Connection
from db.statements import statements

_SQL = statements("tickets")


def put(conn: Connection, ticket: str, *, secret: str, credential: dict[str, Any], expires_at: datetime) -> None:
    """Store a ticket by its hash."""
    values = {
        "ticket_hash": hash_key(ticket, secret=secret),
        "credential": Json(credential),
        "expires_at": expires_at,
    }
    conn.execute(_SQL["put"], values)


def take(conn: Connection, ticket: str, *, secret: str, now: datetime) -> dict[str, Any] | None:
    """Use a ticket up and return whose it is, None for one that is unknown, used or too old."""
    row = conn.execute(_SQL["take"], {"ticket_hash": hash_key(ticket, secret=secret)}).fetchone()
    return None if row is None or row[1] <= now else row[0]
