"""Who calls: what a request brings becomes a principal, and an open stream's is asked for again."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Collection
from datetime import UTC, datetime

from pydantic import SecretStr

from api.access import Credential, Principal, UnauthenticatedError
from api.settings import Environment
from db import keys
from db.keys import ApiKey
from db.pool import Connection, Pool
from schemas.access import Role
from schemas.demo import DEMO_TOKEN

BELIEVED_S = 3.0
"""So long may an answer of the database be used again: a key that is revoked lets nobody in for longer."""
_SEEN_MOST = 10_000


class KeyRing:
    """Tells who holds which key; an answer of the database is believed for three seconds."""

    def __init__(self, pool: Pool, secret: SecretStr, environment: Environment) -> None:
        self._pool = pool
        self._secret = secret
        self._refused = {DEMO_TOKEN} if environment is Environment.PRODUCTION else frozenset()
        self._seen: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    def seen_lately(self, token: str) -> Principal | None:
        """Return the caller if the database told it within the last seconds and nothing has expired since."""
        found = self._seen.get(_digest(token))
        if found is None or found[0] < time.monotonic():
            return None
        principal = found[1]
        return None if _over(principal, datetime.now(UTC)) else principal

    def ask(self, token: str) -> Principal:
        """Return the caller as the database tells now. Raises UnauthenticatedError for what lets nobody in."""
        if token in self._refused:
            raise UnauthenticatedError("KEY_UNKNOWN", "no such key")
        with self._pool.connection() as conn:
            found = keys.find(conn, token, secret=self._secret.get_secret_value())
        principal = holder(found, now=datetime.now(UTC))
        self._seen[_digest(token)] = (time.monotonic() + BELIEVED_S, principal)
        while len(self._seen) > _SEEN_MOST:
            self._seen.popitem(last=False)
        return principal

    def still_valid(self, principals: Collection[Principal]) -> list[bool]:
        """Tell of each principal whether it has the same rights as before, as the database tells now."""
        with self._pool.connection() as conn:
            present = _present(conn, {principal.credential for principal in principals})
        return [present.get(principal.credential) == principal for principal in principals]


def holder(key: ApiKey | None, *, now: datetime) -> Principal:
    """Return who holds the key. Raises UnauthenticatedError for one that is unknown, revoked or expired."""
    if key is None:
        raise UnauthenticatedError("KEY_UNKNOWN", "no such key")
    if key.revoked_at is not None:
        raise UnauthenticatedError("KEY_REVOKED", "the key was revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise UnauthenticatedError("KEY_EXPIRED", "the key has expired")
    roles = frozenset({Role(key.role)})
    return Principal(
        credential=Credential(key.key_id),
        roles=roles,
        vehicles=dict.fromkeys(key.vins, roles),
        of_every_vehicle=roles if key.every_vehicle else frozenset(),
        agent_id=key.agent_id,
        partner=key.partner,
        expires_at=key.expires_at,
    )


def _present(conn: Connection, credentials: Collection[Credential]) -> dict[Credential, Principal]:
    """Return the principals of these credentials, without those that let nobody in any more."""
    now = datetime.now(UTC)
    found: dict[Credential, Principal] = {}
    for key in keys.by_number(conn, [credential.key_id for credential in credentials]):
        try:
            principal = holder(key, now=now)
        except UnauthenticatedError:
            continue
        found[principal.credential] = principal
    return found


def _over(principal: Principal, now: datetime) -> bool:
    return principal.expires_at is not None and principal.expires_at <= now


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
