"""API keys: stored as a keyed hash, found by their first characters."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("keys")
_PREFIX_LENGTH = len("sk_") + 8


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Who holds a key: the role, and the vehicles, counselor or partner it speaks for."""

    key_id: int
    prefix: str
    key_hash: bytes = field(repr=False)
    label: str
    role: str
    vins: list[str]
    every_vehicle: bool
    agent_id: str | None
    partner: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None
    streams: int | None


def new_token() -> str:
    """Return a new key: `sk_`, eight characters that name it in lists and logs, and 256 random bits."""
    return f"sk_{secrets.token_hex(36)}"


def prefix_of(token: str) -> str:
    """Return the part of a key that is no secret."""
    return token[:_PREFIX_LENGTH]


def hash_key(token: str, *, secret: str) -> bytes:
    """Return what is stored of a key: who reads the database and not the secret can neither use nor make one."""
    return hmac.digest(secret.encode(), token.encode(), hashlib.sha256)


def put(
    conn: Connection,
    token: str,
    *,
    secret: str,
    label: str,
    role: str,
    vins: Sequence[str] = (),
    every_vehicle: bool = False,
    agent_id: str | None = None,
    partner: str | None = None,
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
    streams: int | None = None,
) -> int:
    """Store a key by its hash and return its number; the same key again gets the new rights."""
    row = conn.execute(
        _SQL["put"],
        {
            "prefix": prefix_of(token),
            "key_hash": hash_key(token, secret=secret),
            "label": label,
            "role": role,
            "vins": list(vins),
            "every_vehicle": every_vehicle,
            "agent_id": agent_id,
            "partner": partner,
            "expires_at": expires_at,
            "requests_per_minute": requests_per_minute,
            "streams": streams,
        },
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING always returns
    return int(row[0])


def find(conn: Connection, token: str, *, secret: str) -> ApiKey | None:
    """Return the key as stored, also an expired or revoked one; None for an unknown token."""
    with conn.cursor(row_factory=class_row(ApiKey)) as cursor:
        alike = cursor.execute(_SQL["find"], {"prefix": prefix_of(token)}).fetchall()
    hashed = hash_key(token, secret=secret)
    return next((key for key in alike if hmac.compare_digest(key.key_hash, hashed)), None)


def by_number(conn: Connection, key_ids: Sequence[int]) -> list[ApiKey]:
    """Return these keys, also expired and revoked ones, in no order."""
    with conn.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(_SQL["by_number"], {"key_ids": list(key_ids)}).fetchall()


def list_all(conn: Connection) -> list[ApiKey]:
    """Return all keys by number."""
    with conn.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(_SQL["list_all"]).fetchall()


def revoke(conn: Connection, key_id: int, *, at: datetime) -> bool:
    """End a key; false where there is no such valid key."""
    return conn.execute(_SQL["revoke"], {"key_id": key_id, "revoked_at": at}).fetchone() is not None
