"""The RSA table of moves, written out, and what a further press changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.rsa import RsaIncident
from rules import rsa
from rules.errors import IllegalMoveError
from rules.rsa import Action
from schemas.rsa import CostDetails, RsaStatus

LEGAL = {
    "REQUESTED DISPATCH": "DISPATCHED",
    "REQUESTED CLOSE": "CLOSED",
    "REQUESTED CANCEL": "CANCELLED",
    "DISPATCHED DISPATCH": "DISPATCHED",
    "DISPATCHED CONFIRM": "CONFIRMED",
    "DISPATCHED REJECT": "REJECTED",
    "DISPATCHED CLOSE": "CLOSED",
    "DISPATCHED CANCEL": "CANCELLED",
    "CONFIRMED REJECT": "REJECTED",
    "CONFIRMED TRACK": "CONFIRMED",
    "CONFIRMED DEPART": "EN_ROUTE",
    "CONFIRMED ARRIVE": "ARRIVED",
    "CONFIRMED COMPLETE": "COMPLETED",
    "CONFIRMED CLOSE": "CLOSED",
    "CONFIRMED CANCEL": "CANCELLED",
    "EN_ROUTE REJECT": "REJECTED",
    "EN_ROUTE TRACK": "EN_ROUTE",
    "EN_ROUTE ARRIVE": "ARRIVED",
    "EN_ROUTE COMPLETE": "COMPLETED",
    "EN_ROUTE CLOSE": "CLOSED",
    "EN_ROUTE CANCEL": "CANCELLED",
    "ARRIVED TRACK": "ARRIVED",
    "ARRIVED COMPLETE": "COMPLETED",
    "ARRIVED CLOSE": "CLOSED",
    "ARRIVED CANCEL": "CANCELLED",
    "REJECTED DISPATCH": "DISPATCHED",
    "REJECTED CLOSE": "CLOSED",
    "REJECTED CANCEL": "CANCELLED",
    "COMPLETED CLOSE": "CLOSED",
}


@pytest.mark.parametrize("status", list(RsaStatus))
@pytest.mark.parametrize("action", list(Action))
def test_every_pair_moves_as_specified_or_is_refused(status: RsaStatus, action: Action) -> None:
    expected = LEGAL.get(f"{status} {action}")
    if expected is None:
        with pytest.raises(IllegalMoveError, match=f"{action} is not possible while the incident is {status}"):
            rsa.advance(status, action)
    else:
        assert rsa.advance(status, action) == expected


def test_a_cost_that_does_not_add_up_is_refused() -> None:
    fees = {"baseFee": 50000, "distanceFee": 30000, "additionalFee": 0, "discount": 0, "currency": "KRW"}
    assert CostDetails.model_validate(fees | {"totalCost": 80000}).total_cost == 80000
    with pytest.raises(ValueError, match="expected totalCost 80000"):
        CostDetails.model_validate(fees | {"totalCost": 90000})


def test_both_spellings_of_a_discount_are_one() -> None:
    fees = {"baseFee": 50000, "discountAmount": 5000, "totalCost": 45000}
    assert CostDetails.model_validate(fees).discount == 5000


@pytest.mark.parametrize(
    ("status", "said", "action"),
    [
        ("CONFIRMED", None, "TRACK"),
        ("CONFIRMED", "EN_ROUTE", "DEPART"),
        ("CONFIRMED", "ARRIVED", "ARRIVE"),
        ("EN_ROUTE", "EN_ROUTE", "TRACK"),
        ("EN_ROUTE", "ARRIVED", "ARRIVE"),
        ("ARRIVED", "ARRIVED", "TRACK"),
        ("ARRIVED", "EN_ROUTE", "DEPART"),  # which the table refuses
    ],
)
def test_a_position_moves_only_where_it_says_something_new(status: str, said: str | None, action: str) -> None:
    assert rsa.arrival_action(status, RsaStatus(said) if said else None) == action


NOW = datetime(2026, 3, 7, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("known", "minutes", "noted"), [(None, 0, True), (NOW, 4, False), (NOW, 5, True), (NOW, -5, True), (NOW, 0, False)]
)
def test_the_timeline_shows_the_first_arrival_and_large_changes(
    known: datetime | None, minutes: int, noted: bool
) -> None:
    assert rsa.is_noted(known, NOW + timedelta(minutes=minutes)) is noted


def test_a_partner_is_not_told_what_the_customer_does_not_share() -> None:
    incident = RsaIncident(
        "RSA_20260307_001", "KMHSH81C7LU123456", "DISPATCHED", "NORMAL", "APP", NOW, NOW, [], NOW,
        latitude=37.5, longitude=127.0, address="Seoul", symptoms=["NOISE"], dtc_codes=["P1234"], battery_voltage=11.8,
    )  # fmt: skip
    told = rsa.dispatch_payload(incident, None, requested_at=NOW)
    assert (told["breakdownLocation"]["latitude"], told["breakdownDetails"]["dtcCodes"]) == (37.5, ["P1234"])
    refused = replace(
        incident, customer_consent={"granted": True, "locationSharing": False, "vehicleStatusSharing": False}
    )
    told = rsa.dispatch_payload(refused, None, requested_at=NOW)
    assert told["breakdownLocation"] == {"address": "Seoul", "latitude": None, "longitude": None, "description": None}
    assert told["breakdownDetails"] == {
        "symptoms": ["NOISE"], "description": None, "dtcCodes": None, "batteryVoltage": None,
    }  # fmt: skip
