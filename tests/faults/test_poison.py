"""Messages that no vehicle should send, on the real broker: kept or refused, a press is raised, nothing waits."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.pool import Connection
from ingest.decode import Rejected, decode
from ingest.inbox import Received
from ingest.mqtt import Conversation
from ingest.pipeline import store
from schemas.topics import Uplink, uplink_topic
from stack.server import wait_until
from tests.faults.raw import RawVehicle, field, length, packet
from tests.faults.stand import Stand
from tests.tcu import Tcu, message

VIN = "KMHPSN00000000001"
SOUND_VIN = "KMHPSN00000000002"

PASSED_ON = {
    "a response topic with a wildcard": b"\x08" + field(b"a/#"),
    "an empty response topic": b"\x08" + field(b""),
    "an unknown payload format": b"\x01\x02",
    "correlation data": b"\x09" + field(b"\xff\x00"),
    "a subscription identifier, which only a broker may send": b"\x0b\x05",
    "five hundred user properties": (b"\x26" + field(b"k") + field(b"v")) * 500,
    "a user property of 120 KB": b"\x26" + field(b"k" * 60_000) + field(b"v" * 60_000),
}
REFUSED = {
    "a content type that is no UTF-8": b"\x03" + field(b"\xff\xfe"),
    "a content type with NUL": b"\x03" + field(b"a\x00b"),
    "a content type with half a surrogate pair": b"\x03" + field(b"\xed\xa0\x80"),
    "a user property that is no UTF-8": b"\x26" + field(b"\xff") + field(b"\xfe"),
    "control characters in a user property": b"\x26" + field(b"\x01\x7f") + field(b"\xef\xbf\xbf"),
    "two expiries": b"\x02\x00\x00\x00\x05" * 2,
    "an unknown property": b"\x77\x00",
    "a property cut off": b"\x26\x00\x05a",
    "topic alias 0": b"\x23\x00\x00",
}


@pytest.fixture
def sound(product: Stand) -> Iterator[Tcu]:
    """A vehicle that behaves, beside those that do not."""
    vehicle = Tcu(product.broker, product.pki_dir, SOUND_VIN)
    yield vehicle
    vehicle.close()


def press() -> bytes:
    return json.dumps(message(emergencyType="MEDICAL")).encode()


def test_presses_with_odd_properties_are_raised_where_the_broker_passes_them_on(product: Stand, sound: Tcu) -> None:
    """Each by a vehicle of its own: one open SOS would take in the others."""
    vins = {f"KMHPSN1000000000{number}": odd for number, odd in enumerate(PASSED_ON.values())}
    for vin, odd in vins.items():
        with RawVehicle(product.broker, product.pki_dir, vin) as vehicle:
            assert vehicle.publish(Uplink.SOS, press(), properties=odd) == 0, odd[:40]
            assert vehicle.publish(Uplink.STATUS, b"garbage", properties=odd) == 0
    assert sound.receipt_of(sound.send(Uplink.SOS))["result"] == "STORED"  # nothing behind waits
    with product.connect() as conn:
        raised = conn.execute("SELECT DISTINCT vin FROM sos_incidents WHERE vin = ANY(%s)", (list(vins),)).fetchall()
        assert {vin for (vin,) in raised} == set(vins)
        kept = "SELECT count(*) FROM quarantine WHERE vin = ANY(%s)"
        wait_until(lambda: conn.execute(kept, (list(vins),)).fetchone() == (len(vins),), wait_s=10)


def test_unreadable_properties_are_refused_by_the_broker_and_the_press_counts_once_it_is_sound(
    product: Stand, sound: Tcu
) -> None:
    """MQTT 5 §1.5.4.1: the broker ends the connection. The vehicle has no receipt, so it sends again."""
    for odd in REFUSED.values():
        with RawVehicle(product.broker, product.pki_dir, VIN) as vehicle:
            assert vehicle.publish(Uplink.SOS, press(), properties=odd) is None, odd
    with RawVehicle(product.broker, product.pki_dir, VIN) as vehicle:
        assert vehicle.publish(Uplink.SOS, press()) == 0
    assert sound.receipt_of(sound.send(Uplink.SOS))["result"] == "STORED"
    with product.connect() as conn:
        count = "SELECT count(*) FROM sos_incidents WHERE vin = %s"
        wait_until(lambda: conn.execute(count, (VIN,)).fetchone() == (1,), wait_s=10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("odd", REFUSED.values(), ids=REFUSED)
def test_a_broker_that_passes_unreadable_properties_on_hides_no_press(conn: Connection, odd: bytes) -> None:
    """Other brokers need not look into them. The press, and the status behind it, come as the worker reads them."""
    conn.autocommit = True
    talk = Conversation("ingest-test", ["tcu/v1/+/up/#"], session_expiry_s=60)
    talk.begin(0)

    def published(kind: Uplink, number: int, properties: bytes, payload: bytes) -> bytes:
        start = field(uplink_topic(VIN, kind).encode()) + number.to_bytes(2)
        return packet(3, 0b0010, start + length(len(properties)) + properties + payload)

    wire = (
        published(Uplink.SOS, 1, odd, press())
        + published(Uplink.ENGINE, 2, odd, b"{}")
        + published(Uplink.STATUS, 3, b"", json.dumps(message(speedKph=43.0)).encode())
    )
    now = datetime.now(UTC)
    batch = [Received(topic, payload, now, number) for topic, payload, number in talk.receive(wire, 0)]
    assert [one.packet_id for one in batch] == [1, 2, 3]
    store(conn, batch, known_vins=set(), now=now)
    raised = "SELECT vin, emergency_type, anomalies FROM sos_incidents"
    assert conn.execute(raised.encode()).fetchall() == [(VIN, "MEDICAL", ["NO_LOCATION"])]
    assert conn.execute("SELECT speed_kph FROM vehicle_status").fetchall() == [(43.0,)]
    assert conn.execute("SELECT kind, reason FROM quarantine").fetchall() == [("engine", "INVALID_FIELD")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["messageId", "timestamp", "location", "event", "status", "cid", "commandId", "online", "speedKph", "dtcCodes",
     "emergencyType", "customerConsent", "vehicleStatus", "serviceType", "duration", "engineStatus"]
)  # fmt: skip
ALMOST = st.dictionaries(FIELDS, JSON, max_size=8).map(lambda odd: message() | odd)
PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(lambda text: text.encode(errors="surrogatepass")),
    JSON.map(lambda value: json.dumps(value).encode()),
    ALMOST.map(lambda value: json.dumps(value).encode()),
)
KINDS = st.sampled_from(list(Uplink))


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(KINDS, PAYLOADS), min_size=40, max_size=60))
def test_whatever_is_sent_is_stored_or_kept_and_nothing_behind_it_waits(
    product: Stand, poison: list[tuple[Uplink, bytes]]
) -> None:
    vehicle = Tcu(product.broker, product.pki_dir, VIN)
    try:
        for kind, payload in poison:
            vehicle.publish_soon(kind, payload)
        status = vehicle.send(Uplink.STATUS, speedKph=1.0)
        for kind, fields in ((Uplink.SOS, {}), (Uplink.ENGINE, {"event": "START"})):
            assert vehicle.receipt_of(vehicle.send(kind, **fields))["result"] == "STORED"
        with product.connect() as conn:
            stored = "SELECT count(*) FROM vehicle_status WHERE message_id = %s"
            wait_until(lambda: conn.execute(stored, (status,)).fetchone() == (1,), wait_s=10)
            rows = conn.execute("SELECT topic, payload_hash FROM quarantine WHERE vin = %s", (VIN,)).fetchall()
            kept = {(topic, bytes(hashed)) for topic, hashed in rows}
    finally:
        vehicle.close()
    now = datetime.now(UTC)
    for kind, payload in poison:
        topic = uplink_topic(VIN, kind)
        if isinstance(decode(Received(topic, payload, now)), Rejected):
            assert (topic, sha256(payload).digest()) in kept, (kind, payload)


def test_a_retained_message_ends_its_connection_and_is_not_kept(product: Stand, sound: Tcu) -> None:
    """`retain_available false`; MQTT 5 §3.2.2.3.5. A press in it is sent again without the flag."""
    with RawVehicle(product.broker, product.pki_dir, "KMHPSN00000000003") as vehicle:
        assert vehicle.publish(Uplink.SOS, press(), flags=1) is None
    assert sound.receipt_of(sound.send(Uplink.SOS))["result"] == "STORED"
    with product.connect() as conn:
        assert conn.execute("SELECT * FROM sos_incidents WHERE vin = 'KMHPSN00000000003'").fetchall() == []
