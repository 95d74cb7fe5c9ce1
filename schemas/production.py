"""What a production start refuses: what everybody knows, and what travels unprotected."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from schemas.demo import DEVELOPMENT_AUTHORITY


class Environment(StrEnum):
    """Where a process runs (TCU_ENVIRONMENT)."""

    DEMO = "demo"
    PRODUCTION = "production"


_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_KNOWN_PASSWORDS = frozenset({"", "admin", "changeme", "password", "postgres", "secret", "tcu", "test", "timescale"})
_DIFFERENT_CHARACTERS = 8


def check_database(connection: Mapping[str, str]) -> None:
    """Raise ValueError for a password that anybody tries first, and for an unverified way to another machine.

    `connection` has libpq's names: host, hostaddr, user, password, sslmode. A socket's host is a path.
    """
    password, user = connection.get("password"), connection.get("user", "")
    if password is not None and password.lower() in _KNOWN_PASSWORDS | {user.lower()}:
        raise ValueError(f"the password of {user!r} is empty or a default: give the role one of its own (db/roles.sql)")
    # Where both are given libpq goes to the address.
    hosts = (connection.get("hostaddr") or connection.get("host") or "localhost").split(",")
    away = [host for host in hosts if host not in _LOCAL and not host.startswith("/")]
    if away and connection.get("sslmode") != "verify-full":
        raise ValueError(
            f"{', '.join(away)} is another machine: add ?sslmode=verify-full&sslrootcert=FILE, with the certificate of "
            "the authority that signed the database's (docs/operations.md)"
        )


def check_authority(certificate: Path) -> None:
    """Raise ValueError for the certificate authority for development: its key lies in a file beside it."""
    if not certificate.exists():
        raise ValueError(f"there is no {certificate}: put your authority's certificate there (docs/identities.md)")
    for one in x509.load_pem_x509_certificates(certificate.read_bytes()):
        if DEVELOPMENT_AUTHORITY in one.subject.rfc4514_string():
            raise ValueError(
                f"{certificate} is the authority for development: use one of your own (docs/identities.md), "
                "or TCU_ENVIRONMENT=demo where nobody's safety hangs on it"
            )


def check_secret(secret: str) -> None:
    """Raise ValueError for what is long enough and no secret all the same."""
    if len(set(secret)) < _DIFFERENT_CHARACTERS:
        raise ValueError("this is no secret: `openssl rand -hex 32` makes one")
