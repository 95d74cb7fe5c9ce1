"""Development certificate authority: certificates for the broker, the workers and each vehicle.

A certificate's common name is the identity that the broker's access list knows: a vehicle's is its VIN. Everything
lies in one directory: `ca.{crt,key}`, `server.{crt,key}`, `services/NAME.{crt,key}`, `vehicles/VIN.{crt,key}`.
In production the vehicles' certificates come from the manufacturer's own authority; only `ca.crt` is needed then.
"""

import fcntl
import ipaddress
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from schemas.base import VIN_PATTERN

AUTHORITY_VALID = timedelta(days=3650)
CERTIFICATE_VALID = timedelta(days=730)
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(days=1)
"""A certificate counts from a day ago: the clock of a vehicle that was parked for long may be behind."""

_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a certificate and its private key lie, both PEM."""

    certificate: Path
    key: Path


def ensure_authority(pki_dir: Path) -> Credentials:
    """Return the authority of this directory, created on first use."""
    authority = Credentials(pki_dir / "ca.crt", pki_dir / "ca.key")
    with _locked(pki_dir):
        if not authority.certificate.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name("TCU development authority")
            builder = _builder(name, name, key.public_key(), valid=AUTHORITY_VALID)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            builder = builder.add_extension(_key_usage(authority=True), critical=True)
            builder = builder.add_extension(_key_identifier(key.public_key()), critical=False)
            _write(authority, builder.sign(key, hashes.SHA256()), key)
    return authority


def issue_server(pki_dir: Path, hosts: Sequence[str] = ("localhost", "127.0.0.1")) -> Credentials:
    """Return the broker's certificate, valid for these DNS names and IP addresses."""
    names = [_general_name(host) for host in hosts]
    return _issue(pki_dir, "server", hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, alternative_names=names)


def issue_service(pki_dir: Path, name: str, *, renew: bool = False) -> Credentials:
    """Return the client certificate of one of our processes. Raises ValueError unless the name is lower case."""
    # Lower case keeps a service's name from ever being a VIN.
    if not _SERVICE.fullmatch(name):
        raise ValueError(f"expected a service name such as ingest ({_SERVICE.pattern}), got {name!r}")
    return _issue(pki_dir, f"services/{name}", name, ExtendedKeyUsageOID.CLIENT_AUTH, renew=renew)


def issue_vehicle(pki_dir: Path, vin: str, *, renew: bool = False) -> Credentials:
    """Return the vehicle's client certificate: the one it has while that is valid, else (or to renew) a new one.

    Raises ValueError before anything is signed unless the VIN is well formed.
    """
    if not re.fullmatch(VIN_PATTERN.removesuffix("$"), vin):
        raise ValueError(f"expected a VIN of 17 characters A-Z and 0-9 without I, O and Q, got {vin!r}")
    return _issue(pki_dir, f"vehicles/{vin}", vin, ExtendedKeyUsageOID.CLIENT_AUTH, renew=renew)


def _issue(
    pki_dir: Path,
    stem: str,
    common_name: str,
    purpose: x509.ObjectIdentifier,
    *,
    alternative_names: Sequence[x509.GeneralName] = (),
    renew: bool = False,
) -> Credentials:
    authority = ensure_authority(pki_dir)
    issued = Credentials(pki_dir / f"{stem}.crt", pki_dir / f"{stem}.key")
    with _locked(pki_dir):
        ca = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
        if renew or not _serves(issued, ca, alternative_names):
            key = ec.generate_private_key(ec.SECP256R1())
            builder = _builder(_name(common_name), ca.subject, key.public_key(), valid=CERTIFICATE_VALID)
            builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            builder = builder.add_extension(_key_usage(authority=False), critical=True)
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            builder = builder.add_extension(_key_identifier(key.public_key()), critical=False)
            builder = builder.add_extension(_authority_identifier(ca), critical=False)
            if alternative_names:
                builder = builder.add_extension(x509.SubjectAlternativeName(alternative_names), critical=False)
            _write(issued, builder.sign(_read_key(authority.key), hashes.SHA256()), key)
    return issued


def _serves(issued: Credentials, ca: x509.Certificate, alternative_names: Sequence[x509.GeneralName]) -> bool:
    """Tell whether what was issued before can go on: of this authority, matching its key, not about to expire."""
    if not (issued.certificate.exists() and issued.key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError):
        return False
    names: set[x509.GeneralName] = set()
    if alternative_names:
        names = set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    return (
        certificate.public_key() == _read_key(issued.key).public_key()
        and certificate.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE
        and names >= set(alternative_names)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, *, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + valid)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _key_identifier(public_key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(public_key)


def _authority_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"expected an elliptic curve key in {path}")
    return key


def _write(credentials: Credentials, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    # The certificate last: a pair that an interruption left half new does not match, and is issued again.
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _replace(credentials.key, pem, mode=0o600)
    _replace(credentials.certificate, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    Path(name).replace(path)


@contextmanager
def _locked(pki_dir: Path) -> Iterator[None]:
    """Hold the directory alone, so that two processes never found two authorities."""
    pki_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (pki_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
