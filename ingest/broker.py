"""A durable session with the broker, run by one thread, which acknowledges a message only after its commit."""

import hashlib
import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import structlog

from ingest import metrics
from ingest.inbox import Inbox, Received
from ingest.mqtt import Conversation, Ended
from ingest.settings import WorkerSettings
from ingest.tls import Tls
from schemas.system_test import TEST_VIN
from schemas.topics import PREFIX

if TYPE_CHECKING:
    from ingest.decode import Step

log = structlog.get_logger()

PROBE_TOPIC = f"{PREFIX}/{TEST_VIN}/down/probe"
"""Nobody may read it; the broker confirms it all the same."""
CONNECT_WAIT_S = 5
BACKOFF_MAX_S = 5.0
SESSION_EXPIRY_S = 7 * 24 * 3600
"""How long the broker keeps messages for a worker that is away: as long as late data is accepted."""
READ_BYTES = 64 * 1024
READ_BYTES_MAX = 512 * 1024
"""What is read before anything else is done: many packets at once, yet acknowledgements need not wait."""
AHEAD_OF = 2000
"""Messages: where so many wait for the lane, it is behind, and the session's thread has time to decode for it."""


class NotDelivered(RuntimeError):
    """The broker did not take a message in time; it is sent again."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish, QoS 1, never retained; never after `expires_at`, when the broker drops it too."""

    topic: str
    payload: bytes
    expires_at: datetime | None = None


@dataclass(slots=True)
class Publications:
    """What a session sent to vehicles, what of it the broker confirmed (PUBACK), and how long the last one took.

    The round trip is None while there is no connection or nothing was confirmed on it; probes count for it only.
    """

    sent: int = 0
    confirmed: int = 0
    round_trip_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Settled:
    messages: Sequence[Received]
    replies: Sequence[Outgoing]
    answers: Sequence["Future[bool]"] = ()


def client_id(key: Path, name: str) -> str:
    """Return the client id of one of the worker's sessions: the same for all workers with this key.

    The broker hands a session to whoever names it, with whatever certificate; so no vehicle may be able to guess it.
    """
    return f"ingest-{name}-{hashlib.sha256(key.read_bytes()).hexdigest()[:32]}"


class Session:
    """One session with the broker: everything that touches its socket happens in one thread.

    Messages go into the inbox. While that is full, reading pauses and the backlog stays in the broker. Messages that
    were not settled before the connection broke are delivered again by the broker (MQTT 5 §4.4). A session without
    filters only publishes, and ends with its connection. `given_up` is what an earlier version subscribed to.
    `read_ahead` gives each message its `step`.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        name: str,
        filters: Sequence[str] = (),
        given_up: Sequence[str] = (),
        read_ahead: Callable[[Received], "Step | None"] | None = None,
    ) -> None:
        self.inbox = Inbox(
            messages_max=settings.ingest_buffer_max, bytes_max=settings.ingest_buffer_bytes_max, on_room=self._wake
        )
        self.publications = Publications()
        self._settings = settings
        self._name = name
        self._read_ahead = read_ahead
        self._conversation = Conversation(
            client_id(settings.mqtt_key, name), filters, SESSION_EXPIRY_S if filters else 0, given_up
        )
        self._connection = 0
        self._tls: Tls | None = None
        self._unsent = bytearray()
        self._settled: deque[_Settled] = deque()
        self._answers: set[Future[bool]] = set()
        self._stopping = Event()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)  # noqa: FBT003 - socket's own spelling
        self._wake_sender.setblocking(False)  # noqa: FBT003 - socket's own spelling
        self._thread = Thread(target=self._run, name=f"session-{name}")

    @property
    def ready(self) -> bool:
        """True while connected and subscribed."""
        return self._conversation.ready

    @property
    def failed(self) -> bool:
        """True where the thread ended without being asked to."""
        return not self._thread.is_alive() and not self._stopping.is_set()

    def start(self) -> None:
        """Begin to connect, and again whenever the connection breaks, with growing pauses."""
        self._thread.start()

    def wait_ready(self, wait_s: float) -> None:
        """Return once connected and subscribed. Raises NotDelivered where that takes longer than `wait_s`."""
        deadline_s = time.monotonic() + wait_s
        while not self.ready:
            if time.monotonic() > deadline_s or self._stopping.wait(0.02):
                raise NotDelivered(f"no connection to the broker within {wait_s:g} s")

    def settle(self, messages: Sequence[Received], replies: Sequence[Outgoing]) -> None:
        """Acknowledge stored messages in the order received, and publish what their vehicles are told."""
        self._settled.append(_Settled(messages, replies))
        self._wake()

    def deliver(self, messages: Sequence[Outgoing], *, wait_s: float) -> list[Outgoing]:
        """Publish, wait until the broker has answered each, and return those that it refused.

        Raises NotDelivered where it has not answered within `wait_s`, and where there is no connection or it breaks
        meanwhile.
        """
        answers: list[Future[bool]] = [Future() for _ in messages]
        if not self.ready:
            raise NotDelivered("there is no connection to the broker")
        self._settled.append(_Settled((), messages, answers))
        self._wake()
        _, late = wait(answers, timeout=wait_s)
        if late:
            raise NotDelivered(f"no PUBACK within {wait_s:g} s")
        return [message for message, answer in zip(messages, answers, strict=True) if not answer.result()]

    def stop(self) -> None:
        """Write out what is settled, disconnect and wait for the thread to end."""
        self._stopping.set()
        self._wake()
        self._thread.join()
        self._wake_receiver.close()
        self._wake_sender.close()

    def _run(self) -> None:
        pause_s = 0.2
        while not self._stopping.is_set():
            began_s = time.monotonic()
            try:
                with self._connect() as broker:
                    self._serve(broker)
            except OSError as error:  # Ended and everything of sockets and TLS
                log.warning("broker_connection_ended", session=self._name, error=str(error))
                metrics.CONNECTIONS_ENDED.labels(self._name).inc()
            self._lost()
            # A connection that stood for a while was a good one: begin again with short pauses.
            pause_s = 0.2 if time.monotonic() - began_s > BACKOFF_MAX_S * 3 else min(pause_s * 2, BACKOFF_MAX_S)
            self._stopping.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret

    def _connect(self) -> socket.socket:
        host, port = self._settings.mqtt_host, self._settings.mqtt_port
        broker = socket.create_connection((host, port), timeout=CONNECT_WAIT_S)
        # Small packets at once: Nagle's algorithm would hold a receipt until the broker's delayed ACK, some 40 ms.
        broker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = self._settings.broker_tls()
        if context is None:
            self._tls = None
        else:
            self._tls = Tls(context, host=host, most=READ_BYTES_MAX)
            try:
                self._tls.shake_hands(broker)
            except OSError:
                broker.close()
                raise
        broker.setblocking(False)  # noqa: FBT003 - socket's own spelling
        self._connection += 1
        self._unsent.clear()
        self._conversation.begin(time.monotonic())
        return broker

    def _serve(self, broker: socket.socket) -> None:
        talk = self._conversation
        was_ready = False
        while True:
            self._write_settled()
            if self._stopping.is_set() and not self._settled and not talk.outgoing and not self._unsent:
                talk.end(time.monotonic())
                self._write(broker)
                return
            self._write(broker)
            reading = not (self.inbox.full or self._stopping.is_set())
            self._wait(broker, reading=reading)
            if reading:
                self._read(broker)
            talk.tick(time.monotonic(), reading=reading)
            if talk.ready and not was_ready:
                was_ready = True
                log.info("session_ready", session=self._name)

    def _wait(self, broker: socket.socket, *, reading: bool) -> None:
        readers = [self._wake_receiver, broker] if reading else [self._wake_receiver]
        writers = [broker] if self._unsent else []
        readable, _, _ = select.select(readers, writers, [], 0.5)
        if self._wake_receiver in readable:
            with suppress(BlockingIOError):  # all read
                while self._wake_receiver.recv(4096):
                    continue

    def _read(self, broker: socket.socket) -> None:
        parts: list[bytes] = []
        size, closed = 0, False
        with suppress(BlockingIOError):
            while size < READ_BYTES_MAX and not closed:
                part = broker.recv(min(READ_BYTES, READ_BYTES_MAX - size))
                parts.append(part)
                size += len(part)
                closed = not part
        if size:
            data = b"".join(parts)
            if self._tls is not None:
                data = self._tls.decrypt(data)
                closed = closed or self._tls.ended
            messages = self._conversation.receive(data, time.monotonic())
            received_at = datetime.now(UTC)
            received = [
                Received(topic, payload, received_at, number, self._connection) for topic, payload, number in messages
            ]
            if self._read_ahead is not None and len(self.inbox) >= AHEAD_OF:
                received = [one.as_step(self._read_ahead(one)) for one in received]
            self.inbox.put(received)
            self._note_answers()
            self._note_salvaged()
        if closed:  # what came before, a DISCONNECT with its reason perhaps, has been read
            raise Ended("the broker closed the connection")

    def _write(self, broker: socket.socket) -> None:
        outgoing, unsent = self._conversation.outgoing, self._unsent
        unsent += outgoing if self._tls is None else self._tls.encrypt(bytes(outgoing))
        outgoing.clear()
        with suppress(BlockingIOError):
            while unsent:
                sent = broker.send(unsent[:READ_BYTES])
                del unsent[:sent]

    def _write_settled(self) -> None:
        now_s = time.monotonic()
        while self._settled and self._conversation.accepted:
            settled = self._settled.popleft()
            # An older connection's packet ids mean nothing now.
            self._conversation.acknowledge(
                [message.packet_id for message in settled.messages if message.connection == self._connection], now_s
            )
            for place, reply in enumerate(settled.replies):
                self._publish(reply, settled.answers[place] if settled.answers else None, now_s)

    def _publish(self, message: Outgoing, answer: "Future[bool] | None", now_s: float) -> None:
        remaining_s = None
        if message.expires_at is not None:
            remaining_s = int((message.expires_at - datetime.now(UTC)).total_seconds())
            if remaining_s <= 0:  # it waited too long for a connection
                if answer is not None:
                    answer.set_result(True)
                return
        if answer is not None:
            self._answers.add(answer)
        self._conversation.publish(message.topic, message.payload, now_s, expiry_s=remaining_s, token=answer)
        self.publications.sent += message.topic != PROBE_TOPIC

    def _note_answers(self) -> None:
        for one in self._conversation.take_confirmed():
            if isinstance(one.token, Future):
                self._answers.discard(one.token)
                one.token.set_result(one.accepted)
            if one.accepted:
                self.publications.round_trip_s = one.round_trip_s
                self.publications.confirmed += one.topic != PROBE_TOPIC
                metrics.PUBACK_SECONDS.labels(self._name).observe(one.round_trip_s)

    def _note_salvaged(self) -> None:
        salvaged, self._conversation.salvaged = self._conversation.salvaged, 0
        if salvaged:
            log.warning("properties_unreadable", session=self._name, messages=salvaged)
            metrics.SALVAGED.labels(self._name).inc(salvaged)

    def _lost(self) -> None:
        self._conversation.ready = self._conversation.accepted = False
        self.publications.round_trip_s = None
        self.inbox.clear()
        # What somebody waits for is given up; receipts go out on the next connection.
        given_up = [settled for settled in self._settled if settled.answers]
        for settled in given_up:
            self._settled.remove(settled)
            self._answers.update(settled.answers)
        for answer in self._answers:
            answer.set_exception(NotDelivered("the connection to the broker broke"))
        self._answers.clear()

    def _wake(self) -> None:
        # A full pipe already means that the thread will wake.
        with suppress(BlockingIOError, OSError):
            self._wake_sender.send(b"x")
