"""A vehicle's MQTT 5 session: mutual TLS, client id = VIN, kept by the broker while the vehicle is away.

The packets are the codec's (`mqtt5`), TLS is Python's over memory: a fleet of thousands in one process needs vehicles
that are cheap, and asyncio's own TLS transport holds 256 KiB for each connection.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import mqtt5

from simulator.settings import Broker, Certificate

EXPIRY_S = 24 * 3600
"""How long the broker keeps the session, and with it receipts and commands, of a vehicle that is away."""
KEEPALIVE_S = 30

_CONNECT_S = 20.0
_GOODBYE_S = 2.0
_PACKET_IDS = 65_535
_READ = 64 * 1024
_FAILURE = 0x80
"""Reason codes from here on are failures (MQTT 5 §2.4)."""


_Answer = TypeVar("_Answer", mqtt5.ConnAckPacket, mqtt5.SubAckPacket)


class SessionLost(ConnectionError):
    """The broker could not be reached, refused the session, or ended it; the message says which."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message from the broker; `expiry_s` is what is left of its expiry (MQTT 5 §3.3.2.3.3)."""

    topic: str
    payload: bytes
    expiry_s: int | None


@dataclass(frozen=True, slots=True)
class _Publication:
    topic: str
    payload: bytes
    token: object
    at_s: float


class Session:
    """One vehicle's side of the protocol, over as many connections as it takes. QoS 1 both ways, never retained.

    `on_message` is called with what comes down. `on_confirmed` is called with the token of a publication, whether the
    broker took it, and the seconds that its answer took.
    """

    def __init__(
        self,
        client_id: str,
        broker: Broker,
        certificate: Certificate,
        *,
        on_message: Callable[[Heard], None],
        on_confirmed: Callable[[object, bool, float], None],
    ) -> None:
        self.ready = False
        self._loop = asyncio.get_running_loop()
        self._client_id = client_id
        self._broker = broker
        self._certificate = certificate
        self._on_message = on_message
        self._on_confirmed = on_confirmed
        self._wire: _Wire | None = None
        self._answer: asyncio.Future[mqtt5.ConnAckPacket | mqtt5.SubAckPacket] | None = None
        self._under_way: dict[int, _Publication] = {}
        self._waiting: deque[_Publication] = deque()
        self._window = _PACKET_IDS
        self._next_id = 0
        self._sent_s = self._heard_s = 0.0
        self._idle = asyncio.Event()

    async def connect(self, filter_: str, will: mqtt5.Will | None = None, *, expiry_s: int = EXPIRY_S) -> list[object]:
        """Resume the session on a new connection, subscribed; return the tokens of what was sent again for that.

        What the broker had not confirmed goes out once more, as it must (MQTT 5 §4.4). Raises SessionLost.
        """
        try:
            async with asyncio.timeout(_CONNECT_S):
                return await self._connect(filter_, will, expiry_s)
        except (OSError, TimeoutError) as error:  # SessionLost and SSLError are OSErrors
            self._drop()
            raise SessionLost(str(error) or f"no answer within {_CONNECT_S:.0f} s") from error

    async def lost(self) -> str:
        """Return why the connection ended, when it has."""
        if self._wire is None:
            return "not connected"
        reason = await asyncio.shield(self._wire.lost)
        self._drop()
        return reason

    def publish(self, topic: str, payload: bytes, token: object = None) -> None:
        """Publish, or wait while the broker has as many under way as it takes."""
        self._waiting.append(_Publication(topic, payload, token, self._now()))
        self._idle.clear()
        self._send_waiting()

    async def leave(self) -> None:
        """Disconnect in good order, once the broker has confirmed what is under way, or after a short wait."""
        if self._wire is not None and self.ready:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self._idle.wait()
            self._send(mqtt5.DisconnectPacket().write())
        self._drop()

    async def _connect(self, filter_: str, will: mqtt5.Will | None, expiry_s: int) -> list[object]:
        context = _tls(self._broker, self._certificate)
        wire = _Wire(context, self._broker.host, self._take)
        self._wire = wire
        await self._loop.create_connection(lambda: wire, self._broker.host, self._broker.port)
        await wire.secured
        if wire.lost.done():
            raise SessionLost(wire.lost.result())
        connect = mqtt5.ConnectPacket(
            self._client_id,
            clean_start=expiry_s == 0,
            will=will,
            keep_alive=KEEPALIVE_S,
            session_expiry_interval=expiry_s,
        )
        accepted = await self._asked(connect.write(), mqtt5.ConnAckPacket)
        if accepted.reason_code.value >= _FAILURE:
            raise SessionLost(f"the broker refused the connection: {accepted.reason_code.name}")
        self._window = accepted.receive_max
        again = [publication.token for publication in self._under_way.values()]
        for packet_id, publication in self._under_way.items():
            self._write(packet_id, publication, again=accepted.session_present)
        wanted = mqtt5.TopicFilter(filter_, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
        granted = await self._asked(mqtt5.SubscribePacket(self._free_id(), [wanted]).write(), mqtt5.SubAckPacket)
        if any(code.value >= _FAILURE for code in granted.reason_codes):
            raise SessionLost(f"the broker refused to let it hear {filter_}")
        self.ready = True
        self._keep_alive(wire)
        self._send_waiting()
        return again

    async def _asked(self, packet: bytes, answer: type[_Answer]) -> _Answer:
        assert self._wire is not None  # noqa: S101 - only called while connecting
        self._answer = self._loop.create_future()
        self._send(packet)
        waited: set[asyncio.Future[Any]] = {self._answer, self._wire.lost}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not self._answer.done():
            raise SessionLost(self._wire.lost.result())
        found = self._answer.result()
        if not isinstance(found, answer):
            raise SessionLost(f"the broker sent a {type(found).__name__}, which nobody asked for")
        return found

    def _take(self, packet: mqtt5.Packet) -> None:
        self._heard_s = self._now()
        match packet:
            case mqtt5.PubAckPacket():
                self._confirm(packet)
            case mqtt5.PublishPacket():
                self._on_message(Heard(packet.topic, packet.payload, packet.message_expiry_interval))
                if packet.packet_id is not None:
                    self._send(mqtt5.PubAckPacket(packet.packet_id).write())
            case mqtt5.ConnAckPacket() | mqtt5.SubAckPacket():
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(packet)
            case mqtt5.DisconnectPacket():
                raise SessionLost(f"the broker ended the connection: {packet.reason_code.name}")
            case _:
                pass  # PINGRESP

    def _confirm(self, packet: mqtt5.PubAckPacket) -> None:
        publication = self._under_way.pop(packet.packet_id, None)
        if publication is not None:
            accepted = packet.reason_code.value < _FAILURE
            self._on_confirmed(publication.token, accepted, self._heard_s - publication.at_s)
        self._send_waiting()
        if not self._under_way:
            self._idle.set()

    def _send_waiting(self) -> None:
        while self.ready and self._waiting and len(self._under_way) < self._window:
            publication = self._waiting.popleft()
            packet_id = self._free_id()
            self._under_way[packet_id] = publication
            self._write(packet_id, publication, again=False)

    def _write(self, packet_id: int, publication: _Publication, *, again: bool) -> None:
        packet = mqtt5.PublishPacket(
            publication.topic,
            publication.payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            packet_id=packet_id,
            duplicate=again,
        )
        self._send(packet.write())

    def _free_id(self) -> int:
        self._next_id = self._next_id % _PACKET_IDS + 1
        while self._next_id in self._under_way:
            self._next_id = self._next_id % _PACKET_IDS + 1
        return self._next_id

    def _send(self, packet: bytes) -> None:
        if self._wire is not None:
            self._sent_s = self._now()
            self._wire.write(packet)

    def _keep_alive(self, wire: "_Wire") -> None:
        """Ask for a sign of life where nothing was sent for a while (MQTT 5 §3.1.2.10), as long as this wire lasts."""
        if self._wire is not wire or wire.lost.done():
            return
        now_s = self._now()
        if now_s - self._heard_s > 1.5 * KEEPALIVE_S:
            wire.fail("the broker is silent")
            return
        if now_s - self._sent_s >= KEEPALIVE_S / 3 or now_s - self._heard_s >= KEEPALIVE_S / 3:
            self._send(mqtt5.PingReqPacket().write())
        self._loop.call_later(KEEPALIVE_S / 3, self._keep_alive, wire)

    def _drop(self) -> None:
        self.ready = False
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _now(self) -> float:
        return self._loop.time()


class _Wire(asyncio.Protocol):
    """One TCP connection: TLS by memory, and whole packets out of it. `lost` becomes the reason for its end.

    `secured` is done once TLS stands, or the connection is lost.
    """

    def __init__(self, context: ssl.SSLContext, host: str, on_packet: Callable[[mqtt5.Packet], None]) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.secured: asyncio.Future[None] = loop.create_future()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._on_packet = on_packet
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's own promise for TCP
        self._transport = transport
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if not self.secured.done():
                self._shake_hands()
            if self.secured.done():
                self._read()
        except OSError as error:  # SessionLost and SSLError are OSErrors
            self.fail(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(str(error) if error else "the broker closed the connection")

    def write(self, data: bytes) -> None:
        """Send some bytes; on a connection that has ended they go nowhere."""
        if not self.lost.done():
            self._tls.write(data)
            self._flush()

    def fail(self, reason: str) -> None:
        """End the connection for this reason; later reasons change nothing."""
        if not self.lost.done():
            self.lost.set_result(reason)
        if not self.secured.done():
            self.secured.set_result(None)
        self.close()

    def close(self) -> None:
        """End the connection once what was written is out."""
        if self._transport is not None:
            self._transport.close()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._flush()
            self.fail(str(error))
            return
        else:
            self.secured.set_result(None)
        self._flush()

    def _read(self) -> None:
        with suppress(ssl.SSLWantReadError):
            while part := self._tls.read(_READ):
                self._buffer += part
        self._flush()
        position = 0
        while (end := _end_of_packet(self._buffer, position)) is not None:
            packet, _ = mqtt5.read(memoryview(bytes(self._buffer[position:end])))
            position = end
            self._on_packet(packet)
        del self._buffer[:position]

    def _flush(self) -> None:
        if self._outgoing.pending and self._transport is not None:
            self._transport.write(self._outgoing.read())


def _end_of_packet(buffer: bytearray, start: int) -> int | None:
    """Return where the packet that begins here ends, None where it is not all there (MQTT 5 §2.1.4)."""
    length = 0
    for place in range(1, 5):
        if start + place >= len(buffer):
            return None
        octet = buffer[start + place]
        length |= (octet & 0x7F) << (7 * (place - 1))
        if not octet & 0x80:
            end = start + place + 1 + length
            return end if end <= len(buffer) else None
    raise SessionLost("the broker sent a malformed packet: a length of more than four octets")


def _tls(broker: Broker, certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=broker.ca)
    context.load_cert_chain(certificate.crt, certificate.key)
    return context
