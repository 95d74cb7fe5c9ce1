"""The worker's side of MQTT 5, packet by packet, against a broker made of the codec alone."""

from contextlib import suppress

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.mqtt import KEEPALIVE_S, Conversation, Ended, Incoming

TOPIC = "tcu/v1/KMHSH81C7LU123456/up/status"
DURABLE_S = 600


def accepted(**answer: object) -> bytes:
    return mqtt5.ConnAckPacket(**answer).write()  # type: ignore[arg-type]


def publish(packet_id: int | None = 7, payload: bytes = b"{}", **more: object) -> bytes:
    qos = mqtt5.QoS.AT_MOST_ONCE if packet_id is None else mqtt5.QoS.AT_LEAST_ONCE
    return mqtt5.PublishPacket(TOPIC, payload, qos=qos, packet_id=packet_id, **more).write()  # type: ignore[arg-type]


def sent(talk: Conversation) -> list[mqtt5.Packet]:
    """Take what is to be written, as packets."""
    packets, view = [], memoryview(bytes(talk.outgoing))
    talk.outgoing.clear()
    while view:
        packet, length = mqtt5.read(view)
        packets.append(packet)
        view = view[length:]
    return packets


def begun(session_expiry_s: int = DURABLE_S, filters: tuple[str, ...] = ("tcu/v1/+/up/status",)) -> Conversation:
    talk = Conversation("ingest-bulk", filters, session_expiry_s)
    talk.begin(0)
    return talk


def ready(**answer: object) -> Conversation:
    talk = begun()
    talk.receive(accepted(**answer), 0)
    subscribe = sent(talk)[-1]
    assert isinstance(subscribe, mqtt5.SubscribePacket)
    talk.receive(mqtt5.SubAckPacket(subscribe.packet_id, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write(), 0)
    assert talk.ready
    return talk


def test_it_connects_to_its_durable_session_and_subscribes_at_qos_1_without_retained_messages() -> None:
    talk = begun()
    (connect,) = sent(talk)
    assert isinstance(connect, mqtt5.ConnectPacket)
    assert (connect.client_id, connect.clean_start, connect.session_expiry_interval) == (
        "ingest-bulk",
        False,
        DURABLE_S,
    )
    assert not talk.ready
    talk.receive(accepted(), 0)
    (subscribe,) = sent(talk)
    assert isinstance(subscribe, mqtt5.SubscribePacket)
    (topic,) = subscribe.topic_filters
    assert (topic.pattern, topic.max_qos.value, topic.retain_handling.value) == ("tcu/v1/+/up/status", 1, 2)
    assert not talk.ready  # a message may come before the SUBACK, but nobody has promised any


@pytest.mark.parametrize("code", ["NOT_AUTHORIZED", "SERVER_BUSY", "CLIENT_ID_NOT_VALID", "BANNED", "QUOTA_EXCEEDED"])
def test_a_refused_connection_says_why(code: str) -> None:
    with pytest.raises(Ended, match=code):
        begun().receive(accepted(reason_code=getattr(mqtt5.ConnAckReasonCode, code)), 0)


def test_a_refused_subscription_says_why() -> None:
    talk = begun()
    talk.receive(accepted(), 0)
    with pytest.raises(Ended, match="NOT_AUTHORIZED"):
        talk.receive(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]).write(), 0)


@pytest.mark.parametrize(
    "code", ["SESSION_TAKEN_OVER", "SERVER_SHUTTING_DOWN", "KEEP_ALIVE_TIMEOUT", "PACKET_TOO_LARGE"]
)
def test_a_disconnect_of_the_broker_says_why(code: str) -> None:
    talk = ready()
    with pytest.raises(Ended, match=code):
        talk.receive(mqtt5.DisconnectPacket(reason_code=getattr(mqtt5.DisconnectReasonCode, code)).write(), 1)


def test_a_broker_that_never_answers_is_left() -> None:
    talk = begun()
    talk.tick(9, reading=True)
    with pytest.raises(Ended, match="did not accept"):
        talk.tick(11, reading=True)


@settings(max_examples=200)
@given(st.lists(st.integers(1, 65_535), min_size=1, max_size=6), st.lists(st.integers(0, 400), max_size=12))
def test_packets_cut_anywhere_give_the_same_messages(packet_ids: list[int], cuts: list[int]) -> None:
    wire = b"".join(publish(number, b"x" * (number % 200)) for number in packet_ids)
    talk, found, begin = ready(), [], 0
    for cut in [*sorted(cut % len(wire) for cut in cuts), len(wire)]:
        found += talk.receive(wire[begin:cut], 1)
        begin = cut
    assert found == [Incoming(TOPIC, b"x" * (number % 200), number) for number in packet_ids]


def test_a_backlog_before_the_suback_is_acknowledged_however_long_it_takes() -> None:
    talk = begun()
    talk.receive(accepted(session_present=True), 0)
    assert talk.ready  # the broker still has the subscriptions
    sent(talk)
    for second in range(1, 60):
        (message,) = talk.receive(publish(second), second)
        talk.acknowledge([message.packet_id], second)
        assert [type(packet) for packet in sent(talk)] == [mqtt5.PubAckPacket]
        talk.tick(second, reading=True)


def test_a_message_without_acknowledgement_has_no_packet_id() -> None:
    talk = ready()
    assert talk.receive(publish(None), 1) == [Incoming(TOPIC, b"{}", None)]
    talk.acknowledge([None], 1)
    assert sent(talk) == []


def test_acknowledgements_keep_their_order_and_go_out_in_one_piece() -> None:
    talk = ready()
    talk.acknowledge([9, 3, 7], 1)
    assert bytes(talk.outgoing) == b"\x40\x02\x00\x09\x40\x02\x00\x03\x40\x02\x00\x07"


MALFORMED = {
    "a length of five octets": b"\x30\xff\xff\xff\xff\x7f",
    "an unknown type": b"\x00\x00",
    "an unknown reason": b"\x20\x03\x00\xee\x00",
    "a topic longer than its packet": b"\x32\x05\x00\x09a\x00\x00",
    "a packet nobody asked for": mqtt5.PingReqPacket().write(),
}


@pytest.mark.parametrize("wire", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_packet_ends_the_connection(wire: bytes) -> None:
    with pytest.raises(Ended):
        ready().receive(wire, 1)


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_end_the_connection_or_wait_for_more(wire: bytes) -> None:
    with suppress(Ended):
        assert ready().receive(wire, 1) == []


BAD_PROPERTIES = {
    "a content type that is no UTF-8": b"\x03\x00\x02\xff\xfe",
    "an unknown property": b"\x77\x00",
    "a property cut off": b"\x26\x00\x05a",
}


@pytest.mark.parametrize("properties", BAD_PROPERTIES.values(), ids=BAD_PROPERTIES)
@pytest.mark.filterwarnings("ignore")
def test_a_message_whose_properties_are_unreadable_is_handed_on_and_can_be_acknowledged(properties: bytes) -> None:
    body = len(TOPIC).to_bytes(2) + TOPIC.encode() + b"\x00\x05" + bytes([len(properties)]) + properties + b"{}"
    talk = ready()
    (bad, good) = talk.receive(b"\x32" + bytes([len(body)]) + body + publish(6), 1)
    assert bad == Incoming(TOPIC, b"{}", 5)
    assert good == Incoming(TOPIC, b"{}", 6)
    assert talk.salvaged == 1


@pytest.mark.filterwarnings("ignore")
def test_properties_that_say_they_are_longer_than_their_packet_are_handed_on_with_the_payload() -> None:
    body = len(TOPIC).to_bytes(2) + TOPIC.encode() + b"\x00\x05" + b"\x7f{}"
    assert ready().receive(b"\x32" + bytes([len(body)]) + body, 1) == [Incoming(TOPIC, b"\x7f{}", 5)]


def test_publications_wait_for_the_brokers_window_and_are_confirmed() -> None:
    talk = ready(receive_max=2)
    for number in range(3):
        talk.publish(f"t/{number}", b"", 1, token=number)
    first, second = sent(talk)
    assert isinstance(first, mqtt5.PublishPacket)
    assert isinstance(second, mqtt5.PublishPacket)
    assert first.packet_id is not None
    talk.receive(mqtt5.PubAckPacket(first.packet_id).write(), 3)
    (third,) = sent(talk)
    assert isinstance(third, mqtt5.PublishPacket)
    assert third.topic == "t/2"
    (confirmed,) = talk.take_confirmed()
    assert (confirmed.token, confirmed.accepted, confirmed.round_trip_s) == (0, True, 2)
    assert talk.take_confirmed() == []


def test_a_refused_publication_is_told() -> None:
    talk = ready()
    talk.publish("t", b"", 1, token="a")
    (packet,) = sent(talk)
    assert isinstance(packet, mqtt5.PublishPacket)
    assert packet.packet_id is not None
    refusal = mqtt5.PubAckPacket(packet.packet_id, reason_code=mqtt5.PubAckReasonCode.NOT_AUTHORIZED)
    talk.receive(refusal.write(), 2)
    assert [(one.token, one.accepted) for one in talk.take_confirmed()] == [("a", False)]


def test_what_was_not_confirmed_is_sent_again_on_the_next_connection() -> None:
    talk = ready()
    talk.publish("t", b"receipt", 1)
    (before,) = sent(talk)
    assert isinstance(before, mqtt5.PublishPacket)
    talk.begin(5)
    assert not talk.ready
    talk.receive(accepted(session_present=True), 5)
    _, again, _ = sent(talk)  # CONNECT, it, SUBSCRIBE
    assert isinstance(again, mqtt5.PublishPacket)
    assert (again.packet_id, again.payload, again.duplicate) == (before.packet_id, b"receipt", True)


@pytest.mark.parametrize("kept", [True, False])
def test_what_the_broker_may_have_kept_of_an_earlier_version_is_unsubscribed(kept: bool) -> None:
    talk = Conversation("ingest-engine", ["tcu/v1/+/up/engine"], DURABLE_S, given_up=["tcu/v1/+/up/sos"])
    talk.begin(0)
    sent(talk)
    talk.receive(accepted(session_present=kept), 0)
    *before, subscribe = sent(talk)
    assert isinstance(subscribe, mqtt5.SubscribePacket)
    assert [one.patterns for one in before if isinstance(one, mqtt5.UnsubscribePacket)] == [["tcu/v1/+/up/sos"]] * kept
    talk.receive(mqtt5.UnsubAckPacket(1, [mqtt5.UnsubAckReasonCode.NO_SUBSCRIPTION_EXISTED]).write(), 0)
    talk.receive(mqtt5.SubAckPacket(subscribe.packet_id, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write(), 0)
    assert talk.ready


def test_a_session_that_ends_with_its_connection_sends_nothing_again() -> None:
    talk = begun(session_expiry_s=0, filters=())
    talk.receive(accepted(), 0)
    assert talk.ready  # there is nothing to subscribe to
    talk.publish("t", b"old", 1)
    talk.begin(5)
    connect, *more = sent(talk)
    assert isinstance(connect, mqtt5.ConnectPacket)
    assert connect.clean_start
    talk.receive(accepted(), 5)
    assert [*more, *sent(talk)] == []


def test_an_expiry_goes_along_with_the_message() -> None:
    talk = ready()
    talk.publish("t", b"", 1, expiry_s=40)
    (packet,) = sent(talk)
    assert isinstance(packet, mqtt5.PublishPacket)
    assert packet.message_expiry_interval == 40


def test_a_quiet_connection_is_kept_alive_and_a_silent_one_is_left() -> None:
    talk = ready()
    talk.tick(KEEPALIVE_S / 2, reading=True)
    assert [type(packet) for packet in sent(talk)] == [mqtt5.PingReqPacket]
    talk.receive(mqtt5.PingRespPacket().write(), 6)
    talk.tick(20, reading=True)
    with pytest.raises(Ended, match="silent"):
        talk.tick(22, reading=True)


def test_silence_proves_nothing_while_nobody_reads() -> None:
    talk = ready()
    for second in range(0, 300, 5):
        talk.tick(second, reading=False)
    pings = [packet for packet in sent(talk) if isinstance(packet, mqtt5.PingReqPacket)]
    assert len(pings) == 59
    talk.tick(300, reading=True)


def test_the_brokers_keepalive_counts() -> None:
    talk = begun()
    talk.receive(accepted(server_keep_alive=4), 0)
    sent(talk)
    talk.tick(2, reading=True)
    assert [type(packet) for packet in sent(talk)] == [mqtt5.PingReqPacket]
