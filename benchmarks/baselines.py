"""What others would reach with the same backlog: a subscriber, a beginner, a batch with a stock client, bare COPY."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import aiomqtt
import psycopg
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.fleet import Message
from benchmarks.servers import Servers
from db.telemetry import StatusRow
from ingest.inbox import Received
from ingest.status import read_status
from schemas.topics import parse_uplink

COPY_BATCH = 5000
STOCK_BATCH = 1000
_COLUMNS = ", ".join(StatusRow._fields)
_INSERT = (
    f"INSERT INTO vehicle_status ({_COLUMNS}) VALUES ({', '.join(['%s'] * len(StatusRow._fields))})"  # noqa: S608
    " ON CONFLICT DO NOTHING"
).encode()
_COPY = f"COPY vehicle_status ({_COLUMNS}) FROM STDIN (FORMAT binary)".encode()
_TYPES = (
    *("text", "uuid", "timestamptz", "timestamptz", "bool", "float8", "float8", "float4", "float4", "float4"),
    *("float8", "float4", "float4", "text", "text", "bool", "text[]"),
)


def subscriber(parts: Servers, messages: list[Message], *, tls: bool) -> float:
    """Return messages per second of `mosquitto_sub`; the time that it takes for one message is no draining."""
    parts.queue("bench-subscriber", messages[:1])
    began = time.monotonic()
    parts.subscriber("bench-subscriber", 1, tls=tls)
    to_start = time.monotonic() - began
    parts.queue("bench-subscriber", messages)
    began = time.monotonic()
    parts.subscriber("bench-subscriber", len(messages), tls=tls)
    took = time.monotonic() - began - to_start
    parts.forget("bench-subscriber")
    return len(messages) / took


def direct_copy(url: str, messages: Sequence[Message]) -> float:
    """Return rows per second of COPY and COMMIT alone, of rows decoded before and without second deliveries."""
    now = datetime.now(UTC)
    rows = {row.message_id: row for row in (_row(topic, payload, now) for topic, payload in messages)}
    waiting = list(rows.values())
    took = 0.0
    with psycopg.connect(url) as conn:
        for start in range(0, len(waiting), COPY_BATCH):
            batch = waiting[start : start + COPY_BATCH]
            began = time.monotonic()
            with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.set_types(_TYPES)
                for row in batch:
                    copy.write_row(row)
            conn.commit()
            took += time.monotonic() - began
    return len(waiting) / took


def row_by_row(parts: Servers, url: str, messages: list[Message]) -> float:
    """Return messages per second as one begins: on each message an INSERT and a COMMIT, then its acknowledgement."""
    parts.queue("bench-beginner", messages)
    times: list[float] = []
    with psycopg.connect(url) as conn:

        def store(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
            conn.execute(_INSERT, _plain_row(message.topic, bytes(message.payload)))
            conn.commit()
            client.ack(message.mid, message.qos)
            times.append(time.monotonic())

        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="bench-beginner", protocol=mqtt.MQTTv5, manual_ack=True
        )
        client.on_message = store
        client.connect("127.0.0.1", parts.plain_port, clean_start=False)
        while len(times) < len(messages):
            client.loop(0.1)
        client.disconnect()
    parts.forget("bench-beginner")
    return (len(times) - 1) / (times[-1] - times[0])


def stock_batches(parts: Servers, url: str, messages: list[Message]) -> float:
    """Return messages per second of aiomqtt with batches by `executemany`.

    It acknowledges what it has received, not what is stored: a crash loses messages.
    """
    parts.queue("bench-stock", messages)
    rate = asyncio.run(_stock_batches(parts, url, len(messages)))
    parts.forget("bench-stock")
    return rate


async def _stock_batches(parts: Servers, url: str, count: int) -> float:
    async with (
        await psycopg.AsyncConnection.connect(url) as conn,
        aiomqtt.Client(
            "127.0.0.1", parts.plain_port, identifier="bench-stock", protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
        ) as client,
    ):  # fmt: skip
        began = 0.0
        done = 0
        batch: list[tuple[object, ...]] = []
        async for message in client.messages:
            began = began or time.monotonic()
            if not isinstance(message.payload, bytes):
                raise TypeError("expected bytes")
            batch.append(_plain_row(str(message.topic), message.payload))
            if len(batch) == STOCK_BATCH or done + len(batch) == count:
                async with conn.cursor() as cursor:
                    await cursor.executemany(_INSERT, batch)
                await conn.commit()
                done += len(batch)
                batch = []
            if done == count:
                break
        return count / (time.monotonic() - began)


def _row(topic: str, payload: bytes, now: datetime) -> StatusRow:
    vin, _ = parse_uplink(topic)
    return read_status(vin, Received(topic, payload, now))


def _plain_row(topic: str, payload: bytes) -> tuple[object, ...]:
    body = json.loads(payload)
    place = body["location"]
    return (
        topic.split("/")[2], UUID(body["messageId"]), datetime.fromisoformat(body["timestamp"]), datetime.now(UTC),
        False, place["latitude"], place["longitude"], place["accuracy"], place["heading"], body["speedKph"],
        body["odometerKm"], body["batteryVoltage"], body["fuelLevel"], body["engineStatus"],
        body["transmissionStatus"], body["drivable"], body["dtcCodes"],
    )  # fmt: skip
