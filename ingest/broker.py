"""A durable MQTT 5 session that acknowledges a message only when told to, after the commit."""

import hashlib
import random
import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import structlog
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest import metrics
from ingest.inbox import Inbox, Received
from ingest.settings import WorkerSettings
from schemas.system_test import TEST_VIN
from schemas.topics import PREFIX

log = structlog.get_logger()

PROBE_TOPIC = f"{PREFIX}/{TEST_VIN}/down/probe"
"""Nobody may read it; the broker confirms it all the same."""
KEEPALIVE_S = 30
CONNACK_WAIT_S = 10
BACKOFF_MAX_S = 15.0
SESSION_EXPIRY_S = 7 * 24 * 3600
"""How long the broker keeps messages for a worker that is away: as long as late data is accepted."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish, QoS 1, never retained."""

    topic: str
    payload: bytes


@dataclass(slots=True)
class Publications:
    """What a session sent to vehicles, what of it the broker confirmed (PUBACK), and how long the last one took.

    The round trip is None while there is no connection or nothing was confirmed on it; probes count for it only.
    """

    sent: int = 0
    confirmed: int = 0
    round_trip_s: float | None = None


def client_id(key: Path, name: str) -> str:
    """Return the client id of one of the worker's sessions: the same for all workers with this key.

    The broker hands a session to whoever names it, with whatever certificate; so no vehicle may be able to guess it.
    """
    return f"ingest-{name}-{hashlib.sha256(key.read_bytes()).hexdigest()[:32]}"


def make_client(settings: WorkerSettings, name: str, *, manual_ack: bool) -> mqtt.Client:
    """Return an MQTT 5 client for one of the worker's sessions; it is not connected yet."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id(settings.mqtt_key, name),
        protocol=mqtt.MQTTv5,
        manual_ack=manual_ack,
        reconnect_on_failure=False,  # who owns the client connects again, and knows then that the connection was lost
    )
    client.tls_set(ca_certs=str(settings.mqtt_ca), certfile=str(settings.mqtt_cert), keyfile=str(settings.mqtt_key))
    client.max_inflight_messages_set(1000)
    client.connect_timeout = 5
    # Small packets at once: Nagle's algorithm would hold a receipt until the broker's delayed ACK, some 40 ms.
    client.on_socket_open = _without_delay
    return client


def _without_delay(_client: mqtt.Client, _data: Any, opened: Any) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Session:
    """One durable session with the broker, run by one thread: everything that touches the socket happens there.

    Messages go into the inbox. While that is full, reading pauses and the backlog stays in the broker. Messages that
    were not settled before the connection broke are delivered again by the broker (MQTT 5 §4.4).
    """

    def __init__(self, settings: WorkerSettings, *, name: str, filters: Sequence[str]) -> None:
        self.inbox = Inbox(
            messages_max=settings.ingest_buffer_max, bytes_max=settings.ingest_buffer_bytes_max, on_room=self._wake
        )
        self.ready = False
        self.publications = Publications()
        self._under_way: dict[int, tuple[float, bool]] = {}
        self._settings = settings
        self._name = name
        self._filters = filters
        self._connection = 0
        self._settled: deque[tuple[Sequence[Received], Sequence[Outgoing]]] = deque()
        self._stopping = Event()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)  # noqa: FBT003 - socket's own spelling
        self._wake_sender.setblocking(False)  # noqa: FBT003 - socket's own spelling
        self._client = self._make_client()
        self._thread = Thread(target=self._run, name=f"session-{name}")

    def start(self) -> None:
        """Begin to connect, and again whenever the connection breaks, with growing pauses."""
        self._thread.start()

    def settle(self, messages: Sequence[Received], replies: Sequence[Outgoing]) -> None:
        """Acknowledge stored messages in the order received, and publish what their vehicles are told."""
        self._settled.append((messages, replies))
        self._wake()

    def stop(self) -> None:
        """Write out what is settled, disconnect and wait for the thread to end."""
        self._stopping.set()
        self._wake()
        self._thread.join()
        self._wake_receiver.close()
        self._wake_sender.close()

    def _make_client(self) -> mqtt.Client:
        client = make_client(self._settings, self._name, manual_ack=True)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        # With this set, paho queues packets instead of writing them inside each call; the loop writes them.
        client.on_socket_register_write = lambda *_: None
        return client

    def _run(self) -> None:
        pause_s = 0.2
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._connect()
                self._serve()
            except OSError as error:
                log.warning("broker_unreachable", session=self._name, error=str(error))
            self._lost()
            # A connection that stood for a while was a good one: begin again with short pauses.
            pause_s = 0.2 if time.monotonic() - began > BACKOFF_MAX_S else min(pause_s * 2, BACKOFF_MAX_S)
            self._stopping.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret

    def _connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self._client.connect(
            self._settings.mqtt_host,
            self._settings.mqtt_port,
            keepalive=KEEPALIVE_S,
            clean_start=False,
            properties=properties,
        )

    def _serve(self) -> None:
        connack_deadline = time.monotonic() + CONNACK_WAIT_S
        while (broker := self._client.socket()) is not None:
            if self._stopping.is_set() and self._drained():
                self._client.disconnect()
                self._client.loop_write()
                return
            self._wait(broker)
            self._write_settled()
            if self._client.want_write():
                self._client.loop_write()
            self._client.loop_misc()
            if not self.ready and time.monotonic() > connack_deadline:
                raise OSError("the broker did not accept the session in time")

    def _wait(self, broker: Any) -> None:
        reading = not (self.inbox.full or self._stopping.is_set())
        if reading and broker.pending():  # decrypted already: select would not see it
            self._read(broker)
            return
        readers = [self._wake_receiver, broker] if reading else [self._wake_receiver]
        writers = [broker] if self._client.want_write() else []
        readable, _, _ = select.select(readers, writers, [], 0.5)
        if self._wake_receiver in readable:
            with suppress(BlockingIOError):  # all read
                while self._wake_receiver.recv(4096):
                    continue
        if broker in readable:
            self._read(broker)

    def _read(self, broker: Any) -> None:
        # paho reads one packet in each call.
        self._client.loop_read()
        while broker.pending() and not self.inbox.full:
            self._client.loop_read()

    def _write_settled(self) -> None:
        while self._settled and self._client.is_connected():
            messages, replies = self._settled.popleft()
            for message in messages:
                if message.connection == self._connection:  # an older connection's packet ids mean nothing now
                    self._client.ack(message.packet_id, 1)
            for reply in replies:
                self._publish(reply)

    def _publish(self, reply: Outgoing) -> None:
        is_probe = reply.topic == PROBE_TOPIC
        packet_id = self._client.publish(reply.topic, reply.payload, qos=1).mid
        self._under_way[packet_id] = (time.monotonic(), is_probe)
        self.publications.sent += not is_probe

    def _drained(self) -> bool:
        return not self._settled and not self._client.want_write()

    def _lost(self) -> None:
        self.ready = False
        self.publications.round_trip_s = None
        self.inbox.clear()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            log.error("broker_refused", session=self._name, reason=str(reason))
            return
        self._connection += 1
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        self._client.subscribe([(topic, options) for topic in self._filters])

    def _on_subscribe(
        self, _client: Any, _data: Any, _mid: int, reasons: Iterable[ReasonCode], _properties: Any
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            log.error("subscription_refused", session=self._name, reasons=refused)
            return
        self.ready = True
        log.info("session_ready", session=self._name)

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.inbox.put(
            Received(message.topic, bytes(message.payload), datetime.now(UTC), message.mid, self._connection)
        )

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        log.warning("broker_connection_ended", session=self._name, reason=str(reason))

    def _on_publish(self, _client: Any, _data: Any, packet_id: int, reason: ReasonCode, _properties: Any) -> None:
        began_s, is_probe = self._under_way.pop(packet_id, (None, True))
        if began_s is None or reason.is_failure:
            return
        self.publications.round_trip_s = time.monotonic() - began_s
        self.publications.confirmed += not is_probe
        metrics.PUBACK_SECONDS.labels(self._name).observe(self.publications.round_trip_s)

    def _wake(self) -> None:
        # A full pipe already means that the thread will wake.
        with suppress(BlockingIOError, OSError):
            self._wake_sender.send(b"x")
