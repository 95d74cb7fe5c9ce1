"""Decoding never raises, whatever comes; every press is raised."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode import Decoded, DecodedSos, Rejected, decode
from ingest.inbox import Received
from schemas.topics import Uplink, uplink_topic

VIN = "KMHSH81C7LU123456"
NOW = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)
ID = "6F1E1D9C-8f4e-4f68-9d1e-0d4b9a3f1c55"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SOS_FIELDS = [
    "messageId", "timestamp", "emergencyType", "urgency", "location", "description", "contactNumber", "passengerCount",
    "vehicleCondition", "requestType", "customerConsent", "vehicleStatus", "testCall",
]  # fmt: skip
presses = st.dictionaries(st.sampled_from(SOS_FIELDS), json_values)


def heard(kind: str, payload: bytes) -> Decoded | DecodedSos | Rejected:
    return decode(Received(f"tcu/v1/{VIN}/up/{kind}", payload, NOW))


@given(st.binary(max_size=200))
def test_any_bytes_on_sos_are_a_press(payload: bytes) -> None:
    assert isinstance(heard("sos", payload), DecodedSos)


@given(presses)
def test_any_json_on_sos_is_a_press_that_postgresql_can_store(fields: dict[str, Any]) -> None:
    press = heard("sos", json.dumps(fields).encode())
    assert isinstance(press, DecodedSos)
    stored = press.report.model_dump_json(by_alias=True)
    assert "\\u0000" not in stored
    stored.encode()


def test_a_press_with_ten_thousand_bad_items_is_read_at_once() -> None:
    codes = ["P1234", *[1] * 10_000, "P0420"]
    body = {"location": {"latitude": 37.5, "accuracy": "near"}, "vehicleStatus": {"dtcCodes": codes}}
    began_s = time.thread_time()  # what the machine does beside does not count
    press = heard("sos", json.dumps(body).encode())
    assert time.thread_time() - began_s < 2
    assert isinstance(press, DecodedSos)
    assert press.report.vehicle_status is not None
    assert press.report.vehicle_status.dtc_codes == ("P1234", "P0420")
    assert [anomaly.split(":")[0] for anomaly in press.anomalies if "." in anomaly.split(":")[0]] == [
        "INVALID_FIELD location.longitude",
        "INVALID_FIELD location.accuracy",
        "INVALID_FIELD vehicleStatus.dtcCodes.1",
    ]


@given(st.sampled_from([kind for kind in Uplink if kind is not Uplink.SOS]), json_values)
def test_any_json_elsewhere_is_decoded_or_rejected_with_a_reason(kind: Uplink, value: Any) -> None:
    result = heard(kind, json.dumps(value).encode())
    assert isinstance(result, Rejected)
    assert result.detail


@pytest.mark.parametrize(
    "topic",
    ["", "tcu/v1/x/up/sos", f"tcu/v2/{VIN}/up/sos", f"tcu/v1/{VIN}/down/sos", f"tcu/v1/{VIN}/up/sos/x",
     f"tcu/v1/{VIN}/up/teapot", f"tcu/v1/{VIN.replace('K', 'I')}/up/sos", f"tcu/v1/{VIN}/up/sos\n"],
)  # fmt: skip
def test_a_topic_outside_the_contract_is_rejected(topic: str) -> None:
    result = decode(Received(topic, b"{}", NOW))
    assert isinstance(result, Rejected)
    assert result.reason == "UNKNOWN_TOPIC"


def test_the_message_id_is_kept_as_the_vehicle_spelled_it() -> None:
    body = {"messageId": ID, "timestamp": "2026-03-07T18:29:59+09:00", "event": "START"}
    result = heard("engine", json.dumps(body).encode())
    assert isinstance(result, Decoded)
    assert (result.message_id_text, result.message_id) == (ID, UUID(ID))


def test_an_offset_is_honoured_and_unknown_fields_ignored() -> None:
    body = {"messageId": ID, "timestamp": "2026-03-08T03:29:59+09:00", "newField": {"x": 1}, "event": "START"}
    result = heard("engine", json.dumps(body).encode())
    assert isinstance(result, Decoded)
    assert result.time.occurred_at == NOW - timedelta(seconds=1)


def test_a_rejected_message_names_the_field_and_what_was_expected() -> None:
    body = {"messageId": ID, "timestamp": "2026-03-07T18:30:00Z", "location": {"latitude": 91, "longitude": 0}}
    result = heard("status", json.dumps(body).encode())
    assert isinstance(result, Rejected)
    assert (result.reason, result.message_id_text) == ("INVALID_FIELD", ID)
    assert result.detail == "location.latitude: Input should be less than or equal to 90"


def test_the_same_unreadable_press_has_the_same_id() -> None:
    first, again, other = (heard("sos", payload) for payload in (b"garbled", b"garbled", b"garbled!"))
    assert isinstance(first, DecodedSos)
    assert first == again
    assert isinstance(other, DecodedSos)
    assert first.message_id != other.message_id


def test_topics_are_spelled_in_one_place() -> None:
    assert uplink_topic("+", Uplink.COMMAND_ACK) == "tcu/v1/+/up/command-ack"
