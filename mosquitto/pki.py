"""Certificate authorities: who a vehicle and who a process of ours is, and whose certificate counts no more.

A certificate's common name is the identity that the broker's access lists know: a vehicle's is its VIN. There are two
authorities, so that who signs for vehicles can make no process of ours: the vehicles' (`ca`, which signs the broker's
certificate too) and our own (`services-ca`). Everything lies in one directory:

    ca.{crt,key,crl,issued}            services-ca.{crt,key,crl,issued}
    server.{crt,key}                   services/NAME.{crt,key}            vehicles/VIN.{crt,key}

In production the vehicles' authority is the manufacturer's (docs/identities.md): then `ca.crt` and `ca.crl` are its
own, `ca.key` is not here, and nothing is signed for vehicles here.
"""

import fcntl
import ipaddress
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from schemas.base import VIN_PATTERN
from schemas.demo import DEVELOPMENT_AUTHORITY

AUTHORITY_VALID = timedelta(days=3650)
CERTIFICATE_VALID = timedelta(days=730)
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(days=1)
"""A certificate counts from a day ago: the clock of a vehicle that was parked for long may be behind."""

RSA_BITS_MIN = 2048

Authority = Literal["ca", "services-ca"]
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_NAMES: dict[Authority, str] = {"ca": DEVELOPMENT_AUTHORITY, "services-ca": "TCU services authority"}
_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a certificate and its private key lie, both PEM."""

    certificate: Path
    key: Path


def ensure_authority(pki_dir: Path, authority: Authority = "ca") -> Credentials:
    """Return this authority of the directory, created on first use, with a list of revoked certificates beside it.

    Raises ValueError where it is somebody else's (a certificate without a key) and has no such list: a broker that is
    given none could not refuse a revoked certificate.
    """
    own = Credentials(pki_dir / f"{authority}.crt", pki_dir / f"{authority}.key")
    with _locked(pki_dir):
        if not own.certificate.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name(_NAMES[authority])
            builder = _builder(name, name, key.public_key(), valid=AUTHORITY_VALID)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            builder = builder.add_extension(_key_usage(authority=True), critical=True)
            builder = builder.add_extension(_key_identifier(key.public_key()), critical=False)
            _write(own, builder.sign(key, hashes.SHA256()), key)
            for of_an_earlier_one in (_crl_file(pki_dir, authority), pki_dir / f"{authority}.issued"):
                of_an_earlier_one.unlink(missing_ok=True)
        if not _crl_file(pki_dir, authority).exists():
            if not own.key.exists():
                raise ValueError(f"put the revocation list of the authority of {own.certificate} beside it, as PEM")
            _write_crl(pki_dir, authority, revoked=())
    return own


def issue_server(pki_dir: Path, hosts: Sequence[str] = ("localhost", "127.0.0.1")) -> Credentials:
    """Return the broker's certificate, valid for these DNS names and IP addresses.

    Where the authority's key is elsewhere, the one that was put there is taken as it is.
    """
    names = [_general_name(host) for host in hosts]
    present = Credentials(pki_dir / "server.crt", pki_dir / "server.key")
    if not ensure_authority(pki_dir).key.exists() and present.certificate.exists() and present.key.exists():
        return present
    return _issue(pki_dir, "ca", "server", hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, alternative_names=names)


def issue_service(pki_dir: Path, name: str, *, renew: bool = False) -> Credentials:
    """Return the client certificate of one of our processes. Raises ValueError unless the name is lower case."""
    # Lower case keeps a service's name from ever being a VIN.
    if not _SERVICE.fullmatch(name):
        raise ValueError(f"expected a service name such as ingest ({_SERVICE.pattern}), got {name!r}")
    return _issue(pki_dir, "services-ca", f"services/{name}", name, ExtendedKeyUsageOID.CLIENT_AUTH, renew=renew)


def issue_vehicle(pki_dir: Path, vin: str, *, renew: bool = False) -> Credentials:
    """Return the vehicle's client certificate: the one it has while that is valid, else (or to renew) a new one.

    Raises ValueError before anything is signed unless the VIN is well formed.
    """
    check_vin(vin)
    return _issue(pki_dir, "ca", f"vehicles/{vin}", vin, ExtendedKeyUsageOID.CLIENT_AUTH, renew=renew)


def sign_vehicle(pki_dir: Path, vin: str, request: bytes) -> Path:
    """Return the certificate for a key that stays in the vehicle, after its signing request (PKCS #10, PEM).

    Only the request's key is taken over: name, purpose and validity are ours. Raises ValueError before anything is
    signed unless the request is signed by its own key and its subject is the VIN as common name and nothing else.
    """
    check_vin(vin)
    public_key = _read_request(request, vin)
    ensure_authority(pki_dir)
    with _locked(pki_dir):
        certificate = _sign(pki_dir, "ca", vin, public_key, ExtendedKeyUsageOID.CLIENT_AUTH)
        _replace(pki_dir / f"vehicles/{vin}.crt", _pem(certificate), mode=0o644)
        (pki_dir / f"vehicles/{vin}.key").unlink(missing_ok=True)  # of an earlier pair: the vehicle keeps its own now
    return pki_dir / f"vehicles/{vin}.crt"


def revoke_vehicle(pki_dir: Path, vin: str, *, keep_newest: bool = False) -> list[int]:
    """Return the serial numbers of the vehicle's certificates that count no more from now on, none if none was left.

    `keep_newest` spares the one in `vehicles/`, so that a renewed vehicle goes on. The broker refuses them once it has
    read the list (mosquitto/config.py); who is connected stays so until it is disconnected (mosquitto/disconnect.py).
    """
    check_vin(vin)
    ensure_authority(pki_dir)
    newest = _serial(pki_dir / f"vehicles/{vin}.crt")
    with _locked(pki_dir):
        issued = {serial for serial, name in _issued(pki_dir, "ca") if name == vin}
        if newest is not None:
            issued.add(newest)  # also one from before the issued ones were noted
        if not issued:
            raise ValueError(f"no certificate was issued here for {vin}")
        revoked = {one.serial_number for one in _crl(pki_dir, "ca")}
        chosen = sorted(issued - revoked - ({newest} if keep_newest else set()))
        if chosen:
            _write_crl(pki_dir, "ca", revoked=chosen)
    return chosen


def check_vin(vin: str) -> None:
    """Raise ValueError unless this is a VIN: no other name of a vehicle is ever signed, nor a topic's wildcard."""
    if not re.fullmatch(VIN_PATTERN.removesuffix("$"), vin):
        raise ValueError(f"expected a VIN of 17 characters A-Z and 0-9 without I, O and Q, got {vin!r}")


def _issue(
    pki_dir: Path,
    authority: Authority,
    stem: str,
    common_name: str,
    purpose: x509.ObjectIdentifier,
    *,
    alternative_names: Sequence[x509.GeneralName] = (),
    renew: bool = False,
) -> Credentials:
    own = ensure_authority(pki_dir, authority)
    issued = Credentials(pki_dir / f"{stem}.crt", pki_dir / f"{stem}.key")
    with _locked(pki_dir):
        ca = x509.load_pem_x509_certificate(own.certificate.read_bytes())
        if renew or not _serves(issued, ca, _crl(pki_dir, authority), alternative_names):
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = _sign(
                pki_dir, authority, common_name, key.public_key(), purpose, alternative_names=alternative_names
            )
            _write(issued, certificate, key)
    return issued


def _sign(
    pki_dir: Path,
    authority: Authority,
    common_name: str,
    public_key: PublicKey,
    purpose: x509.ObjectIdentifier,
    *,
    alternative_names: Sequence[x509.GeneralName] = (),
) -> x509.Certificate:
    """Return a certificate, noted among those issued before anybody has it: what is not noted can't be revoked."""
    signing_key = _signing_key(pki_dir, authority)
    ca = x509.load_pem_x509_certificate((pki_dir / f"{authority}.crt").read_bytes())
    builder = _builder(_name(common_name), ca.subject, public_key, valid=CERTIFICATE_VALID)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    builder = builder.add_extension(_key_identifier(public_key), critical=False)
    builder = builder.add_extension(_authority_identifier(ca), critical=False)
    if alternative_names:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative_names), critical=False)
    certificate = builder.sign(signing_key, hashes.SHA256())
    with (pki_dir / f"{authority}.issued").open("a") as file:
        file.write(f"{certificate.serial_number:x} {common_name}\n")
    return certificate


def _signing_key(pki_dir: Path, authority: Authority) -> ec.EllipticCurvePrivateKey:
    file = pki_dir / f"{authority}.key"
    if not file.exists():
        raise ValueError(f"{file} is not here: sign, renew and revoke where the authority is (docs/identities.md)")
    return _read_key(file)


def _read_request(request: bytes, vin: str) -> PublicKey:
    """Return the key of a signing request for this VIN. Raises ValueError for any other."""
    csr = x509.load_pem_x509_csr(request)
    if not csr.is_signature_valid:
        raise ValueError("expected a signing request that is signed by its own key")
    subject = [(attribute.oid, attribute.value) for attribute in csr.subject]
    if subject != [(NameOID.COMMON_NAME, vin)]:
        raise ValueError(f"expected the subject CN={vin} and nothing else, got {csr.subject.rfc4514_string()}")
    key = csr.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1)):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN:
        return key
    raise ValueError(f"expected a key on P-256 or P-384, or RSA of {RSA_BITS_MIN} bits or more")


def _issued(pki_dir: Path, authority: Authority) -> Iterator[tuple[int, str]]:
    """Give (serial number, common name) of what this authority issued, oldest first."""
    file = pki_dir / f"{authority}.issued"
    for line in file.read_text().splitlines() if file.exists() else ():
        serial, _, name = line.partition(" ")
        yield int(serial, 16), name


def _serial(certificate: Path) -> int | None:
    if not certificate.exists():
        return None
    return x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number


def _crl_file(pki_dir: Path, authority: Authority) -> Path:
    return pki_dir / f"{authority}.crl"


def _crl(pki_dir: Path, authority: Authority) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(_crl_file(pki_dir, authority).read_bytes())


def _write_crl(pki_dir: Path, authority: Authority, *, revoked: Iterable[int]) -> None:
    """Revoke these beside those that are."""
    now = datetime.now(UTC)
    number, entries = 1, []
    if _crl_file(pki_dir, authority).exists():
        before = _crl(pki_dir, authority)
        number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        entries = list(before)
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        entries.append(entry.build())
    ca = x509.load_pem_x509_certificate((pki_dir / f"{authority}.crt").read_bytes())
    builder = x509.CertificateRevocationListBuilder(revoked_certificates=entries)
    builder = builder.issuer_name(ca.subject).last_update(now - CLOCK_SKEW).next_update(now + AUTHORITY_VALID)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    builder = builder.add_extension(_authority_identifier(ca), critical=False)
    crl = builder.sign(_signing_key(pki_dir, authority), hashes.SHA256())
    _replace(_crl_file(pki_dir, authority), crl.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _serves(
    issued: Credentials,
    ca: x509.Certificate,
    crl: x509.CertificateRevocationList,
    alternative_names: Sequence[x509.GeneralName],
) -> bool:
    """Tell whether what was issued before can go on: of this authority, matching its key, valid for a while.

    A certificate without a key was made from a signing request: its key is the vehicle's own.
    """
    if not issued.certificate.exists():
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
        (not issued.key.exists() or certificate.public_key() == _read_key(issued.key).public_key())
        and crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is None
        and certificate.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE
        and names >= set(alternative_names)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: PublicKey, *, valid: timedelta
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


def _key_identifier(public_key: PublicKey) -> x509.SubjectKeyIdentifier:
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
    _replace(credentials.certificate, _pem(certificate), mode=0o644)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


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
