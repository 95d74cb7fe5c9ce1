"""A client without a certificate that may speak for the whole fleet, and a reader of event streams, in one thread."""

import re
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Self

from benchmarks.fleet import Message
from ingest.mqtt import Conversation, Incoming

UNDER_WAY_MAX = 20_000
_READ = 256 * 1024
_VIN = re.compile(rb'"vin":\s*"([A-Z0-9]{17})"')


class Client:
    """An MQTT client over plain TCP on loopback. Nothing happens but in `pump`."""

    def __init__(
        self,
        port: int,
        client_id: str,
        *,
        filters: Sequence[str] = (),
        keep_s: int = 0,
        on_message: Callable[[Incoming], None] | None = None,
    ) -> None:
        self._talk = Conversation(client_id, filters, session_expiry_s=keep_s)
        self._on_message = on_message
        self._under_way = 0
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)  # noqa: FBT003 - socket's own spelling
        self._talk.begin(time.monotonic())
        while not self._talk.ready:
            self.pump(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._talk.end(time.monotonic())
        while self._talk.outgoing:
            select.select([], [self._socket], [], 1)
            self._write()
        self._socket.close()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1, as soon as `pump` is called."""
        self._talk.publish(topic, payload, time.monotonic())
        self._under_way += 1

    def publish_all(self, messages: Iterable[Message]) -> None:
        """Publish all and return when the broker has them."""
        for topic, payload in messages:
            self.publish(topic, payload)
            if len(self._talk.outgoing) > _READ:
                self.pump(0)
            while self._under_way >= UNDER_WAY_MAX:
                self.pump(1)
        while self._under_way:
            self.pump(1)

    def pump(self, wait_s: float, *streams: "Stream") -> None:
        """Write what is to be written; wait for something to read, here or in the streams, and read it."""
        self._write()
        writers = [self._socket] if self._talk.outgoing else []
        readers: list[socket.socket | Stream] = [self._socket, *streams]
        readable, _, _ = select.select(readers, writers, [], wait_s)
        for stream in streams:
            if stream in readable:
                stream.read()
        if self._socket in readable:
            data = self._socket.recv(_READ)
            if not data:
                raise ConnectionError("the broker closed the connection")
            messages = self._talk.receive(data, time.monotonic())
            if messages and self._on_message is not None:
                for message in messages:
                    self._on_message(message)
            self._talk.acknowledge([message.packet_id for message in messages], time.monotonic())
            self._under_way -= len(self._talk.take_confirmed())
        self._talk.tick(time.monotonic(), reading=True)
        self._write()

    def _write(self) -> None:
        outgoing = self._talk.outgoing
        with suppress(BlockingIOError):
            while outgoing:
                sent = self._socket.send(outgoing[:_READ])
                del outgoing[:sent]


class Stream:
    """An event stream of the API; `seen` tells when the first event of each vehicle came, in seconds since 1970."""

    def __init__(self, port: int, path: str, token: str) -> None:
        self.seen: dict[str, float] = {}
        self._buffer = b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.sendall(request(path, token))
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._socket.recv(4096)
        if b" 200 " not in self._buffer.split(b"\r\n", 1)[0]:
            raise ConnectionError(f"the stream was refused: {self._buffer[:200]!r}")

    def fileno(self) -> int:
        """Return what `select` waits for."""
        return self._socket.fileno()

    def read(self) -> None:
        """Take what has come."""
        self._buffer += self._socket.recv(_READ)
        now = time.time()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            for vin in vins_in(line):
                self.seen.setdefault(vin, now)

    def close(self) -> None:
        """Leave."""
        self._socket.close()


def vins_in(line: bytes) -> list[str]:
    """Return the vehicles that a line of a stream tells of."""
    return [vin.decode() for vin in _VIN.findall(line)]


def request(path: str, token: str) -> bytes:
    """Return a GET that keeps the connection."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
