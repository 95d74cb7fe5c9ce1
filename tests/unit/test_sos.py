"""The SOS table of moves, written out, and what a further press changes."""

from datetime import UTC, datetime, timedelta

import pytest

from db.sos import SosIncident
from rules import sos
from rules.errors import IllegalMoveError
from rules.sos import Action
from schemas.sos import SosReport, SosStatus

NOW = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)

LEGAL = {
    "INITIATED CONNECT": "CONNECTED",
    "INITIATED DISPATCH": "DISPATCHED",
    "INITIATED RESOLVE": "RESOLVED",
    "INITIATED CLOSE": "CLOSED",
    "INITIATED CANCEL": "CANCELLED",
    "CONNECTED CONNECT": "CONNECTED",
    "CONNECTED DISPATCH": "DISPATCHED",
    "CONNECTED RESOLVE": "RESOLVED",
    "CONNECTED CLOSE": "CLOSED",
    "CONNECTED CANCEL": "CANCELLED",
    "DISPATCHED CONNECT": "DISPATCHED",
    "DISPATCHED DISPATCH": "DISPATCHED",
    "DISPATCHED RESOLVE": "RESOLVED",
    "DISPATCHED CLOSE": "CLOSED",
    "DISPATCHED CANCEL": "CANCELLED",
    "RESOLVED CLOSE": "CLOSED",
}


@pytest.mark.parametrize("status", list(SosStatus))
@pytest.mark.parametrize("action", list(Action))
def test_every_pair_moves_as_specified_or_is_refused(status: SosStatus, action: Action) -> None:
    expected = LEGAL.get(f"{status} {action}")
    if expected is None:
        with pytest.raises(IllegalMoveError, match=f"{action} is not possible while the incident is {status}"):
            sos.advance(status, action)
    else:
        assert sos.advance(status, action) == expected


@pytest.mark.parametrize(
    ("status", "is_open"),
    [
        ("INITIATED", True),
        ("CONNECTED", True),
        ("DISPATCHED", True),
        ("RESOLVED", False),
        ("CLOSED", False),
        ("CANCELLED", False),
    ],
)
def test_an_incident_is_open_until_it_is_resolved(status: str, is_open: bool) -> None:
    assert sos.is_open(status) is is_open


@pytest.mark.parametrize(
    ("urgency", "priority"), [("CRITICAL", "HIGH"), ("HIGH", "HIGH"), ("MEDIUM", "NORMAL"), ("LOW", "LOW")]
)
def test_an_event_is_as_pressing_as_its_incident(urgency: str, priority: str) -> None:
    assert sos.priority(urgency) == priority


def incident(**fields: object) -> SosIncident:
    values: dict[str, object] = {
        "cid": "SOS_20260307_001",
        "vin": "KMHSH81C7LU123456",
        "status": "INITIATED",
        "emergency_type": "MEDICAL",
        "urgency": "HIGH",
        "source": "TCU",
        "test_call": False,
        "occurred_at": NOW,
        "received_at": NOW,
        "anomalies": [],
        "updated_at": NOW,
    }
    return SosIncident(**(values | fields))  # type: ignore[arg-type]


def report(**fields: object) -> SosReport:
    return SosReport.model_validate(fields)


def joined(before: SosIncident, after: SosReport, *, minutes: int = 1) -> SosIncident:
    at = NOW + timedelta(minutes=minutes)
    return sos.join(before, after, occurred_at=at, anomalies=("NO_LOCATION",), now=at)


@pytest.mark.parametrize(
    ("known", "pressed", "after"),
    [
        ("LOW", "CRITICAL", "CRITICAL"),
        ("CRITICAL", "LOW", "CRITICAL"),
        ("MEDIUM", "HIGH", "HIGH"),
        ("LOW", "LOW", "LOW"),
    ],
)
def test_a_further_press_only_raises_urgency(known: str, pressed: str, after: str) -> None:
    assert joined(incident(urgency=known), report(urgency=pressed)).urgency == after


def test_a_further_press_that_says_nothing_loses_nothing() -> None:
    known = incident(
        latitude=37.5,
        longitude=127.0,
        located_at=NOW,
        description="chest pain",
        contact_number="112",
        passenger_count=2,
    )
    after = joined(known, report(urgency="LOW"))
    assert (after.emergency_type, after.latitude, after.description, after.contact_number, after.passenger_count) == (
        "MEDICAL", 37.5, "chest pain", "112", 2,
    )  # fmt: skip
    assert after.anomalies == ["NO_LOCATION"]


def test_an_older_press_does_not_move_the_vehicle_back() -> None:
    known = incident(latitude=37.5, longitude=127.0, located_at=NOW)
    elsewhere = report(location={"latitude": 35.0, "longitude": 129.0})
    assert joined(known, elsewhere, minutes=-5).latitude == 37.5
    assert joined(known, elsewhere, minutes=5).latitude == 35.0
