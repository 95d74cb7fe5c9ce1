"""The development authority: what it signs, what it refuses, and what it leaves alone."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mosquitto import config, pki

VIN = "KMHSH81C7LU123456"


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_vehicles_certificate_names_its_vin_and_is_signed_by_the_authority(tmp_path: Path) -> None:
    issued = pki.issue_vehicle(tmp_path, VIN)

    certificate = load(issued.certificate)
    assert issued.certificate == tmp_path / "vehicles" / f"{VIN}.crt"
    assert [name.value for name in certificate.subject] == [VIN]
    assert [name.oid for name in certificate.subject] == [NameOID.COMMON_NAME]
    certificate.verify_directly_issued_by(load(tmp_path / "ca.crt"))
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    "vin",
    [
        "",
        "KMHSH81C7LU12345",
        "KMHSH81C7LU1234567",
        "KMHSH81C7LU12345I",
        "KMHSH81C7LU12345O",
        "KMHSH81C7LU12345Q",
        "kmhsh81c7lu123456",
        "KMHSH81C7LU12345\n",
        "KMHSH81C7LU123456\n",
        "KMHSH81C7LU12345+",
        "../../../../etc/x",
        "ingest",
    ],
)
def test_a_malformed_vin_is_refused_before_anything_is_signed(tmp_path: Path, vin: str) -> None:
    with pytest.raises(ValueError, match="17 characters"):
        pki.issue_vehicle(tmp_path / "pki", vin)
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("name", ["", "Ingest", VIN, "in/gest", "in gest", "+", "ingest\n"])
def test_a_service_cannot_have_a_name_that_could_be_a_vehicle_or_a_wildcard(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="service name"):
        pki.issue_service(tmp_path / "pki", name)


def test_the_servers_certificate_holds_for_its_names_and_not_as_a_client(tmp_path: Path) -> None:
    certificate = load(pki.issue_server(tmp_path, ("broker", "127.0.0.1")).certificate)

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_keys_are_private_to_their_owner(tmp_path: Path) -> None:
    issued = pki.issue_vehicle(tmp_path / "pki", VIN)

    for path in (issued.key, tmp_path / "pki" / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_asking_again_gives_the_same_certificate_and_renewing_a_new_one(tmp_path: Path) -> None:
    first = pki.issue_vehicle(tmp_path, VIN).certificate.read_bytes()

    assert pki.issue_vehicle(tmp_path, VIN).certificate.read_bytes() == first
    assert pki.issue_vehicle(tmp_path, VIN, renew=True).certificate.read_bytes() != first


def test_a_certificate_that_cannot_serve_any_more_is_issued_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_vin = "KMHSH81C7LU123457"
    first = pki.issue_vehicle(tmp_path, VIN)
    before = first.certificate.read_bytes()

    first.key.write_bytes(pki.issue_vehicle(tmp_path, other_vin).key.read_bytes())
    matching = pki.issue_vehicle(tmp_path, VIN).certificate.read_bytes()
    assert matching != before

    (tmp_path / "ca.crt").unlink()
    of_new_authority = pki.issue_vehicle(tmp_path, VIN).certificate.read_bytes()
    assert of_new_authority != matching

    monkeypatch.setattr(pki, "RENEW_BEFORE", pki.CERTIFICATE_VALID)
    assert pki.issue_vehicle(tmp_path, VIN).certificate.read_bytes() != of_new_authority


def test_the_server_gets_a_new_certificate_when_it_gets_a_new_name(tmp_path: Path) -> None:
    first = pki.issue_server(tmp_path, ("localhost",)).certificate.read_bytes()

    assert pki.issue_server(tmp_path, ("localhost",)).certificate.read_bytes() == first
    assert pki.issue_server(tmp_path, ("localhost", "broker")).certificate.read_bytes() != first


def request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *subject: tuple[x509.ObjectIdentifier, str]) -> bytes:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    # What a request asks for beside its key is not for it to say.
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("ingest")]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_signing_request_gets_a_certificate_of_ours_for_its_key_and_nothing_else_it_asks_for(tmp_path: Path) -> None:
    pki.issue_vehicle(tmp_path, VIN)
    key = ec.generate_private_key(ec.SECP256R1())

    certificate = load(pki.sign_vehicle(tmp_path, VIN, request(key, (NameOID.COMMON_NAME, VIN))))

    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == f"CN={VIN}"
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not (tmp_path / "vehicles" / f"{VIN}.key").exists()
    assert (
        load(pki.issue_vehicle(tmp_path, VIN).certificate) == certificate
    )  # asking again replaces no key of a vehicle


@pytest.mark.parametrize(
    "subject",
    [
        [],
        [(NameOID.COMMON_NAME, "KMHSH81C7LU123457")],
        [(NameOID.COMMON_NAME, "+")],
        [(NameOID.COMMON_NAME, "#")],
        [(NameOID.COMMON_NAME, f"{VIN}/+")],
        [(NameOID.COMMON_NAME, "ingest")],
        [(NameOID.COMMON_NAME, VIN.lower())],
        [(NameOID.COMMON_NAME, f"{VIN}\n")],
        [(NameOID.COMMON_NAME, VIN), (NameOID.COMMON_NAME, "ingest")],
        [(NameOID.ORGANIZATION_NAME, "Example"), (NameOID.COMMON_NAME, VIN)],
        [(NameOID.ORGANIZATION_NAME, VIN)],
    ],
)
def test_a_request_for_another_name_is_refused_before_anything_is_signed(
    tmp_path: Path, subject: list[tuple[x509.ObjectIdentifier, str]]
) -> None:
    with pytest.raises(ValueError, match=f"expected the subject CN={VIN} and nothing else"):
        pki.sign_vehicle(tmp_path / "pki", VIN, request(ec.generate_private_key(ec.SECP256R1()), *subject))
    assert not (tmp_path / "pki").exists()


def test_a_request_that_its_key_has_not_signed_or_with_a_weak_key_is_refused(tmp_path: Path) -> None:
    whole = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1()), (NameOID.COMMON_NAME, VIN)))
    der = bytearray(whole.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = ssl.DER_cert_to_PEM_cert(bytes(der)).replace(" CERTIFICATE", " CERTIFICATE REQUEST").encode()
    weak = request(rsa.generate_private_key(65537, 1024), (NameOID.COMMON_NAME, VIN))  # noqa: S505 - to be refused
    odd = request(ec.generate_private_key(ec.SECP256K1()), (NameOID.COMMON_NAME, VIN))

    for bytes_, told in ((forged, "signed by its own key"), (weak, "RSA of 2048"), (odd, "P-256"), (b"x", "PEM")):
        with pytest.raises(ValueError, match=told):
            pki.sign_vehicle(tmp_path / "pki", VIN, bytes_)
    assert not (tmp_path / "pki").exists()


def revoked(pki_dir: Path) -> set[int]:
    crl = x509.load_pem_x509_crl((pki_dir / "ca.crl").read_bytes())
    public_key = load(pki_dir / "ca.crt").public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(public_key)
    return {one.serial_number for one in crl}


def test_revoking_takes_every_certificate_of_the_vehicle_and_no_others(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    of_vehicle = {
        load(pki.issue_vehicle(tmp_path, VIN).certificate).serial_number,
        load(pki.issue_vehicle(tmp_path, VIN, renew=True).certificate).serial_number,
        load(pki.sign_vehicle(tmp_path, VIN, request(key, (NameOID.COMMON_NAME, VIN)))).serial_number,
    }
    other = load(pki.issue_vehicle(tmp_path, "KMHSH81C7LU123457").certificate).serial_number
    assert revoked(tmp_path) == set()

    assert set(pki.revoke_vehicle(tmp_path, VIN)) == of_vehicle
    assert revoked(tmp_path) == of_vehicle
    assert pki.revoke_vehicle(tmp_path, VIN) == []

    pki.revoke_vehicle(tmp_path, "KMHSH81C7LU123457")
    assert revoked(tmp_path) == of_vehicle | {other}


def test_the_newest_certificate_can_be_spared_and_one_from_before_the_notes_is_found(tmp_path: Path) -> None:
    first = load(pki.issue_vehicle(tmp_path, VIN).certificate).serial_number
    pki.issue_vehicle(tmp_path, VIN, renew=True)
    assert pki.revoke_vehicle(tmp_path, VIN, keep_newest=True) == [first]

    unnoted = load(pki.issue_vehicle(tmp_path, "KMHSH81C7LU123457").certificate).serial_number
    (tmp_path / "ca.issued").unlink()
    assert pki.revoke_vehicle(tmp_path, "KMHSH81C7LU123457") == [unnoted]
    with pytest.raises(ValueError, match="no certificate was issued here"):
        pki.revoke_vehicle(tmp_path, "KMHSH81C7LU123458")


def test_a_revoked_certificate_is_not_handed_out_again(tmp_path: Path) -> None:
    first = pki.issue_vehicle(tmp_path, VIN).certificate.read_bytes()
    pki.revoke_vehicle(tmp_path, VIN)
    assert pki.issue_vehicle(tmp_path, VIN).certificate.read_bytes() != first


def test_where_the_authoritys_key_is_elsewhere_nothing_is_signed_for_vehicles_here(tmp_path: Path) -> None:
    pki.issue_server(tmp_path)
    (tmp_path / "ca.key").unlink()
    key = ec.generate_private_key(ec.SECP256R1())

    assert pki.issue_server(tmp_path, ("broker.example",)).certificate.exists()  # as it was put there
    assert pki.issue_service(tmp_path, "ingest").certificate.exists()
    for refused in (
        lambda: pki.issue_vehicle(tmp_path, VIN),
        lambda: pki.sign_vehicle(tmp_path, VIN, request(key, (NameOID.COMMON_NAME, VIN))),
    ):
        with pytest.raises(ValueError, match=r"ca\.key is not here"):
            refused()
    (tmp_path / "ca.crl").unlink()
    with pytest.raises(ValueError, match="put the revocation list"):
        pki.issue_server(tmp_path)


def test_services_have_an_authority_of_their_own(tmp_path: Path) -> None:
    service = load(pki.issue_service(tmp_path, "ingest").certificate)
    service.verify_directly_issued_by(load(tmp_path / "services-ca.crt"))
    with pytest.raises((ValueError, InvalidSignature)):
        service.verify_directly_issued_by(load(pki.ensure_authority(tmp_path).certificate))


def test_the_brokers_directory_holds_no_key_but_its_own(tmp_path: Path) -> None:
    pki_dir, directory = tmp_path / "pki", tmp_path / "broker"
    pki.issue_server(pki_dir)
    pki.issue_service(pki_dir, "ingest")
    pki.issue_vehicle(pki_dir, VIN)
    config.prepare(directory, pki_dir, address="127.0.0.1", port=1, services_port=2)
    files = [file for file in directory.rglob("*") if file.is_file()]
    assert {file.name for file in files if b"PRIVATE KEY" in file.read_bytes()} == {"server.key"}
