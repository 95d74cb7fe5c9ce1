"""API keys by their hash."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("keys")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Who holds a key: the role, and the vehicles, counselor or partner it speaks for."""

    key_id: int
    label: str
    role: str
    vins: list[str]
    every_vehicle: bool
    agent_id: str | None
    partner: str | None
    expires_at: datetime | None
    revoked_at: datetime | None


def hash_key(token: str) -> bytes:
    """Return what is stored of a key. Plain SHA-256: the keys have 256 random bits, so nothing can be guessed."""
    return hashlib.sha256(token.encode()).digest()


def put(
    conn: Connection,
    token: str,
    *,
    label: str,
    role: str,
    vins: Sequence[str] = (),
    every_vehicle: bool = False,
    agent_id: str | None = None,
    partner: str | None = None,
    expires_at: datetime | None = None,
) -> int:
    """Store a key by its hash and return its number; the same key again gets the new rights."""
    row = conn.execute(
        _SQL["put"],
        {
            "key_hash": hash_key(token),
            "label": label,
            "role": role,
            "vins": list(vins),
            "every_vehicle": every_vehicle,
            "agent_id": agent_id,
            "partner": partner,
            "expires_at": expires_at,
        },
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING always returns
    return int(row[0])


def find(conn: Connection, token: str) -> ApiKey | None:
    """Return the key as stored, also an expired or revoked one; None for an unknown token."""
    with conn.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(_SQL["find"], {"key_hash": hash_key(token)}).fetchone()


def list_all(conn: Connection) -> list[ApiKey]:
    """Return all keys by number."""
    with conn.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(_SQL["list_all"]).fetchall()


def revoke(conn: Connection, key_id: int, *, at: datetime) -> bool:
    """End a key; false where there is no such valid key."""
    return conn.execute(_SQL["revoke"], {"key_id": key_id, "revoked_at": at}).fetchone() is not None
