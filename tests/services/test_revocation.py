"""Certificates that count no more: refused, cut off, and nobody else disturbed. All through `tcu vehicle`."""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from admin import vehicles as commands
from admin.__main__ import app
from db.pool import Connection
from mosquitto import config, pki
from schemas.topics import Downlink, Uplink
from stack.broker import Broker, start_mosquitto
from stack.places import temporary_state
from stack.server import wait_until
from tests.tcu import Tcu

VIN = "KMHREVKED00000001"
OTHER = "KMHREVKED00000002"
CONNECT = bytes.fromhex("10 10 0004 4d515454 04 02 003c 0004 74657374")
"""An MQTT 3.1.1 CONNECT of the client `test`, clean session, no credentials of its own."""
ACCEPTED = bytes.fromhex("20 02 00 00")
WITHIN_S = 5
NOW = datetime.now(UTC)
PEM = serialization.Encoding.PEM


@pytest.fixture
def tcu_command(
    broker: Broker, pki_dir: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Runs `tcu …` and returns what it prints; it must succeed."""
    for name, value in {
        "TCU_ENVIRONMENT": "demo",
        "TCU_DATABASE_URL": database_url,
        "TCU_PKI_DIR": pki_dir,
        "TCU_BROKER_DIR": broker.directory,
        "TCU_MQTT_HOST": broker.host,
        "TCU_MQTT_SERVICES_PORT": broker.services_port,
        "TCU_MQTT_CA": broker.ca,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(commands, "SILENT_MOST_S", 1.0)

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def trust(broker: Broker, credentials: pki.Credentials, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(broker.ca))
    context.load_cert_chain(credentials.certificate, credentials.key)
    if version is not None:
        context.maximum_version = version
    return context


def shake_hands(broker: Broker, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection((broker.host, broker.port), timeout=WITHIN_S)
    return context.wrap_socket(plain, server_hostname=broker.host, session=session)


def answer(broker: Broker, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> bytes:
    """Return what the broker answers to a CONNECT, empty where it closes or breaks off the handshake."""
    try:
        with shake_hands(broker, context, session) as secure:
            secure.sendall(CONNECT)
            return secure.recv(64)
    except (ssl.SSLError, ConnectionError):
        return b""


def copied(credentials: pki.Credentials, folder: Path) -> pki.Credentials:
    """What a thief has taken: the pair as it is now."""
    copy = pki.Credentials(folder / "copy.crt", folder / "copy.key")
    copy.certificate.write_bytes(credentials.certificate.read_bytes())
    copy.key.write_bytes(credentials.key.read_bytes())
    return copy


def test_a_revoked_vehicle_is_cut_off_at_once_and_the_others_stay(
    broker: Broker, pki_dir: Path, tcu: Callable[[str], Tcu], tcu_command: Callable[..., str], tmp_path: Path
) -> None:
    stolen = copied(pki.issue_vehicle(pki_dir, VIN), tmp_path)
    thief, other = tcu(VIN), tcu(OTHER)
    assert answer(broker, trust(broker, stolen)) == ACCEPTED

    told = tcu_command("vehicle", "revoke", VIN)

    assert "1 certificates revoked" in told
    wait_until(lambda: not thief.connected, wait_s=WITHIN_S)
    assert answer(broker, trust(broker, stolen)) == b""
    assert other.connections == 1
    assert other.connected


def test_a_session_ticket_from_before_does_not_let_a_revoked_vehicle_in(
    broker: Broker, pki_dir: Path, tcu_command: Callable[..., str], tmp_path: Path
) -> None:
    stolen = copied(pki.issue_vehicle(pki_dir, VIN), tmp_path)
    held = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trust(broker, stolen, version)
        with shake_hands(broker, context) as secure:
            secure.sendall(CONNECT)
            assert secure.recv(64) == ACCEPTED
            held.append((context, secure.session))
        with shake_hands(broker, context, held[-1][1]) as again:
            assert again.session_reused  # else the test would show nothing

    tcu_command("vehicle", "revoke", VIN)

    assert [answer(broker, context, session) for context, session in held] == [b"", b""]


def test_who_had_shaken_hands_before_and_says_connect_after_is_ended_by_the_second_blow(
    broker: Broker, pki_dir: Path, tcu_command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stolen = copied(pki.issue_vehicle(pki_dir, VIN), tmp_path)
    with shake_hands(broker, trust(broker, stolen)) as waiting:

        def slip_in(_wait_s: float) -> None:
            waiting.sendall(CONNECT)
            assert waiting.recv(64) == ACCEPTED

        monkeypatch.setattr(commands, "time", SimpleNamespace(sleep=slip_in))
        tcu_command("vehicle", "revoke", VIN)
        with suppress(ConnectionError):
            assert waiting.recv(64) == b""


def test_a_cloned_certificate_goes_and_the_renewed_one_stays(
    broker: Broker, pki_dir: Path, tcu_command: Callable[..., str], tmp_path: Path
) -> None:
    tcu_command("vehicle", "add", VIN)
    cloned = copied(pki.issue_vehicle(pki_dir, VIN), tmp_path)
    tcu_command("vehicle", "renew", VIN)
    renewed = pki.issue_vehicle(pki_dir, VIN)
    assert answer(broker, trust(broker, cloned)) == answer(broker, trust(broker, renewed)) == ACCEPTED

    tcu_command("vehicle", "revoke", VIN, "--keep-newest")

    assert answer(broker, trust(broker, cloned)) == b""
    assert answer(broker, trust(broker, renewed)) == ACCEPTED


def test_revocation_outlives_a_restart_and_the_vehicle_can_have_a_new_unit(
    broker: Broker, pki_dir: Path, tcu_command: Callable[..., str], tmp_path: Path
) -> None:
    stolen = copied(pki.issue_vehicle(pki_dir, VIN), tmp_path)
    tcu_command("vehicle", "revoke", VIN)
    assert answer(broker, trust(broker, pki.issue_vehicle(pki_dir, VIN))) == ACCEPTED

    broker.stop()
    broker.start()

    assert answer(broker, trust(broker, stolen)) == b""
    assert answer(broker, trust(broker, pki.issue_vehicle(pki_dir, VIN))) == ACCEPTED


@pytest.mark.usefixtures("worker")
def test_revoking_costs_the_worker_and_other_vehicles_no_message(
    pki_dir: Path, tcu: Callable[[str], Tcu], tcu_command: Callable[..., str], conn: Connection
) -> None:
    other = tcu(OTHER)
    pki.issue_vehicle(pki_dir, VIN)
    sent = [other.send(Uplink.ENGINE, event="START") for _ in range(20)]
    tcu_command("vehicle", "revoke", VIN)
    sent += [other.send(Uplink.ENGINE, event="STOP") for _ in range(20)]
    assert [other.down(Downlink.RECEIPT)["messageId"] for _ in sent] == sent
    assert conn.execute("SELECT count(*) FROM engine_events WHERE vin = %s", (OTHER,)).fetchone() == (40,)


def test_what_the_broker_was_not_told_is_not_called_done(
    pki_dir: Path, tcu_command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tcu_command
    pki.issue_vehicle(pki_dir, VIN)
    monkeypatch.delenv("TCU_BROKER_DIR")
    done = CliRunner().invoke(app, ["vehicle", "revoke", VIN])
    assert isinstance(done.exception, ValueError)
    assert "TCU_BROKER_DIR is not set, so the broker knows nothing of this yet" in str(done.exception)


def test_a_broker_that_is_not_there_is_not_signalled(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "mosquitto.pid").write_text(f"{broker.pid}\n")  # a process id that is somebody else's by now
    with pytest.raises(ValueError, match="does not run on this machine"):
        config.reload(tmp_path)


class Manufacturer:
    """An authority of somebody else's: a root, an issuing one below it, and the list of what the latter revoked."""

    def __init__(self) -> None:
        self.root_key, self.key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = self.sign("Manufacturer root", "Manufacturer root", self.root_key, self.root_key)
        self.issuing = self.sign("Manufacturer vehicles", "Manufacturer root", self.key, self.root_key)

    def sign(
        self, name: str, issuer: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
        is_authority = x509.BasicConstraints(ca=name != VIN, path_length=None)
        return builder.add_extension(is_authority, critical=True).sign(by, hashes.SHA256())

    def vehicle(self, folder: Path) -> tuple[x509.Certificate, pki.Credentials]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign(VIN, "Manufacturer vehicles", key, self.key)
        own = pki.Credentials(folder / "own.crt", folder / "own.key")
        own.certificate.write_bytes(certificate.public_bytes(PEM))
        pkcs8 = serialization.PrivateFormat.PKCS8
        own.key.write_bytes(key.private_bytes(PEM, pkcs8, serialization.NoEncryption()))
        return certificate, own

    def revocations(self, *revoked: x509.Certificate, until: datetime) -> bytes:
        builder = x509.CertificateRevocationListBuilder().issuer_name(named("Manufacturer vehicles"))
        builder = builder.last_update(NOW - timedelta(hours=2)).next_update(until)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(NOW)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(PEM)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def test_the_authority_may_be_somebody_elses(tmp_path: Path) -> None:
    manufacturer, pki_dir, later = Manufacturer(), tmp_path / "pki", NOW + timedelta(days=1)
    certificate, vehicle = manufacturer.vehicle(tmp_path)
    pki.issue_server(tmp_path / "other")  # the broker's certificate comes from wherever it likes
    pki_dir.mkdir()
    for name in ("server.crt", "server.key"):
        (pki_dir / name).write_bytes((tmp_path / "other" / name).read_bytes())
    (pki_dir / "ca.crt").write_bytes(manufacturer.issuing.public_bytes(PEM) + manufacturer.root.public_bytes(PEM))
    (pki_dir / "ca.crl").write_bytes(manufacturer.revocations(until=later))
    worker = pki.issue_service(pki_dir, "ingest")
    assert pki.issue_server(pki_dir).certificate == pki_dir / "server.crt"

    with temporary_state() as state:
        broker = start_mosquitto(state, pki_dir)
        broker.ca = tmp_path / "other" / "ca.crt"
        try:
            assert answer(broker, trust(broker, vehicle)) == answer(broker, trust(broker, worker)) == ACCEPTED
            for revocations, expected in (
                (manufacturer.revocations(certificate, until=later), b""),
                (manufacturer.revocations(until=later), ACCEPTED),
            ):
                (pki_dir / "ca.crl").write_bytes(revocations)
                config.publish_revocations(broker.directory, pki_dir)
                config.reload(broker.directory)
                assert answer(broker, trust(broker, worker)) == ACCEPTED  # by then it has read them
                assert answer(broker, trust(broker, vehicle)) == expected
            (pki_dir / "ca.crl").write_bytes(manufacturer.revocations(until=NOW - timedelta(hours=1)))
            config.publish_revocations(broker.directory, pki_dir)
            broker.stop()
            broker.start()
            assert answer(broker, trust(broker, vehicle)) == b""  # an expired list: nobody gets in
        finally:
            broker.stop()
