"""A vehicle that writes its own MQTT 5 packets over TLS: what no client library would send."""

import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

from mosquitto import pki
from schemas.topics import Uplink, uplink_topic
from stack.broker import Broker

_CONNACK, _PUBACK, _DISCONNECT = 2, 4, 14
_WAIT_S = 10


class RawVehicle:
    """A connected vehicle. Packets are written as they are; `publish` returns the broker's answer."""

    def __init__(self, broker: Broker, pki_dir: Path, vin: str) -> None:
        self.vin = vin
        credentials = pki.issue_vehicle(pki_dir, vin)
        context = ssl.create_default_context(cafile=broker.ca)
        context.load_cert_chain(credentials.certificate, credentials.key)
        plain = socket.create_connection((broker.host, broker.port), timeout=_WAIT_S)
        self._socket = context.wrap_socket(plain, server_hostname=broker.host)
        self._buffer = b""
        self._next_id = 0
        self._socket.sendall(packet(1, 0, field(b"MQTT") + b"\x05\x02\x00\x3c" + b"\x00" + field(vin.encode())))
        kind, _ = self._read()
        assert kind == _CONNACK

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def publish(self, kind: Uplink, payload: bytes, *, properties: bytes = b"", flags: int = 0) -> int | None:
        """Publish at QoS 1 with these bytes as its properties; return the broker's reason code.

        None where the broker ends the connection instead.
        """
        self._next_id += 1
        topic = uplink_topic(self.vin, kind).encode()
        body = field(topic) + self._next_id.to_bytes(2) + length(len(properties)) + properties + payload
        try:
            self._socket.sendall(packet(3, 0b0010 | flags, body))
            answer, rest = self._read()
        except OSError:
            return None
        if answer == _DISCONNECT:
            return None
        assert answer == _PUBACK, answer
        return rest[2] if len(rest) > 2 else 0

    def _read(self) -> tuple[int, bytes]:
        """Return the type and the body of the next packet. Raises OSError where there is none."""
        while True:
            found = _first(self._buffer)
            if found is not None:
                kind, body, size = found
                self._buffer = self._buffer[size:]
                return kind, body
            part = self._socket.recv(4096)
            if not part:
                raise ConnectionResetError("the broker closed the connection")
            self._buffer += part


def packet(kind: int, flags: int, body: bytes) -> bytes:
    """Return a packet (MQTT 5 §2.1)."""
    return bytes([kind << 4 | flags]) + length(len(body)) + body


def length(number: int) -> bytes:
    """Return a variable byte integer (MQTT 5 §1.5.5)."""
    octets = []
    while True:
        number, octet = divmod(number, 128)
        octets.append(octet | 0x80 if number else octet)
        if not number:
            return bytes(octets)


def field(content: bytes) -> bytes:
    """Return bytes with their length before them, as texts and binary data travel (MQTT 5 §1.5.4)."""
    return len(content).to_bytes(2) + content


def _first(buffer: bytes) -> tuple[int, bytes, int] | None:
    size, shift = 0, 0
    for place in range(1, min(5, len(buffer))):
        size |= (buffer[place] & 0x7F) << shift
        shift += 7
        if not buffer[place] & 0x80:
            end = place + 1 + size
            return (buffer[0] >> 4, buffer[place + 1 : end], end) if len(buffer) >= end else None
    return None
