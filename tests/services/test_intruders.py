"""Who has a valid certificate and wants to be somebody else: nothing foreign is delivered, stored or taken over."""

import asyncio
import json
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from db.pool import Connection
from mosquitto import pki
from schemas.topics import Uplink, uplink_topic
from stack.broker import Broker
from tests.tcu import Tcu, message

VICTIM = "KMHSH81C7LU123456"
THIEF = "KMHSH81C7LU123457"
WITHIN_S = 5

WILDCARDS = [
    "+",
    "#",
    "$SYS",
    f"{VICTIM}/up",
    f"+/{VICTIM}",
    "ingest",
    "operator",
    VICTIM.lower(),
    f"{VICTIM} ",
    f"{VICTIM}\n",
]


def trust(broker: Broker, credentials: pki.Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(broker.ca))
    context.load_cert_chain(credentials.certificate, credentials.key)
    return context


@asynccontextmanager
async def connected(
    broker: Broker, credentials: pki.Credentials, identifier: str, *, port: int | None = None, **options: Any
) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(
        broker.host,
        port or broker.port,
        identifier=identifier,
        tls_context=trust(broker, credentials),
        protocol=options.pop("protocol", aiomqtt.ProtocolVersion.V5),
        timeout=WITHIN_S,
        **options,
    ) as client:
        yield client


def kept() -> dict[str, Any]:
    """Options of a session that outlasts its connection."""
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    return {"clean_start": False, "properties": properties}


async def received_until(client: aiomqtt.Client, sentinel: bytes) -> list[tuple[str, bytes]]:
    """Return what arrives before the sentinel, which must arrive itself."""
    before: list[tuple[str, bytes]] = []
    async with asyncio.timeout(WITHIN_S):
        async for one in client.messages:
            assert isinstance(one.payload, bytes)
            if one.payload == sentinel:
                return before
            before.append((one.topic.value, one.payload))
    raise AssertionError("the stream of messages ended")


@pytest.fixture
def victim(pki_dir: Path) -> pki.Credentials:
    return pki.issue_vehicle(pki_dir, VICTIM)


@pytest.fixture
def thief(pki_dir: Path) -> pki.Credentials:
    return pki.issue_vehicle(pki_dir, THIEF)


@pytest.fixture
def ingest(pki_dir: Path) -> pki.Credentials:
    return pki.issue_service(pki_dir, "ingest")


def signed_by_the_vehicles_authority(pki_dir: Path, folder: Path, common_name: str) -> pki.Credentials:
    """What a careless or malicious authority of vehicles could sign, and ours refuses to."""
    ca = x509.load_pem_x509_certificate((pki_dir / "ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((pki_dir / "ca.key").read_bytes(), password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(ca_key, hashes.SHA256())
    )
    made = pki.Credentials(folder / "odd.crt", folder / "odd.key")
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    made.key.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return made


@pytest.mark.parametrize("common_name", WILDCARDS)
def test_whatever_the_vehicles_authority_signs_speaks_for_no_vehicle_and_hears_none(
    broker: Broker, pki_dir: Path, tmp_path: Path, victim: pki.Credentials, ingest: pki.Credentials, common_name: str
) -> None:
    odd = signed_by_the_vehicles_authority(pki_dir, tmp_path, common_name)
    private = f"tcu/v1/{VICTIM}/down/receipt"

    async def is_let_in() -> bool:
        try:
            async with connected(broker, odd, "odd"):
                return True
        except aiomqtt.exceptions.MqttConnectError:
            return False

    if not asyncio.run(is_let_in()):
        return  # later versions of Mosquitto (2.0.21) refuse a name with a control character

    async def story() -> tuple[list[tuple[str, bytes]], int]:
        async with (
            connected(broker, ingest, "ear", port=broker.services_port) as ear,
            connected(broker, victim, VICTIM) as own,
            connected(broker, odd, "odd") as spy,
        ):
            await ear.subscribe("tcu/v1/+/up/#", qos=1)
            await own.subscribe(private, qos=1)
            for spied in ("#", "tcu/v1/+/down/#", "tcu/v1/+/up/#", private, "$SYS/#"):
                await spy.subscribe(spied, qos=1)
            await spy.publish(f"tcu/v1/{VICTIM}/up/sos", b"forged", qos=1)
            await ear.publish(private, b"private", qos=1)
            assert await received_until(own, b"private") == []
            await own.publish(f"tcu/v1/{VICTIM}/up/status", b"sentinel", qos=1)
            heard_by_us = await received_until(ear, b"sentinel")
            # Its own PUBACK comes behind whatever the broker has sent it before.
            await spy.publish(f"tcu/v1/{VICTIM}/up/sos", b"forged again", qos=1)
            return heard_by_us, len(spy.messages)

    assert asyncio.run(story()) == ([], 0)


def test_a_foreign_client_id_takes_over_nobodys_session(
    broker: Broker, victim: pki.Credentials, thief: pki.Credentials, ingest: pki.Credentials
) -> None:
    topic = f"tcu/v1/{VICTIM}/down/receipt"

    async def story() -> list[tuple[str, bytes]]:
        async with connected(broker, ingest, "mouth", port=broker.services_port) as mouth:
            async with connected(broker, victim, VICTIM, **kept()) as own:
                await own.subscribe(topic, qos=1)
            await mouth.publish(topic, b"while away", qos=1)
            for clean_start in (True, False):
                async with connected(broker, thief, VICTIM, clean_start=clean_start) as taker:
                    await taker.subscribe(topic, qos=1)
            async with connected(broker, victim, VICTIM, **kept()) as own, connected(broker, thief, VICTIM):
                await mouth.publish(topic, b"while here", qos=1)
                await mouth.publish(topic, b"sentinel", qos=1)
                return await received_until(own, b"sentinel")

    assert asyncio.run(story()) == [(topic, b"while away"), (topic, b"while here")]


def test_the_workers_sessions_are_out_of_every_vehicles_reach(
    broker: Broker, victim: pki.Credentials, thief: pki.Credentials, ingest: pki.Credentials
) -> None:
    topic = f"tcu/v1/{VICTIM}/up/sos"

    async def story() -> list[tuple[str, bytes]]:
        async with connected(broker, ingest, "ingest-known-id", port=broker.services_port, **kept()) as worker:
            await worker.subscribe("tcu/v1/+/up/sos", qos=1)
        async with connected(broker, victim, VICTIM) as own:
            await own.publish(topic, b"sos", qos=1)
        async with connected(broker, thief, "ingest-known-id", clean_start=True):
            pass
        with pytest.raises(aiomqtt.MqttError):
            async with connected(broker, thief, "ingest-known-id", port=broker.services_port):
                pass
        async with (
            connected(broker, ingest, "ingest-known-id", port=broker.services_port, **kept()) as worker,
            connected(broker, victim, VICTIM) as own,
        ):
            await own.publish(topic, b"sentinel", qos=1)
            return await received_until(worker, b"sentinel")

    assert asyncio.run(story()) == [(topic, b"sos")]


def test_the_workers_certificate_does_nothing_at_the_vehicles_listener(
    broker: Broker, victim: pki.Credentials, ingest: pki.Credentials
) -> None:
    async def story() -> list[tuple[str, bytes]]:
        async with (
            connected(broker, victim, VICTIM) as own,
            connected(broker, ingest, "x") as stray,
            connected(broker, ingest, "mouth", port=broker.services_port) as mouth,
        ):
            await own.subscribe(f"tcu/v1/{VICTIM}/down/#", qos=1)
            await stray.publish(f"tcu/v1/{VICTIM}/down/command", b"forged", qos=1)
            await mouth.publish(f"tcu/v1/{VICTIM}/down/receipt", b"sentinel", qos=1)
            return await received_until(own, b"sentinel")

    assert asyncio.run(story()) == []


@pytest.mark.parametrize(
    "topic", [f"tcu/v1/{VICTIM}/up/presence", f"tcu/v1/{VICTIM}/down/command", "$SYS/broker/uptime"]
)
def test_a_last_will_in_anothers_name_is_never_delivered(
    broker: Broker, victim: pki.Credentials, thief: pki.Credentials, ingest: pki.Credentials, topic: str
) -> None:
    async def leave_with_a_will(wanted: str) -> None:
        will = aiomqtt.Will(wanted, b"will", qos=1)
        try:
            async with connected(broker, thief, THIEF, will=will) as client:
                client._client._sock_close()  # without DISCONNECT, so that the will is due
        except aiomqtt.MqttError:
            pass  # the broker may as well refuse it at once

    async def story() -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
        async with (
            connected(broker, ingest, "ear", port=broker.services_port) as ear,
            connected(broker, victim, VICTIM) as own,
        ):
            await ear.subscribe("tcu/v1/+/up/#", qos=1)
            await own.subscribe(f"tcu/v1/{VICTIM}/down/#", qos=1)
            await leave_with_a_will(topic)
            await leave_with_a_will(f"tcu/v1/{THIEF}/up/presence")  # one that is allowed comes: so wills do come
            heard_by_us = await received_until(ear, b"will")
            await ear.publish(f"tcu/v1/{VICTIM}/down/receipt", b"sentinel", qos=1)
            return heard_by_us, await received_until(own, b"sentinel")

    assert asyncio.run(story()) == ([], [])


@pytest.mark.parametrize(
    "topic", ["$SYS/broker/uptime", f"$share/x/tcu/v1/{VICTIM}/up/sos", "tcu/v1//up/sos", "tcu/v1/up/sos"]
)
def test_nothing_is_published_beside_ones_own_topics(
    broker: Broker, thief: pki.Credentials, ingest: pki.Credentials, topic: str
) -> None:
    async def story() -> list[tuple[str, bytes]]:
        async with (
            connected(broker, ingest, "ear", port=broker.services_port) as ear,
            connected(broker, thief, THIEF) as client,
        ):
            for heard in ("tcu/v1/+/up/#", "$SYS/broker/uptime"):
                await ear.subscribe(heard, qos=1)
            await client.publish(topic, b"forged", qos=1)
            await client.publish(f"tcu/v1/{THIEF}/up/status", b"sentinel", qos=1)
            return [one for one in await received_until(ear, b"sentinel") if one[1] == b"forged"]

    assert asyncio.run(story()) == []


def test_a_retained_last_will_is_refused(broker: Broker, thief: pki.Credentials) -> None:
    async def story() -> None:
        will = aiomqtt.Will(f"tcu/v1/{THIEF}/up/presence", b"will", qos=1, retain=True)
        async with connected(broker, thief, THIEF, will=will, protocol=aiomqtt.ProtocolVersion.V311):
            pass

    with pytest.raises(aiomqtt.MqttError):
        asyncio.run(story())


@pytest.mark.usefixtures("worker")
def test_a_vin_inside_a_message_is_nobodys_but_the_senders(tcu: Callable[[str], Tcu], conn: Connection) -> None:
    body = message(vin=VICTIM, emergencyType="FIRE", urgency="HIGH")
    car = tcu(THIEF)
    car.publish(Uplink.SOS, json.dumps(body).encode())
    assert car.receipt_of(body["messageId"])["result"] == "STORED"
    assert conn.execute("SELECT vin FROM sos_incidents").fetchall() == [(THIEF,)]
    assert conn.execute("SELECT vin FROM vehicles WHERE vin = %s", (VICTIM,)).fetchall() == []


@pytest.mark.usefixtures("worker")
def test_forged_topics_leave_no_trace_in_the_database(
    broker: Broker, thief: pki.Credentials, tcu: Callable[[str], Tcu], conn: Connection
) -> None:
    async def forge() -> None:
        async with connected(broker, thief, VICTIM) as client:
            for kind in Uplink:
                await client.publish(uplink_topic(VICTIM, kind), json.dumps(message()).encode(), qos=1)

    asyncio.run(forge())
    car = tcu(THIEF)  # the same broker, later: what went before would have been stored before
    car.receipt_of(car.send(Uplink.SOS))
    assert conn.execute("SELECT vin FROM sos_incidents").fetchall() == [(THIEF,)]
    for table in ("vehicles", "events", "vehicle_status", "engine_events", "vehicle_presence", "rsa_incidents"):
        found = conn.execute(f"SELECT count(*) FROM {table} WHERE vin = %s".encode(), (VICTIM,)).fetchone()  # noqa: S608
        assert found == (0,), table
    assert conn.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)


def test_tls_older_than_1_2_is_refused(broker: Broker, thief: pki.Credentials) -> None:
    def answer(version: ssl.TLSVersion) -> str:
        context = trust(broker, thief)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
            context.minimum_version = context.maximum_version = version
        with socket.create_connection((broker.host, broker.port), timeout=WITHIN_S) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=broker.host) as secure:
                    return secure.version() or "none"
            except ssl.SSLError as error:
                return error.reason or "refused"

    assert answer(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert answer(ssl.TLSVersion.TLSv1_1) == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_a_packet_beyond_the_limit_ends_its_senders_connection_and_no_others(
    broker: Broker, victim: pki.Credentials, thief: pki.Credentials, ingest: pki.Credentials
) -> None:
    huge = 2 * 1024 * 1024

    async def story() -> list[tuple[str, bytes]]:
        async with (
            connected(broker, ingest, "ear", port=broker.services_port) as ear,
            connected(broker, victim, VICTIM) as own,
        ):
            await ear.subscribe("tcu/v1/+/up/#", qos=1)
            with pytest.raises(aiomqtt.MqttError):
                async with connected(broker, thief, THIEF, protocol=aiomqtt.ProtocolVersion.V311) as client:
                    await client.publish(f"tcu/v1/{THIEF}/up/status", b"x" * huge, qos=1, timeout=2)
            await own.publish(f"tcu/v1/{VICTIM}/up/status", b"sentinel", qos=1)
            return await received_until(ear, b"sentinel")

    assert asyncio.run(story()) == []
