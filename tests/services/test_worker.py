"""The worker on a real broker and a real database: what each message becomes, and what its vehicle is told."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from db import messages, sos, vehicles
from db.pool import Connection
from schemas.base import format_instant
from schemas.topics import MAX_PAYLOAD_BYTES, Downlink, Uplink
from stack.server import Server, wait_until
from tests.tcu import Tcu, message

VIN = "KMHSH81C7LU123456"
Connect = Callable[[str], Tcu]

pytestmark = pytest.mark.usefixtures("worker")


def rows(conn: Connection, query: str) -> list[tuple[object, ...]]:
    conn.rollback()  # see what others have committed
    return conn.execute(query.encode()).fetchall()


def eventually(conn: Connection, query: str, expected: list[tuple[object, ...]]) -> None:
    def holds() -> bool:
        return rows(conn, query) == expected

    try:
        wait_until(holds, wait_s=15)
    except TimeoutError:
        assert rows(conn, query) == expected


def test_a_press_becomes_an_incident_and_is_receipted_with_its_cid(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    message_id = vehicle.send(
        Uplink.SOS, emergencyType="MEDICAL", urgency="HIGH", location={"latitude": 37.5665, "longitude": 126.978}
    )
    receipt = vehicle.receipt_of(message_id)
    assert receipt["result"] == "STORED"
    (incident,) = sos.load(conn, [receipt["cid"]])
    assert (incident.vin, incident.status, incident.emergency_type) == (VIN, "INITIATED", "MEDICAL")
    assert incident.anomalies == []


def test_a_second_delivery_is_receipted_as_duplicate_and_opens_nothing(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    body = json.dumps(message(emergencyType="FIRE")).encode()
    vehicle.publish(Uplink.SOS, body)
    first = vehicle.down(Downlink.RECEIPT)
    vehicle.publish(Uplink.SOS, body)
    second = vehicle.down(Downlink.RECEIPT)
    assert (second["result"], second["cid"]) == ("DUPLICATE", first["cid"])
    assert rows(conn, "SELECT count(*) FROM sos_incidents") == [(1,)]
    assert rows(conn, "SELECT count(*) FROM sos_timeline WHERE description = 'SOS pressed again'") == [(0,)]


def test_another_press_while_one_is_open_joins_it(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    first = vehicle.receipt_of(vehicle.send(Uplink.SOS, urgency="LOW", description="flat tyre"))
    second = vehicle.receipt_of(vehicle.send(Uplink.SOS, urgency="CRITICAL", emergencyType="MEDICAL"))
    assert (second["result"], second["cid"]) == ("STORED", first["cid"])
    (incident,) = sos.load(conn, [first["cid"]])
    assert (incident.urgency, incident.emergency_type, incident.description) == ("CRITICAL", "MEDICAL", "flat tyre")


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x00\xff\xfe", b"not json", b"[1,2]", b"{" * 5000, b'"\\ud800"', b"[" * 60_000],
    ids=["empty", "binary", "text", "array", "braces", "surrogate", "deep"],
)
def test_an_unreadable_press_is_raised_and_kept(tcu: Connect, conn: Connection, payload: bytes) -> None:
    vehicle = tcu(VIN)
    vehicle.publish(Uplink.SOS, payload)
    receipt = vehicle.receipt_of(None)
    assert receipt["result"] == "STORED"
    (incident,) = sos.load(conn, [receipt["cid"]])
    assert (incident.emergency_type, incident.urgency) == ("OTHER", "HIGH")
    assert incident.anomalies == ["UNREADABLE_PAYLOAD", "CLOCK_SUSPECT", "NO_LOCATION"]
    (kept,) = messages.list_quarantine(conn, limit=10, offset=0, with_replayed=True)
    assert (kept.payload, kept.cid) == (payload, incident.cid)


def test_a_press_with_bad_fields_keeps_the_good_ones_and_names_the_bad(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    message_id = vehicle.send(
        Uplink.SOS,
        emergencyType="HEART",
        urgency="CRITICAL",
        location={"latitude": 137.5, "longitude": 126.978},
        description="bad\x00text",
        passengerCount=2,
        vehicleStatus={"engineStatus": "OFF", "dtcCodes": ["P1234", "nonsense"]},
        contactNumber="+82-10-1234-5678",
    )
    receipt = vehicle.receipt_of(message_id)
    (incident,) = sos.load(conn, [receipt["cid"]])
    assert (incident.emergency_type, incident.urgency, incident.passenger_count) == ("OTHER", "CRITICAL", 2)
    assert incident.contact_number == "+82-10-1234-5678"
    assert incident.vehicle_status == {"engineStatus": "OFF", "dtcCodes": ["P1234"]}
    assert incident.latitude is None
    assert [anomaly.split(":")[0] for anomaly in incident.anomalies] == [
        "INVALID_FIELD emergencyType",
        "INVALID_FIELD location.latitude",
        "INVALID_FIELD description",
        "INVALID_FIELD vehicleStatus.dtcCodes.1",
        "NO_LOCATION",
    ]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"not json", "NOT_JSON"),
        (json.dumps(message(speedKph=-1)).encode(), "INVALID_FIELD"),
        (json.dumps(message(speedKph="43")).encode(), "INVALID_FIELD"),
        (json.dumps(message(timestamp=1772908200)).encode(), "INVALID_FIELD"),
        (json.dumps(message(timestamp="2026-03-07T18:30:00")).encode(), "INVALID_FIELD"),
        (json.dumps(message(dtcCodes=["\x00"])).encode(), "INVALID_FIELD"),
        (b'{"messageId":"6f1e1d9c-8f4e-4f68-9d1e-0d4b9a3f1c55","timestamp":"2026-03-07T18:30:00Z","speedKph":1e400}',
         "INVALID_FIELD"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "NOT_JSON"),
        (json.dumps(message() | {"messageId": "not-a-uuid"}).encode(), "INVALID_FIELD"),
    ],
    ids=[
        "text", "negative", "quoted number", "number as time", "no offset", "NUL", "infinite", "deep", "no uuid",
    ],
)  # fmt: skip
def test_an_unreadable_status_is_quarantined_and_the_one_behind_it_stored(
    tcu: Connect, conn: Connection, payload: bytes, reason: str
) -> None:
    vehicle = tcu(VIN)
    vehicle.publish(Uplink.STATUS, payload)
    vehicle.send(Uplink.STATUS, speedKph=43.0)
    eventually(conn, "SELECT speed_kph FROM vehicle_status", [(43.0,)])
    (kept,) = messages.list_quarantine(conn, limit=10, offset=0, with_replayed=True)
    assert (kept.payload, kept.reason, kept.vin) == (payload, reason, VIN)


def test_an_oversized_message_is_quarantined_but_a_press_is_raised(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    padding = "x" * MAX_PAYLOAD_BYTES
    vehicle.send(Uplink.STATUS, speedKph=1.0, note=padding)
    receipt = vehicle.receipt_of(vehicle.send(Uplink.SOS, emergencyType="FIRE", note=padding))
    (incident,) = sos.load(conn, [receipt["cid"]])
    assert incident.emergency_type == "FIRE"
    eventually(conn, "SELECT reason FROM quarantine", [("TOO_LARGE",)])


def test_the_same_bad_bytes_again_are_counted(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    for _ in range(5):
        vehicle.publish(Uplink.STATUS, b"broken unit")
    eventually(conn, "SELECT times_received FROM quarantine", [(5,)])


def test_a_refused_message_is_receipted_as_quarantined(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    receipt = vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="EXPLODE"))
    assert receipt["result"] == "QUARANTINED"
    receipt = vehicle.receipt_of(vehicle.send(Uplink.CALL, status="CONNECTED", cid="SOS_20260307_999"))
    assert receipt["result"] == "QUARANTINED"
    assert rows(conn, "SELECT reason FROM quarantine ORDER BY 1") == [("INVALID_FIELD",), ("UNKNOWN_INCIDENT",)]


def test_late_status_does_not_overwrite_newer_state(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    now = datetime.now(UTC)
    vehicle.send(Uplink.STATUS, speedKph=50.0, timestamp=format_instant(now))
    vehicle.send(Uplink.STATUS, speedKph=10.0, timestamp=format_instant(now - timedelta(days=6)))
    eventually(conn, "SELECT count(*) FROM vehicle_status", [(2,)])
    state = vehicles.state(conn, VIN)
    assert state is not None
    assert state.speed_kph == 50.0


@pytest.mark.parametrize(
    "off", [timedelta(days=365), timedelta(minutes=2), -timedelta(days=8), -timedelta(days=20_000)]
)
def test_an_unusable_clock_gives_the_time_of_receiving_and_a_time_sync(
    tcu: Connect, conn: Connection, off: timedelta
) -> None:
    vehicle = tcu(VIN)
    began = datetime.now(UTC)
    vehicle.send(Uplink.STATUS, speedKph=1.0, timestamp=format_instant(began + off))
    eventually(conn, "SELECT clock_suspect, occurred_at = received_at FROM vehicle_status", [(True, True)])
    assert rows(conn, "SELECT vin, type FROM vehicle_commands") == [(VIN, "TIME_SYNC")]
    assert rows(conn, "SELECT count(*) FROM show_chunks('vehicle_status')") == [(1,)]


def test_time_sync_is_asked_for_three_times_an_hour_at_most(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    for speed in range(8):
        vehicle.send(Uplink.STATUS, speedKph=speed, timestamp="1970-01-01T00:00:00Z")
        vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="START", timestamp="1970-01-01T00:00:00Z"))
    eventually(conn, "SELECT count(*) FROM vehicle_status", [(8,)])
    assert rows(conn, "SELECT count(*) FROM vehicle_commands") == [(3,)]


def test_a_status_with_an_unusable_clock_is_stored_once(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    body = json.dumps(message(speedKph=5.0, timestamp="2020-01-01T00:00:00Z")).encode()
    for _ in range(3):
        vehicle.publish(Uplink.STATUS, body)
    vehicle.send(Uplink.STATUS, speedKph=6.0)
    eventually(conn, "SELECT speed_kph, count(*) FROM vehicle_status GROUP BY 1 ORDER BY 1", [(5.0, 1), (6.0, 1)])


def test_engine_events_and_presence_are_stored(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    vehicle.send(Uplink.PRESENCE, online=True)
    for event in ("START", "STOP"):
        vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event=event, odometerKm=12.5))
    assert rows(conn, "SELECT event, odometer_km FROM engine_events ORDER BY event") == [
        ("START", 12.5),
        ("STOP", 12.5),
    ]
    state = vehicles.state(conn, VIN)
    assert state is not None
    assert state.online is True


def test_a_call_moves_its_incident_and_ends_with_its_duration(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    press_id = vehicle.send(Uplink.SOS, emergencyType="MEDICAL")
    cid = vehicle.receipt_of(press_id)["cid"]
    # The first call message names the press, as a vehicle must whose receipt is not there yet.
    vehicle.receipt_of(vehicle.send(Uplink.CALL, status="CONNECTED", requestMessageId=press_id))
    (incident,) = sos.load(conn, [cid])
    assert incident.status == "CONNECTED"
    vehicle.receipt_of(vehicle.send(Uplink.CALL, status="ENDED", cid=cid, duration=180, batteryVoltage=12.4))
    assert rows(conn, "SELECT status, duration_s, battery_voltage FROM voice_calls") == [("ENDED", 180, 12.4)]


def test_another_vehicle_cannot_touch_the_incident(tcu: Connect, conn: Connection) -> None:
    vehicle, stranger = tcu(VIN), tcu("KMHSH81C7LU999999")
    cid = vehicle.receipt_of(vehicle.send(Uplink.SOS))["cid"]
    receipt = stranger.receipt_of(stranger.send(Uplink.CALL, status="ENDED", cid=cid, duration=1))
    assert receipt["result"] == "QUARANTINED"
    assert rows(conn, "SELECT status FROM voice_calls") == [("CONNECTING",)]


def test_the_vehicle_is_told_of_its_incident_and_its_clock(tcu: Connect, sequencer: Server) -> None:
    assert sequencer.pid
    vehicle = tcu(VIN)
    cid = vehicle.receipt_of(vehicle.send(Uplink.SOS, timestamp="2100-01-01T00:00:00Z"))["cid"]
    shown = vehicle.down(Downlink.INCIDENT)
    assert (shown["cid"], shown["service"], shown["status"]) == (cid, "SOS", "INITIATED")
    vehicle.receipt_of(vehicle.send(Uplink.CALL, status="CONNECTED", cid=cid))
    assert vehicle.down(Downlink.INCIDENT)["sequence"] > shown["sequence"]
    command = vehicle.down(Downlink.COMMAND)
    assert command["type"] == "TIME_SYNC"
    ack = vehicle.send(Uplink.COMMAND_ACK, commandId=command["commandId"], status="EXECUTED")
    assert vehicle.receipt_of(ack)["result"] == "STORED"


def test_a_payload_seen_before_raises_again_once_its_incident_is_over(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    vehicle.publish(Uplink.SOS, b"garbled")
    first = vehicle.receipt_of(None)
    vehicle.publish(Uplink.SOS, b"garbled")
    assert vehicle.receipt_of(None) | {"serverTime": ""} == first | {"serverTime": "", "result": "DUPLICATE"}
    sos.set_closed(conn, first["cid"], status="CLOSED", at=datetime.now(UTC))
    conn.commit()
    vehicle.publish(Uplink.SOS, b"garbled")
    again = vehicle.receipt_of(None)
    assert again["result"] == "STORED"
    assert again["cid"] != first["cid"]


def test_an_operator_can_hand_a_message_in_again(tcu: Connect, conn: Connection) -> None:
    vehicle = tcu(VIN)
    press_id = "5a1b1c7e-3c8e-4dcb-9d5c-0c4a8f0f7d11"
    vehicle.receipt_of(vehicle.send(Uplink.CALL, status="CONNECTED", requestMessageId=press_id))
    cid = vehicle.receipt_of(vehicle.send(Uplink.SOS, messageId=press_id))["cid"]
    (kept,) = messages.list_quarantine(conn, limit=10, offset=0, with_replayed=True)
    messages.request_replay(conn, kept.quarantine_id, at=datetime.now(UTC))
    conn.commit()
    eventually(conn, "SELECT cid, status FROM sos_incidents", [(cid, "CONNECTED")])
    assert messages.list_quarantine(conn, limit=10, offset=0, with_replayed=False) == []


def test_a_press_that_cannot_be_raised_at_all_is_kept_holds_up_nobody_and_is_raised_once_that_is_mended(
    tcu: Connect, conn: Connection, owner: Connection
) -> None:
    owner.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END $$"
    )
    owner.execute(
        f"CREATE TRIGGER refuse BEFORE INSERT ON sos_incidents FOR EACH ROW WHEN (NEW.vin = '{VIN}')"
        " EXECUTE FUNCTION refuse()"
    )
    owner.commit()
    vehicle, other = tcu(VIN), tcu("KMHSH81C7LU123457")
    body = json.dumps(message(emergencyType="FIRE")).encode()
    vehicle.publish(Uplink.SOS, body)
    assert other.receipt_of(other.send(Uplink.SOS))["result"] == "STORED"
    eventually(conn, "SELECT vin, reason, cid FROM quarantine", [(VIN, "NOT_RAISED", None)])
    assert vehicle.take(Downlink.RECEIPT) == []  # so its vehicle goes on sending it
    owner.execute("DROP TRIGGER refuse ON sos_incidents")
    owner.commit()
    vehicle.publish(Uplink.SOS, body)
    assert vehicle.down(Downlink.RECEIPT)["result"] == "STORED"
