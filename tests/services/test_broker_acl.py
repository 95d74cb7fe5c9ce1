"""What the broker lets each certificate do. Denied topics are granted at subscription, so delivery is what counts."""

import asyncio
import socket
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from mosquitto import pki
from schemas.topics import MAX_PAYLOAD_BYTES
from stack.broker import Broker

VIN = "KMHSH81C7LU123456"
OTHER_VIN = "KMHSH81C7LU123457"
ARRIVES_WITHIN_S = 5


def trust(broker: Broker, credentials: pki.Credentials | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(broker.ca))
    if credentials is not None:
        context.load_cert_chain(credentials.certificate, credentials.key)
    return context


@asynccontextmanager
async def connected(
    broker: Broker,
    credentials: pki.Credentials,
    protocol: aiomqtt.ProtocolVersion = aiomqtt.ProtocolVersion.V5,
    *,
    port: int | None = None,
) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(
        broker.host,
        port or broker.port,
        identifier=f"test-{uuid.uuid4()}",
        tls_context=trust(broker, credentials),
        protocol=protocol,
        timeout=ARRIVES_WITHIN_S,
    ) as client:
        yield client


async def received_until(client: aiomqtt.Client, sentinel: bytes) -> list[tuple[str, bytes]]:
    """Return what arrives before the sentinel, which must arrive itself."""
    before: list[tuple[str, bytes]] = []
    async with asyncio.timeout(ARRIVES_WITHIN_S):
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            if message.payload == sentinel:
                return before
            before.append((message.topic.value, message.payload))
    raise AssertionError("the stream of messages ended")


@pytest.fixture
def vehicle(pki_dir: Path) -> pki.Credentials:
    return pki.issue_vehicle(pki_dir, VIN)


@pytest.fixture
def other_vehicle(pki_dir: Path) -> pki.Credentials:
    return pki.issue_vehicle(pki_dir, OTHER_VIN)


@pytest.fixture
def worker(pki_dir: Path) -> pki.Credentials:
    return pki.issue_service(pki_dir, "ingest")


def test_the_worker_hears_every_vehicle_and_each_vehicle_only_itself_speak(
    broker: Broker, vehicle: pki.Credentials, other_vehicle: pki.Credentials, worker: pki.Credentials
) -> None:
    async def story() -> list[tuple[str, bytes]]:
        async with (
            connected(broker, worker, port=broker.services_port) as ear,
            connected(broker, vehicle) as mine,
            connected(broker, other_vehicle) as other,
        ):
            await ear.subscribe("tcu/v1/+/up/#", qos=1)
            await mine.publish(f"tcu/v1/{VIN}/up/sos", b"mine", qos=1)
            for forged in (f"tcu/v1/{VIN}/up/sos", f"tcu/v1/{VIN}/down/command", f"tcu/v1/{OTHER_VIN}/down/receipt"):
                await other.publish(forged, b"forged", qos=1)
            await other.publish(f"tcu/v1/{OTHER_VIN}/up/status", b"sentinel", qos=1)
            return await received_until(ear, b"sentinel")

    assert asyncio.run(story()) == [(f"tcu/v1/{VIN}/up/sos", b"mine")]


@pytest.mark.parametrize(
    "topic_filter",
    [
        f"tcu/v1/{VIN}/down/#",
        f"tcu/v1/{VIN}/up/#",
        "tcu/v1/+/up/#",
        "tcu/v1/+/down/#",
        "#",
        "$SYS/#",
        "$share/x/tcu/v1/+/up/#",
        f"$share/x/tcu/v1/{VIN}/down/#",
    ],
)
def test_a_vehicle_hears_nothing_of_another(
    broker: Broker,
    vehicle: pki.Credentials,
    other_vehicle: pki.Credentials,
    worker: pki.Credentials,
    topic_filter: str,
) -> None:
    async def story() -> list[tuple[str, bytes]]:
        async with (
            connected(broker, other_vehicle) as spy,
            connected(broker, vehicle) as mine,
            connected(broker, worker, port=broker.services_port) as server,
        ):
            await spy.subscribe(topic_filter, qos=1)
            await spy.subscribe(f"tcu/v1/{OTHER_VIN}/down/#", qos=1)
            await mine.publish(f"tcu/v1/{VIN}/up/sos", b"private", qos=1)
            await server.publish(f"tcu/v1/{VIN}/down/receipt", b"private", qos=1)
            await server.publish(f"tcu/v1/{OTHER_VIN}/down/receipt", b"sentinel", qos=1)
            return await received_until(spy, b"sentinel")

    assert asyncio.run(story()) == []


def test_a_vehicle_hears_what_is_meant_for_it(
    broker: Broker, vehicle: pki.Credentials, worker: pki.Credentials
) -> None:
    async def story() -> list[tuple[str, bytes]]:
        async with connected(broker, vehicle) as mine, connected(broker, worker, port=broker.services_port) as server:
            await mine.subscribe(f"tcu/v1/{VIN}/down/#", qos=1)
            await server.publish(f"tcu/v1/{VIN}/down/receipt", b"receipt", qos=1)
            await server.publish(f"tcu/v1/{VIN}/down/incident", b"sentinel", qos=1)
            return await received_until(mine, b"sentinel")

    assert asyncio.run(story()) == [(f"tcu/v1/{VIN}/down/receipt", b"receipt")]


def test_a_retained_publish_is_refused_and_not_kept(
    broker: Broker, vehicle: pki.Credentials, worker: pki.Credentials
) -> None:
    topic = f"tcu/v1/{VIN}/up/status"

    async def publish_retained() -> None:
        # A 3.1.1 client is not told that the broker keeps nothing, so it sends the flag; a 5 client drops it.
        async with connected(broker, vehicle, aiomqtt.ProtocolVersion.V311) as mine:
            await mine.publish(topic, b"kept", qos=1, retain=True, timeout=1)

    async def story() -> list[tuple[str, bytes]]:
        async with connected(broker, worker, port=broker.services_port) as ear, connected(broker, vehicle) as mine:
            await ear.subscribe(topic, qos=1)
            await mine.publish(topic, b"sentinel", qos=1)
            return await received_until(ear, b"sentinel")

    with pytest.raises(aiomqtt.MqttError):
        asyncio.run(publish_retained())
    assert asyncio.run(story()) == []


def test_a_message_above_the_contracts_size_reaches_the_worker_which_judges_it(
    broker: Broker, vehicle: pki.Credentials, worker: pki.Credentials
) -> None:
    topic = f"tcu/v1/{VIN}/up/sos"
    large = b"x" * (4 * MAX_PAYLOAD_BYTES)

    async def story() -> list[tuple[str, bytes]]:
        async with (
            connected(broker, worker, port=broker.services_port) as ear,
            connected(broker, vehicle, aiomqtt.ProtocolVersion.V311) as mine,
        ):
            await ear.subscribe(topic, qos=1)
            await mine.publish(topic, large, qos=1)
            await mine.publish(topic, b"sentinel", qos=1)
            return await received_until(ear, b"sentinel")

    assert asyncio.run(story()) == [(topic, large)]


CONNECT = bytes.fromhex("10 10 0004 4d515454 04 02 003c 0004 74657374")
"""An MQTT 3.1.1 CONNECT of the client `test`, clean session, no credentials of its own."""
ACCEPTED = bytes.fromhex("20 02 00 00")


def answer_to_connect(broker: Broker, credentials: pki.Credentials | None) -> bytes:
    """Return what the broker answers; empty if it closes the connection or breaks off the handshake."""
    try:
        with (
            socket.create_connection((broker.host, broker.port), timeout=ARRIVES_WITHIN_S) as plain,
            trust(broker, credentials).wrap_socket(plain, server_hostname=broker.host) as secure,
        ):
            secure.sendall(CONNECT)
            return secure.recv(64)
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return b""


def test_a_certificate_of_the_authority_is_the_one_way_in(
    broker: Broker, vehicle: pki.Credentials, pki_dir: Path, tmp_path: Path
) -> None:
    assert answer_to_connect(broker, vehicle) == ACCEPTED
    assert answer_to_connect(broker, None) == b""
    assert answer_to_connect(broker, pki.issue_vehicle(tmp_path, VIN)) == b""
    # The broker's own certificate is for servers.
    assert answer_to_connect(broker, pki.issue_server(pki_dir)) == b""


def test_nobody_connects_without_tls(broker: Broker) -> None:
    with socket.create_connection((broker.host, broker.port), timeout=ARRIVES_WITHIN_S) as plain:
        plain.sendall(CONNECT)
        try:
            answer = plain.recv(64)
        except ConnectionResetError:
            answer = b""
    assert answer != ACCEPTED
