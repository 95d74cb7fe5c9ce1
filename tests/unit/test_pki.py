"""The development authority: what it signs, what it refuses, and what it leaves alone."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mosquitto import pki

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
