"""JSON Web Tokens of the identity provider: of whom they speak, once signature, claims and times fit (RFC 8725)."""

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import structlog
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from api.access import Credential, UnauthenticatedError
from api.settings import ApiSettings
from schemas.access import Role

LEEWAY = timedelta(seconds=30)
FRESH_S = 60.0
"""So long is the set of keys believed; one that the issuer has withdrawn is refused after that."""
UNKNOWN_S = 5.0
"""A key id that is not in the set makes it be read again, but not more often than this."""
_FETCH_S = 3.0
_SET_MOST_BYTES = 256 * 1024
_CLAIMS = ("exp", "iat", "sub", "aud", "iss")
_SUBJECT_LONGEST = 255
_log = structlog.get_logger()

_REFUSED: Mapping[type[Exception], tuple[str, str]] = {
    jwt.ExpiredSignatureError: ("TOKEN_EXPIRED", "the token has expired"),
    jwt.ImmatureSignatureError: ("TOKEN_NOT_YET_VALID", "the token is not valid yet"),
    jwt.InvalidAudienceError: ("TOKEN_AUDIENCE", "the token is for another audience"),
    jwt.InvalidIssuerError: ("TOKEN_ISSUER", "the token is of another issuer"),
    jwt.MissingRequiredClaimError: ("TOKEN_CLAIM_MISSING", f"expected a token with {', '.join(_CLAIMS)}"),
    jwt.InvalidSignatureError: ("TOKEN_SIGNATURE", "the token's signature does not fit"),
}


@dataclass(frozen=True, slots=True)
class TokenTrust:
    """Whose tokens are believed: one issuer, for one audience, signed in one way."""

    issuer: str
    audience: str
    algorithm: str
    keys: str
    """A file (JSON Web Key Set or PEM) or the https URL of a JSON Web Key Set."""


def trusted(settings: ApiSettings) -> TokenTrust | None:
    """Return whose tokens are believed, None where this process was told of nobody."""
    issuer, audience = settings.jwt_issuer, settings.jwt_audience
    if issuer is None or audience is None or settings.jwt_keys is None or settings.jwt_algorithm is None:
        return None
    return TokenTrust(issuer, audience, settings.jwt_algorithm, settings.jwt_keys)


class Tokens:
    """Reads tokens. May be called from several threads."""

    def __init__(self, trust: TokenTrust) -> None:
        self._trust = trust
        self._keys = _KeySet(trust.keys, trust.algorithm)

    def read(self, token: str) -> Credential:
        """Return whom the token speaks of. Raises UnauthenticatedError."""
        kid = self._kid(token)
        key = self._keys.find(kid)
        if key is None:
            raise UnauthenticatedError("TOKEN_KEY_UNKNOWN", "the token is signed with a key that is not known")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[self._trust.algorithm],
                audience=self._trust.audience,
                issuer=self._trust.issuer,
                leeway=LEEWAY,
                options={"require": list(_CLAIMS)},
            )
            return _credential(claims, kid)
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
            code, message = next(
                (said for type_, said in _REFUSED.items() if isinstance(error, type_)),
                ("TOKEN_MALFORMED", "expected a token that can be read"),
            )
            raise UnauthenticatedError(code, message) from error

    def knows(self, kid: str | None) -> bool:
        """Tell whether the issuer still has the key of this id."""
        return self._keys.find(kid) is not None

    def _kid(self, token: str) -> str | None:
        """Return the key id of a token that names our algorithm: it is fixed here, and never the token's to choose."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise UnauthenticatedError("TOKEN_MALFORMED", "expected a token that can be read") from error
        if header.get("alg") != self._trust.algorithm:
            raise UnauthenticatedError("TOKEN_ALGORITHM", f"expected a token signed with {self._trust.algorithm}")
        if "crit" in header:
            raise UnauthenticatedError("TOKEN_MALFORMED", "the token's header demands what is not understood here")
        kid: str | None = header.get("kid")
        return kid


def _credential(claims: Mapping[str, Any], kid: str | None) -> Credential:
    """Return who the claims speak of. Raises ValueError for a subject, roles or scope of another form."""
    subject, roles, scope = claims["sub"], claims.get("roles", []), claims.get("scope", "")
    subject.encode()  # a lone surrogate is no text
    if not subject or len(subject) > _SUBJECT_LONGEST or "\x00" in subject:
        raise ValueError("expected a sub of 1 to 255 characters")
    if not isinstance(roles, list) or not isinstance(scope, str):
        raise ValueError("expected roles as a list and scope as text")  # noqa: TRY004 - a claim of bad form
    known = {role.value for role in Role}
    return Credential(
        subject=subject,
        kid=kid,
        roles=frozenset(Role(role) for role in roles if isinstance(role, str) and role in known),
        scopes=frozenset(scope.split()),
        expires_at=datetime.fromtimestamp(int(claims["exp"]), UTC) + LEEWAY,
    )


class _KeySet:
    """The issuer's public keys by id, read again now and then, and when a token names one that is new."""

    def __init__(self, source: str, algorithm: str) -> None:
        self._source = source
        self._algorithm = algorithm
        self._keys: dict[str | None, Any] = {}
        self._tried_at_s: float | None = None
        self._reading = threading.Lock()

    def find(self, kid: str | None) -> Any | None:
        """Return the key; a file with one PEM key has it for every id."""
        if self._age_s() > (FRESH_S if self._has(kid) else UNKNOWN_S):
            with self._reading:
                if self._age_s() > (FRESH_S if self._has(kid) else UNKNOWN_S):  # nobody has read it meanwhile
                    self._read()
        return self._keys.get(kid, self._keys.get(None))

    def _has(self, kid: str | None) -> bool:
        return kid in self._keys or None in self._keys

    def _age_s(self) -> float:
        return float("inf") if self._tried_at_s is None else time.monotonic() - self._tried_at_s

    def _read(self) -> None:
        """Replace the keys; those that were read before stay where the source does not answer or can't be read."""
        try:
            self._keys = _parse(_load(self._source), self._algorithm)
        except (OSError, httpx.HTTPError, jwt.PyJWTError, ValueError, RecursionError) as error:
            _log.warning("the issuer's keys could not be read", exc_info=error)
        self._tried_at_s = time.monotonic()


def _load(source: str) -> bytes:
    if not source.startswith(("https://", "http://")):
        return Path(source).read_bytes()
    body = b""
    with httpx.stream("GET", source, timeout=_FETCH_S, follow_redirects=False) as answer:
        answer.raise_for_status()
        for part in answer.iter_bytes():
            body += part
            if len(body) > _SET_MOST_BYTES:
                raise ValueError("the issuer's key set is too large")
    return body


def _parse(text: bytes, algorithm: str) -> dict[str | None, Any]:
    """Return public keys for the algorithm by id: of a JSON Web Key Set (RFC 7517), or of a PEM file its only one."""
    if text.lstrip().startswith(b"-----"):
        return {None: load_pem_public_key(text)}
    found: dict[str | None, Any] = {}
    for entry in json.loads(text)["keys"]:
        # A symmetric key in a public set would let everybody sign; one for encryption signs nothing.
        if entry.get("kty") == "oct" or entry.get("use", "sig") != "sig" or "kid" not in entry:
            continue
        with suppress(jwt.PyJWTError):  # of another type: for tokens of another algorithm, which are refused here
            found[str(entry["kid"])] = jwt.PyJWK(entry, algorithm).key
    return found
