"""The RSA table of moves, written out, and what a further press changes."""

import pytest

from rules import rsa
from rules.errors import IllegalMoveError
from rules.rsa import Action
from schemas.rsa import CostDetails, RsaStatus

LEGAL = {
    "REQUESTED DISPATCH": "DISPATCHED",
    "REQUESTED CLOSE": "CLOSED",
    "REQUESTED CANCEL": "CANCELLED",
    "DISPATCHED CONFIRM": "CONFIRMED",
    "DISPATCHED REJECT": "REJECTED",
    "DISPATCHED CLOSE": "CLOSED",
    "DISPATCHED CANCEL": "CANCELLED",
    "CONFIRMED REJECT": "REJECTED",
    "CONFIRMED DEPART": "EN_ROUTE",
    "CONFIRMED ARRIVE": "ARRIVED",
    "CONFIRMED COMPLETE": "COMPLETED",
    "CONFIRMED CLOSE": "CLOSED",
    "CONFIRMED CANCEL": "CANCELLED",
    "EN_ROUTE REJECT": "REJECTED",
    "EN_ROUTE ARRIVE": "ARRIVED",
    "EN_ROUTE COMPLETE": "COMPLETED",
    "EN_ROUTE CLOSE": "CLOSED",
    "EN_ROUTE CANCEL": "CANCELLED",
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
