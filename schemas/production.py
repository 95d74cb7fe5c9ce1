"""What a production start refuses: what everybody knows, and what travels unprotected."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

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

    `connection` has libpq's names (host, hostaddr, user, password, sslmode), with what libpq takes from PGHOST and its
    like. A socket's host is a path.
    """
    if "service" in connection:
        raise ValueError("write out host and sslmode: what the file of a service says cannot be judged here")
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
    """Raise ValueError for the certificate authority for development, and for what it signed, as for what is no file.

    Its key lies in a file beside it.
    """
    try:
        trusted = x509.load_pem_x509_certificates(certificate.read_bytes())
    except FileNotFoundError:
        raise ValueError(
            f"there is no {certificate}: put your authority's certificate there (docs/identities.md)"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{certificate} cannot be read; expected your authority's certificate as PEM") from error
    for one in trusted:
        if any(DEVELOPMENT_AUTHORITY in name.rfc4514_string() for name in (one.subject, one.issuer)):
            raise ValueError(
                f"{certificate} is the authority for development: use one of your own (docs/identities.md), "
                "or TCU_ENVIRONMENT=demo where nobody's safety hangs on it"
            )


def check_secret(secret: str) -> None:
    """Raise ValueError for what is long enough and no secret all the same."""
    repeats = any(secret[period:] == secret[:-period] for period in range(1, len(secret) // 2 + 1))
    if repeats or len(set(secret)) < _DIFFERENT_CHARACTERS:
        raise ValueError("this is no secret: `openssl rand -hex 32` makes one")


def check_api(url: str) -> None:
    """Raise ValueError where people's keys would go to another machine in the clear."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOCAL:
        raise ValueError(f"{parts.hostname} is another machine: use https, for each request carries somebody's key")
