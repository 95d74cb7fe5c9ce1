"""Who calls: what a request brings becomes a principal, and an open stream's is asked for again."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr, TypeAdapter

from api.access import Credential, Principal, UnauthenticatedError
from api.tokens import Tokens
from db import grants, keys, tickets
from db.grants import Grant
from db.keys import ApiKey
from db.pool import Connection, Pool
from schemas.access import Role
from schemas.demo import DEMO_TOKEN
from schemas.production import Environment

BELIEVED_S = 3.0
"""So long may an answer of the database be used again: a key that is revoked lets nobody in for longer."""
_SEEN_MOST = 10_000
TICKET_LASTS = timedelta(seconds=30)
_CREDENTIAL = TypeAdapter(Credential)
LONGEST = 4096
"""Characters of a key or token; nothing longer is looked at."""
_DOTS = 2
"""A token has three parts (RFC 7515 §3.1), a key one."""


class KeyRing:
    """Tells who calls, by key or token; an answer of the database is believed for three seconds."""

    def __init__(self, pool: Pool, secret: SecretStr, environment: Environment, tokens: Tokens | None) -> None:
        self._pool = pool
        self._secret = secret
        self._tokens = tokens
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
        if len(token) > LONGEST:
            raise UnauthenticatedError("TOKEN_TOO_LARGE", f"expected a key or token of at most {LONGEST} characters")
        if token in self._refused:
            raise UnauthenticatedError("KEY_UNKNOWN", "no such key")
        principal = self._holder(token) if self._tokens is None or token.count(".") != _DOTS else self._subject(token)
        self._seen[_digest(token)] = (time.monotonic() + BELIEVED_S, principal)
        while len(self._seen) > _SEEN_MOST:
            self._seen.popitem(last=False)
        return principal

    def issue(self, caller: Principal) -> tuple[str, datetime]:
        """Return a ticket that opens one stream in the caller's place, and when it is too old for that."""
        ticket, expires_at = f"st_{secrets.token_hex(32)}", datetime.now(UTC) + TICKET_LASTS
        said = _CREDENTIAL.dump_python(caller.credential, mode="json")
        with self._pool.connection() as conn:
            tickets.put(conn, ticket, secret=self._secret.get_secret_value(), credential=said, expires_at=expires_at)
        return ticket, expires_at

    def redeem(self, ticket: str) -> Principal:
        """Return whose ticket it is, with the rights of now; it is used up. Raises UnauthenticatedError."""
        if len(ticket) <= LONGEST:
            with self._pool.connection() as conn:
                said = tickets.take(conn, ticket, secret=self._secret.get_secret_value(), now=datetime.now(UTC))
                credential = _CREDENTIAL.validate_python(said) if said is not None else None
                principal = self._present(conn, [credential]).get(credential) if credential else None
            if principal is not None:
                return principal
        raise UnauthenticatedError("TICKET_UNKNOWN", "expected a ticket that was not used yet, within 30 seconds")

    def still_valid(self, principals: Collection[Principal]) -> list[bool]:
        """Tell of each principal whether it has the same rights as before, as the database tells now."""
        credentials = {principal.credential for principal in principals}
        if self._tokens is not None:
            for kid in {one.kid for one in credentials if one.subject is not None}:
                self._tokens.knows(kid)  # asks the issuer where it is due, before a connection has to wait for that
        with self._pool.connection() as conn:
            present = self._present(conn, credentials)
        return [present.get(principal.credential) == principal for principal in principals]

    def _holder(self, key: str) -> Principal:
        with self._pool.connection() as conn:
            found = keys.find(conn, key, secret=self._secret.get_secret_value())
        return holder(found, now=datetime.now(UTC))

    def _subject(self, token: str) -> Principal:
        assert self._tokens is not None  # noqa: S101 - asked for only then
        credential = self._tokens.read(token)
        assert credential.subject is not None  # noqa: S101 - a token always has one
        with self._pool.connection() as conn:
            return subject(credential, grants.of_subjects(conn, [credential.subject]))

    def _present(self, conn: Connection, credentials: Collection[Credential]) -> dict[Credential, Principal]:
        """Return the principals of these credentials, without those that let nobody in any more."""
        now = datetime.now(UTC)
        found: dict[Credential, Principal] = {}
        for key in keys.by_number(conn, [one.key_id for one in credentials if one.key_id is not None]):
            with suppress(UnauthenticatedError):
                principal = holder(key, now=now)
                found[principal.credential] = principal
        subjects = [one for one in credentials if one.subject is not None]
        granted = grants.of_subjects(conn, [str(one.subject) for one in subjects]) if subjects else []
        for one in subjects:
            if self._tokens is None or not self._tokens.knows(one.kid):
                continue
            principal = subject(one, [grant for grant in granted if grant.subject == one.subject])
            if not _over(principal, now):
                found[one] = principal
        return found


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
        credential=Credential(key_id=key.key_id),
        roles=roles,
        vehicles=dict.fromkeys(key.vins, roles),
        of_every_vehicle=roles if key.every_vehicle else frozenset(),
        agent_id=key.agent_id,
        partner=key.partner,
        expires_at=key.expires_at,
        own_requests_per_minute=key.requests_per_minute,
        own_streams=key.streams,
    )


def subject(credential: Credential, granted: Iterable[Grant]) -> Principal:
    """Return what the subject of a token may do: what was granted, in the roles that the token names."""
    held = [(Role(grant.role), grant) for grant in granted if grant.role in credential.roles]
    vehicles: dict[str, frozenset[Role]] = {}
    for role, grant in held:
        if grant.vin is not None:
            vehicles[grant.vin] = vehicles.get(grant.vin, frozenset()) | {role}
    return Principal(
        credential=credential,
        roles=frozenset(role for role, _ in held),
        vehicles=vehicles,
        of_every_vehicle=frozenset(role for role, grant in held if grant.every_vehicle),
        agent_id=next((grant.agent_id for _, grant in held if grant.agent_id), None),
        partner=next((grant.partner for _, grant in held if grant.partner), None),
        expires_at=credential.expires_at,
    )


def _over(principal: Principal, now: datetime) -> bool:
    return principal.expires_at is not None and principal.expires_at <= now


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
