"""The simulated vehicle on a real broker: what it keeps, what it sends again, and what it does with commands."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from db.pool import Connection
from mosquitto import pki
from schemas.base import format_instant
from schemas.call import CallStatus
from schemas.command import CommandMessage, CommandType
from schemas.incident import IncidentMessage, Service
from schemas.receipt import ReceiptMessage, ReceiptResult
from schemas.topics import Downlink, Uplink, downlink_topic, parse_uplink
from schemas.vehicle import Uplinked
from simulator import driving, messages
from simulator.settings import Broker as BrokerAddress
from simulator.settings import Certificate
from simulator.tcu import Tcu
from simulator.unreceipted import UnreceiptedStore
from stack.broker import Broker
from tests.mqtt_contract import complaints
from tests.processes import drop_session

VIN = "KMHSMTEST00000001"
ARRIVES_WITHIN_S = 15

Heard = tuple[Uplink, dict[str, Any]]


class Backend:
    """The other end: hears what vehicles send and answers when a test wants it to."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def hears(self, *kinds: Uplink) -> Heard:
        """Return the next message of one of these kinds."""
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            async for message in self._client.messages:
                _, kind = parse_uplink(message.topic.value)
                if kind in kinds:
                    assert message.qos == 1
                    assert not message.retain
                    assert complaints(kind, message.payload) == []
                    return kind, json.loads(message.payload)
        raise AssertionError("the stream of messages ended")

    async def receipts(self, message_id: str, result: ReceiptResult = ReceiptResult.STORED) -> None:
        receipt = ReceiptMessage(message_id=message_id, result=result, server_time=datetime.now(UTC))
        await self.says(Downlink.RECEIPT, receipt.model_dump_json(by_alias=True))

    async def says(self, kind: Downlink, payload: str, properties: Properties | None = None) -> None:
        await self._client.publish(downlink_topic(VIN, kind), payload, qos=1, properties=properties)


@pytest.fixture
def certificate(broker: Broker, pki_dir: Path) -> Iterator[Certificate]:
    """The vehicle's certificate; what the broker still keeps for the vehicle is dropped afterwards."""
    issued = pki.issue_vehicle(pki_dir, VIN)
    yield Certificate(issued.certificate, issued.key)
    drop_session(broker, issued, VIN)


@asynccontextmanager
async def backend(broker: Broker, pki_dir: Path) -> AsyncIterator[Backend]:
    credentials = pki.issue_service(pki_dir, "ingest")
    context = ssl.create_default_context(cafile=str(broker.ca))
    context.load_cert_chain(credentials.certificate, credentials.key)
    async with aiomqtt.Client(
        broker.host,
        broker.services_port,
        identifier=f"test-{uuid4()}",
        protocol=aiomqtt.ProtocolVersion.V5,
        tls_context=context,
    ) as client:
        await client.subscribe("tcu/v1/+/up/#", qos=1)
        yield Backend(client)


@asynccontextmanager
async def vehicle(
    broker: Broker,
    certificate: Certificate,
    *,
    store: UnreceiptedStore | None = None,
    notify: Callable[[str], None] = print,
    clock_offset: timedelta = timedelta(0),
) -> AsyncIterator[Tcu]:
    async with Tcu(
        vin=VIN,
        broker=BrokerAddress(broker.host, broker.port, broker.ca),
        certificate=certificate,
        unreceipted=UnreceiptedStore() if store is None else store,
        jitter=seeded(1),
        notify=notify,
        clock_offset=clock_offset,
    ) as tcu:
        await tcu.connected(timeout_s=ARRIVES_WITHIN_S)
        yield tcu


def seeded(seed: int) -> Random:
    return Random(seed)


def played(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(play())


def test_a_vehicle_says_hello_and_goodbye(broker: Broker, pki_dir: Path, certificate: Certificate) -> None:
    async def play() -> None:
        async with backend(broker, pki_dir) as server:
            async with vehicle(broker, certificate):
                assert (await server.hears(Uplink.PRESENCE))[1]["online"] is True
            assert (await server.hears(Uplink.PRESENCE))[1]["online"] is False

    played(play)


def test_an_sos_without_a_receipt_is_sent_again_with_the_same_id_and_forgotten_after_the_receipt(
    broker: Broker, pki_dir: Path, certificate: Certificate
) -> None:
    async def play() -> None:
        async with backend(broker, pki_dir) as server, vehicle(broker, certificate) as tcu:
            sent = tcu.send(Uplink.SOS, messages.sos_press(seeded(1), tcu.now()))
            first = await server.hears(Uplink.SOS)
            again = await server.hears(Uplink.SOS)
            assert first == again
            assert first[1]["messageId"] == sent.message_id
            await server.receipts(sent.message_id)
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                assert (await sent.receipt).what.result is ReceiptResult.STORED
            assert len(tcu.unreceipted) == 0
            assert tcu.tally.urgent_resent == 1

    played(play)


def test_after_the_broker_was_killed_every_unreceipted_message_goes_out_again(
    broker: Broker, pki_dir: Path, certificate: Certificate
) -> None:
    async def play() -> None:
        rng = seeded(2)
        async with vehicle(broker, certificate) as tcu:
            async with backend(broker, pki_dir) as server:
                press = tcu.send(Uplink.SOS, messages.sos_press(rng, tcu.now()))
                assert (await server.hears(Uplink.SOS))[1]["messageId"] == press.message_id
            broker.kill()
            help_ = tcu.send(Uplink.RSA, messages.rsa_press(rng, tcu.now()))
            # In this thread: the broker ends with the thread that started it.
            broker.start()
            async with backend(broker, pki_dir) as server:
                awaited = {press.message_id, help_.message_id}
                while awaited:
                    awaited.discard((await server.hears(Uplink.SOS, Uplink.RSA))[1]["messageId"])
                await server.receipts(press.message_id, ReceiptResult.DUPLICATE)
                await server.receipts(help_.message_id)
                async with asyncio.timeout(ARRIVES_WITHIN_S):
                    await tcu.settled()
            assert tcu.tally.connections == 2

    played(play)


def test_a_killed_simulator_sends_what_it_kept_on_disk(
    broker: Broker, pki_dir: Path, certificate: Certificate, tmp_path: Path
) -> None:
    async def play() -> None:
        async with backend(broker, pki_dir) as server:
            async with vehicle(broker, certificate, store=UnreceiptedStore(tmp_path)) as tcu:
                sent = tcu.send(Uplink.SOS, messages.sos_press(seeded(3), tcu.now()))
                await server.hears(Uplink.SOS)
            async with vehicle(broker, certificate, store=UnreceiptedStore(tmp_path)) as tcu:
                assert (await server.hears(Uplink.SOS))[1]["messageId"] == sent.message_id
                await server.receipts(sent.message_id)
                async with asyncio.timeout(ARRIVES_WITHIN_S):
                    await tcu.settled()

    played(play)
    assert list(tmp_path.iterdir()) == []


def test_a_receipt_that_came_while_the_vehicle_was_away_waits_in_its_session(
    broker: Broker, pki_dir: Path, certificate: Certificate
) -> None:
    async def play() -> None:
        store = UnreceiptedStore()
        async with backend(broker, pki_dir) as server:
            async with vehicle(broker, certificate, store=store) as tcu:
                sent = tcu.send(Uplink.RSA, messages.rsa_press(seeded(4), tcu.now()))
                await server.hears(Uplink.RSA)
            await server.receipts(sent.message_id)
            async with vehicle(broker, certificate, store=store) as tcu, asyncio.timeout(ARRIVES_WITHIN_S):
                await tcu.settled()

    played(play)


def test_a_quarantined_message_is_forgotten_but_told_loudly(
    broker: Broker, pki_dir: Path, certificate: Certificate
) -> None:
    async def play() -> None:
        told: list[str] = []
        async with backend(broker, pki_dir) as server, vehicle(broker, certificate, notify=told.append) as tcu:
            sent = tcu.send(Uplink.RSA, messages.rsa_press(seeded(5), tcu.now()))
            await server.hears(Uplink.RSA)
            await server.receipts(sent.message_id, ReceiptResult.QUARANTINED)
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                await tcu.settled()
        assert any("QUARANTINED" in line and sent.message_id in line for line in told)

    played(play)


def test_an_sos_overtakes_a_backlog_of_status(broker: Broker, pki_dir: Path, certificate: Certificate) -> None:
    async def play() -> None:
        rng = seeded(6)
        state = driving.parked_somewhere(rng)
        async with backend(broker, pki_dir) as server, vehicle(broker, certificate) as tcu:
            for _ in range(500):
                tcu.report(messages.status(rng, state, tcu.now()))
            tcu.send(Uplink.SOS, messages.sos_press(rng, tcu.now()))
            before = 0
            while (await server.hears(Uplink.SOS, Uplink.STATUS))[0] is Uplink.STATUS:
                before += 1
            assert before <= 1

    played(play)


def test_time_sync_corrects_the_clock_and_is_acknowledged_once(
    broker: Broker, pki_dir: Path, certificate: Certificate
) -> None:
    async def play() -> None:
        ahead = timedelta(hours=1)
        async with backend(broker, pki_dir) as server, vehicle(broker, certificate, clock_offset=ahead) as tcu:
            command = time_sync(issued_at=datetime.now(UTC), valid_s=60)
            for _ in range(2):
                await server.says(Downlink.COMMAND, command.model_dump_json(by_alias=True), expiry(60))
            acks = [(await server.hears(Uplink.COMMAND_ACK))[1] for _ in range(2)]
            assert [ack["status"] for ack in acks] == ["ACCEPTED", "EXECUTED"]
            assert {ack["commandId"] for ack in acks} == {command.command_id}
            assert abs(tcu.now() - datetime.now(UTC)) < timedelta(seconds=2)
            assert tcu.tally.urgent_sent == 2

    played(play)


def test_an_expired_command_is_ignored(broker: Broker, pki_dir: Path, certificate: Certificate) -> None:
    async def play() -> None:
        told: asyncio.Queue[str] = asyncio.Queue()
        behind = timedelta(hours=-1)
        async with (
            backend(broker, pki_dir) as server,
            vehicle(broker, certificate, notify=told.put_nowait, clock_offset=behind) as tcu,
        ):
            command = time_sync(issued_at=datetime.now(UTC), valid_s=-1)
            await server.says(Downlink.COMMAND, command.model_dump_json(by_alias=True))
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                assert "expired" in await told.get()
            assert tcu.tally.urgent_sent == 0

    played(play)


def test_an_older_state_of_an_incident_than_is_shown_is_ignored(
    broker: Broker, pki_dir: Path, certificate: Certificate
) -> None:
    async def play() -> None:
        async with backend(broker, pki_dir) as server, vehicle(broker, certificate) as tcu:
            for cid, sequence, status in (
                ("SOS_20260307_001", 5, "INITIATED"), ("SOS_20260307_001", 9, "CLOSED"),
                ("SOS_20260307_001", 5, "INITIATED"), ("SOS_20260307_002", 7, "INITIATED"),
            ):  # fmt: skip
                incident = IncidentMessage(cid=cid, service=Service.SOS, status=status, sequence=sequence)
                await server.says(Downlink.INCIDENT, incident.model_dump_json(by_alias=True))
            await tcu.incidents.first(lambda one: one.cid == "SOS_20260307_002", timeout_s=ARRIVES_WITHIN_S)
            assert [one.sequence for one in tcu.incidents.so_far()] == [5, 9, 7]

    played(play)


def test_a_block_that_is_too_late_by_the_own_clock_is_ignored_whatever_the_broker_says(
    broker: Broker, pki_dir: Path, certificate: Certificate
) -> None:
    async def play() -> None:
        told: asyncio.Queue[str] = asyncio.Queue()
        async with backend(broker, pki_dir) as server, vehicle(broker, certificate, notify=told.put_nowait) as tcu:
            now = datetime.now(UTC)
            late = CommandMessage(
                command_id=str(uuid4()),
                type=CommandType.ENGINE_START_BLOCK,
                issued_at=now - timedelta(seconds=90),
                expires_at=now - timedelta(seconds=30),
                parameters={"until": format_instant(now + timedelta(hours=1))},
            )
            await server.says(Downlink.COMMAND, late.model_dump_json(by_alias=True), expiry(55))
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                assert "expired" in await told.get()
            assert tcu.start_blocked_until is None

    played(play)


@pytest.mark.usefixtures("worker", "sequencer")
def test_the_worker_stores_all_that_the_simulator_sends_and_answers_it(
    broker: Broker, certificate: Certificate, conn: Connection
) -> None:
    async def play() -> None:
        rng = seeded(7)
        async with vehicle(broker, certificate) as tcu:

            async def receipted(kind: Uplink, message: Uplinked) -> str | None:
                sent = tcu.send(kind, message)
                async with asyncio.timeout(ARRIVES_WITHIN_S):
                    receipt = (await sent.receipt).what
                assert receipt.result is ReceiptResult.STORED
                return receipt.cid

            for moment in driving.trip(rng, driving.parked_somewhere(rng), duration_s=10):
                if moment.event is None:
                    tcu.report(messages.status(rng, moment.state, tcu.now()))
                else:
                    await receipted(Uplink.ENGINE, messages.engine(rng, moment.event, moment.state, tcu.now()))
            for press in (messages.sos_press(rng, tcu.now()), messages.sos_from_the_road(rng, moment.state, tcu.now())):
                cid = await receipted(Uplink.SOS, press)
                assert cid is not None
                await tcu.incidents.first(lambda incident, cid=cid: incident.cid == cid, timeout_s=ARRIVES_WITHIN_S)
            for status in (CallStatus.CONNECTING, CallStatus.CONNECTED, CallStatus.ENDED):
                call = messages.call(rng, status, tcu.now(), cid=cid, duration_s=3, battery_voltage=12.5)
                assert await receipted(Uplink.CALL, call) == cid
            for press in (messages.rsa_press(rng, tcu.now()), messages.rsa_from_the_road(rng, moment.state, tcu.now())):
                assert await receipted(Uplink.RSA, press) is not None
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                await tcu.settled()

    played(play)
    counts = conn.execute(
        "SELECT (SELECT count(*) FROM engine_events), (SELECT count(*) FROM sos_incidents),"
        " (SELECT count(*) FROM rsa_incidents), (SELECT count(*) FROM quarantine)"
    ).fetchone()
    assert counts == (2, 1, 1, 0)


@pytest.mark.usefixtures("worker", "sequencer")
def test_the_worker_corrects_the_clock_of_a_vehicle_that_is_ahead(broker: Broker, certificate: Certificate) -> None:
    async def play() -> None:
        rng = seeded(8)
        told: asyncio.Queue[str] = asyncio.Queue()
        ahead = timedelta(hours=1)
        async with vehicle(broker, certificate, notify=told.put_nowait, clock_offset=ahead) as tcu:
            tcu.report(messages.status(rng, driving.parked_somewhere(rng), tcu.now()))
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                assert "sets its clock" in await told.get()
                await tcu.settled()
            assert abs(tcu.now() - datetime.now(UTC)) < timedelta(seconds=2)
            assert set(tcu.tally.receipts) == {ReceiptResult.STORED}

    played(play)


def time_sync(*, issued_at: datetime, valid_s: float) -> CommandMessage:
    return CommandMessage(
        command_id=str(uuid4()),
        type=CommandType.TIME_SYNC,
        issued_at=issued_at,
        expires_at=issued_at + timedelta(seconds=valid_s),
        parameters={},
    )


def expiry(seconds: int) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = seconds
    return properties
