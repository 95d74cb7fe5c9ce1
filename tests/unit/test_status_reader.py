"""The fast reader of status messages against the models, which are the contract."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest.inbox import Received
from ingest.status import _fast_row, _read, _row, read_status
from schemas.vehicle import StatusMessage

VIN = "KMHSH81C7LU123456"
NOW = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)
WHOLE: dict[str, Any] = {
    "messageId": "A36CBFA7-b855-44ca-af07-56b95f3f23f3",
    "timestamp": "2026-03-07T18:29:59.123456789+00:00",
    "location": {"latitude": 37.5, "longitude": -126, "accuracy": 5.0, "heading": 360},
    "speedKph": 41.9,
    "odometerKm": 10000,
    "batteryVoltage": 14.1,
    "fuelLevel": 55.0,
    "engineStatus": "ON",
    "transmissionStatus": "DRIVE",
    "drivable": True,
    "dtcCodes": ["P1234", "U0100-1A"],
}

edges = st.sampled_from(
    [
        *(None, True, 0, -1, 90, 90.0000001, 180, 360, 361, 500, 501, 1000.5, 10_000_001, 2**70, -0.0, 1e300),
        *("", "ON", "on", "P1234", "P1234\n", "PARK", "\ud800", "\x00", "12", "true"),
        *("a36cbfa7b85544caaf0756b95f3f23f3", "a36cbfa7-b85544ca-af07-56b95f3f23f3", "{a36cbfa7}"),
        *("2026-03-07T18:30:00Z", "2026-03-07t18:30:00.5z", "2026-03-07 18:30:00Z", "2026-03-07T18:30:00"),
        *("2026-03-07T18:30:60Z", "2026-03-07T18:30:00+0900", "0001-01-01T00:00:00+09:00", 1772908200),
        *([], ["P1234"], ["P1234", 5], ["P1234"] * 65, {}, {"latitude": 1}, {"latitude": 1, "longitude": 2}),
        *({"latitude": 91, "longitude": 2}, {"latitude": 1, "longitude": 2, "address": "x"}, {"address": 5}),
    ]
)
changes = st.dictionaries(
    st.sampled_from([*WHOLE, "accuracy", "unknown", "location.address", "location.heading"]), edges, max_size=4
)


def changed(change: dict[str, Any]) -> bytes:
    body = json.loads(json.dumps(WHOLE))
    for name, value in json.loads(json.dumps(change)).items():  # copies: an example's object may come twice
        within, _, last = name.rpartition(".")
        if not within:
            body[last] = value
        elif isinstance(body.get(within), dict):
            body[within][last] = value
    return json.dumps(body).encode()


@settings(max_examples=600, deadline=None)
@given(changes, st.integers(0, 5))
@example({}, 0)
def test_what_the_fast_reader_accepts_the_models_accept_with_the_same_values(change: dict[str, Any], cut: int) -> None:
    payload = changed(change)
    payload = payload[:-cut] if cut else payload
    received = Received("", payload, NOW)
    try:
        fast = _fast_row(VIN, _read(payload), received)
    except Exception:  # noqa: BLE001 - whatever it is, the models have the word
        return
    assert fast == _row(VIN, StatusMessage.model_validate_json(payload, strict=True), received)


def test_a_usual_status_takes_the_fast_way_and_has_every_value() -> None:
    payload = json.dumps(WHOLE).encode()
    fast = _fast_row(VIN, _read(payload), Received("", payload, NOW))
    assert (fast.latitude, fast.longitude, fast.heading_deg, fast.odometer_km) == (37.5, -126.0, 360.0, 10000.0)
    assert fast.occurred_at == NOW - timedelta(microseconds=1_000_000 - 123_456)
    assert (fast.engine_status, fast.drivable, fast.dtc_codes) == ("ON", True, ["P1234", "U0100-1A"])


def test_what_the_fast_reader_leaves_is_read_by_the_models() -> None:
    payload = changed({"location.address": "5 Main Street"})
    with pytest.raises(Exception, match="address"):
        _read(payload)
    assert read_status(VIN, Received("", payload, NOW)).latitude == 37.5


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValidationError, match="speedKph"):
        read_status(VIN, Received("", changed({"speedKph": 501}), NOW))
