"""The MQTT 5 conversation with the broker, without I/O: bytes in, messages out, bytes to write.

It knows what the worker needs and no more: QoS 1 both ways, one subscription, a session that outlasts connections. The
packets are the codec's (`mqtt5`); what is here is their order and the clock's.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import mqtt5

KEEPALIVE_S = 10
"""Half of it after the last packet sent, the broker is asked for a sign of life; after the other half it is lost."""
CONNACK_WAIT_S = 10
PACKET_IDS = 65_535
_PUBLISH = 3
_LENGTH_OCTETS = 4
_FAILURE = 0x80
"""Reason codes from here on are failures (§2.4)."""


class Ended(ConnectionError):
    """The connection can't go on: refused, broken or ended by the broker. The text says which."""


class Incoming(NamedTuple):
    """A PUBLISH as it came. `packet_id` is None at QoS 0: nothing is to be acknowledged then."""

    topic: str
    payload: bytes
    packet_id: int | None


class Confirmed(NamedTuple):
    """What became of a publication: the broker has it, or would not have it; and how long the answer took."""

    topic: str
    token: object
    accepted: bool
    round_trip_s: float


@dataclass(slots=True)
class _Publication:
    topic: str
    payload: bytes
    expiry_s: int | None
    token: object
    sent_s: float = 0.0


@dataclass(slots=True)
class Conversation:
    """One session's side of the protocol, over as many connections as it takes.

    `outgoing` holds the bytes to write. Publications that the broker has not confirmed are sent again on the next
    connection (MQTT 5 §4.4), unless the session ends with each connection.
    """

    client_id: str
    filters: Sequence[str]
    session_expiry_s: int
    """How long the broker keeps the session while nobody is connected; 0: it begins anew with each connection."""
    given_up: Sequence[str] = ()
    """Filters that a session from an earlier version may still have."""
    outgoing: bytearray = field(default_factory=bytearray)
    accepted: bool = False
    """True from the broker's CONNACK: it may be acknowledged and published to, while SUBACK waits behind a backlog."""
    ready: bool = False
    """True once messages come: the broker granted every filter, or still has the session it granted them to."""
    salvaged: int = 0
    """Messages whose properties the codec could not read; what came with them was handed on all the same."""
    _buffer: bytearray = field(default_factory=bytearray)
    _waiting: deque[_Publication] = field(default_factory=deque)
    _confirmed: list[Confirmed] = field(default_factory=list)
    _under_way: dict[int, _Publication] = field(default_factory=dict)
    _window: int = 0
    _next_id: int = 0
    _keepalive_s: float = KEEPALIVE_S
    _began_s: float = 0.0
    _sent_s: float = 0.0
    _heard_s: float = 0.0

    def begin(self, now_s: float) -> None:
        """Start on a new connection: CONNECT is the first packet (MQTT 5 §3.1)."""
        self.outgoing.clear()
        self._buffer.clear()
        self.ready = self.accepted = False
        self._window = 0
        if self.session_expiry_s == 0:
            self._waiting.clear()
            self._under_way.clear()
        self._keepalive_s = KEEPALIVE_S
        self._began_s = self._heard_s = now_s
        connect = mqtt5.ConnectPacket(
            self.client_id,
            clean_start=self.session_expiry_s == 0,
            keep_alive=KEEPALIVE_S,
            session_expiry_interval=self.session_expiry_s,
        )
        self._send(connect.write(), now_s)

    def end(self, now_s: float) -> None:
        """Say goodbye; the session stays (MQTT 5 §3.14)."""
        self._send(mqtt5.DisconnectPacket().write(), now_s)

    def receive(self, data: bytes, now_s: float) -> list[Incoming]:
        """Take what the socket gave, packets cut anywhere, and return the messages in it, in the broker's order.

        Raises Ended where the broker refuses or ends the connection, or does not keep to the protocol.
        """
        self._heard_s = now_s
        self._buffer += data
        messages: list[Incoming] = []
        position = 0
        # The view must be gone before the buffer can shrink.
        with memoryview(self._buffer) as view:
            while position < len(view):
                try:
                    packet, length = mqtt5.read(view[position:])
                except BaseException as error:  # a Rust panic is no Exception
                    if isinstance(error, KeyboardInterrupt | SystemExit):
                        raise
                    if not _is_whole(view[position:]):
                        break
                    message, length = _salvage(view[position:], error)
                    messages.append(message)
                    self.salvaged += 1
                else:
                    if type(packet) is mqtt5.PublishPacket:
                        messages.append(Incoming(packet.topic, packet.payload, packet.packet_id))
                    else:
                        self._take(packet, now_s)
                position += length
        del self._buffer[:position]
        return messages

    def acknowledge(self, packet_ids: Iterable[int | None], now_s: float) -> None:
        """Tell the broker that these are safe, in the order given, which must be the order received (§4.6)."""
        acks = b"".join([mqtt5.PubAckPacket(number).write() for number in packet_ids if number is not None])
        if acks:
            self._send(acks, now_s)

    def publish(
        self, topic: str, payload: bytes, now_s: float, *, expiry_s: int | None = None, token: object = None
    ) -> None:
        """Publish at QoS 1, never retained; it waits here while the broker has as many under way as it takes.

        The `token` comes back in `take_confirmed`.
        """
        self._waiting.append(_Publication(topic, payload, expiry_s, token))
        self._send_waiting(now_s)

    def take_confirmed(self) -> list[Confirmed]:
        """Return what the broker has said of publications since the last call."""
        confirmed, self._confirmed = self._confirmed, []
        return confirmed

    def tick(self, now_s: float, *, reading: bool) -> None:
        """Keep the connection alive (MQTT 5 §3.1.2.10). While nothing is read, silence proves nothing.

        Raises Ended where the broker did not answer in time.
        """
        if not self.accepted and now_s - self._began_s > CONNACK_WAIT_S:
            raise Ended(f"the broker did not accept the session within {CONNACK_WAIT_S} s")
        if not reading:
            self._heard_s = now_s
        half_s = self._keepalive_s / 2
        if self.accepted and now_s - self._sent_s >= half_s:
            self._send(mqtt5.PingReqPacket().write(), now_s)
        if self.accepted and now_s - self._heard_s > self._keepalive_s + half_s:
            raise Ended("the broker is silent: no answer to PINGREQ")

    def _take(self, packet: mqtt5.Packet, now_s: float) -> None:
        match packet:
            case mqtt5.PubAckPacket():
                self._confirm(packet, now_s)
            case mqtt5.PingRespPacket() | mqtt5.UnsubAckPacket():  # there was such a subscription or not
                pass
            case mqtt5.ConnAckPacket():
                self._accept(packet, now_s)
            case mqtt5.SubAckPacket():
                refused = [code.name for code in packet.reason_codes if code.value >= _FAILURE]
                if refused:
                    raise Ended(f"the broker refused a subscription: {', '.join(refused)}")
                self.ready = True
            case mqtt5.DisconnectPacket():
                raise Ended(f"the broker ended the connection: {packet.reason_code.name}")
            case _:
                raise Ended(f"the broker sent a {type(packet).__name__}, which nobody asked for")

    def _accept(self, packet: mqtt5.ConnAckPacket, now_s: float) -> None:
        if packet.reason_code.value >= _FAILURE:
            raise Ended(f"the broker refused the connection: {packet.reason_code.name}")
        if packet.server_keep_alive is not None:  # the broker's word counts (§3.2.2.3.14)
            self._keepalive_s = packet.server_keep_alive or float("inf")
        self.accepted = True
        self._window = packet.receive_max
        for packet_id, publication in self._under_way.items():
            self._write(packet_id, publication, now_s, again=packet.session_present)
        if self.given_up and packet.session_present:
            self._send(mqtt5.UnsubscribePacket(self._free_id(), list(self.given_up)).write(), now_s)
        if self.filters:
            filters = [
                mqtt5.TopicFilter(
                    each, max_qos=mqtt5.QoS.AT_LEAST_ONCE, retain_handling=mqtt5.RetainHandling.SEND_NEVER
                )
                for each in self.filters
            ]
            self._send(mqtt5.SubscribePacket(self._free_id(), filters).write(), now_s)
        self.ready = packet.session_present or not self.filters
        self._send_waiting(now_s)

    def _confirm(self, packet: mqtt5.PubAckPacket, now_s: float) -> None:
        publication = self._under_way.pop(packet.packet_id, None)
        if publication is not None:
            accepted = packet.reason_code.value < _FAILURE
            self._confirmed.append(
                Confirmed(publication.topic, publication.token, accepted, now_s - publication.sent_s)
            )
        self._send_waiting(now_s)

    def _send_waiting(self, now_s: float) -> None:
        while self._waiting and len(self._under_way) < self._window:
            publication = self._waiting.popleft()
            packet_id = self._free_id()
            self._under_way[packet_id] = publication
            self._write(packet_id, publication, now_s, again=False)

    def _write(self, packet_id: int, publication: _Publication, now_s: float, *, again: bool) -> None:
        publication.sent_s = now_s
        packet = mqtt5.PublishPacket(
            publication.topic,
            publication.payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            packet_id=packet_id,
            duplicate=again,
            message_expiry_interval=publication.expiry_s,
        )
        self._send(packet.write(), now_s)

    def _free_id(self) -> int:
        self._next_id = self._next_id % PACKET_IDS + 1
        while self._next_id in self._under_way:
            self._next_id = self._next_id % PACKET_IDS + 1
        return self._next_id

    def _send(self, packets: bytes, now_s: float) -> None:
        self.outgoing += packets
        self._sent_s = now_s


def _is_whole(view: memoryview) -> bool:
    """Tell whether the packet at the start of the view is there to its end."""
    octets = bytes(view[1:5])
    if all(octet & 0x80 for octet in octets) and len(octets) < _LENGTH_OCTETS:
        return False
    start, length = _remaining_length(octets)
    return len(view) >= start + length


def _remaining_length(octets: bytes) -> tuple[int, int]:
    """Return where the variable header starts, and the length of all that follows (§1.5.5), of octets 1 to 4."""
    length = 0
    for place, octet in enumerate(octets):
        length |= (octet & 0x7F) << (7 * place)
        if not octet & 0x80:
            return 2 + place, length
    raise Ended("the broker sent a malformed packet: a length of more than four octets")


def _salvage(view: memoryview, error: BaseException) -> tuple[Incoming, int]:
    """Return what can be read of a PUBLISH that the codec refuses, and its length; Ended for any other packet.

    A broker may pass on what vehicles wrote into properties (Mosquitto 2.0 refuses most of it); one that is unreadable
    must not come back for ever, nor hide a press. Topic and packet id come before the properties (§3.3.2), and these
    say how long they are; where that can't be, they are handed on as part of the payload.
    """
    start, length = _remaining_length(bytes(view[1:5]))
    body = bytes(view[start : start + length])
    topic_end = 2 + int.from_bytes(body[:2])
    rest = topic_end + (2 if view[0] & 0b0110 else 0)
    if view[0] >> 4 != _PUBLISH or rest > len(body):
        raise Ended(f"the broker sent a malformed packet: {error}") from error
    packet_id = int.from_bytes(body[topic_end:rest]) if rest > topic_end else None
    payload = rest + _properties_length(body[rest:])
    return Incoming(body[2:topic_end].decode(errors="replace"), body[payload:], packet_id), start + length


def _properties_length(rest: bytes) -> int:
    """Return how many octets the properties take with their length before them; 0 where that can't be."""
    try:
        start, length = _remaining_length(rest[:_LENGTH_OCTETS])
    except Ended:
        return 0
    taken = start - 1 + length
    return taken if taken <= len(rest) else 0
