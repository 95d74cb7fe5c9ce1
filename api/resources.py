"""What lives as long as the process: pool, keys seen lately, events on their way, figures."""

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from api.access import Principal, UnauthenticatedError, authenticate
from api.hub import Hub
from api.metrics import Metrics
from api.reader import EventReader
from api.settings import ApiSettings, Environment
from db import keys
from db.pool import Pool
from schemas.demo import DEMO_TOKEN

_KEY_TTL_S = 5.0
_KEYS_MOST = 10_000


class KeyRing:
    """Who holds which key; an answer of the database is believed for five seconds."""

    def __init__(self, pool: Pool, environment: Environment) -> None:
        self._pool = pool
        self._refused = {DEMO_TOKEN} if environment is Environment.PRODUCTION else frozenset()
        self._seen: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    def seen_lately(self, token: str) -> Principal | None:
        """Return the holder if the database told it within the last seconds and the key has not expired since."""
        found = self._seen.get(hashlib.sha256(token.encode()).digest())
        if found is None or found[0] < time.monotonic():
            return None
        principal = found[1]
        return None if _over(principal, datetime.now(UTC)) else principal

    def ask(self, token: str) -> Principal:
        """Return the holder as the database tells now. Raises UnauthenticatedError for a key that is not valid."""
        if token in self._refused:
            raise UnauthenticatedError("KEY_UNKNOWN", "no such key")
        with self._pool.connection() as conn:
            found = keys.find(conn, token)
        principal = authenticate(found, now=datetime.now(UTC))
        self._seen[hashlib.sha256(token.encode()).digest()] = (time.monotonic() + _KEY_TTL_S, principal)
        while len(self._seen) > _KEYS_MOST:
            self._seen.popitem(last=False)
        return principal


@dataclass(frozen=True, slots=True)
class Resources:
    """The parts of a running api process."""

    settings: ApiSettings
    name: str
    pool: Pool
    key_ring: KeyRing
    hub: Hub
    reader: EventReader
    metrics: Metrics
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def _over(principal: Principal, now: datetime) -> bool:
    return principal.expires_at is not None and principal.expires_at <= now
