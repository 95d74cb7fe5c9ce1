"""The RSA endpoints: the center's, the app's and the partners' side of one request."""

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.access import Role
from tests.api import OTHER_PARTNER, PARTNER, VIN, Api, serving
from tests.contract.examples import guide

RSA = f"/vehicles/{VIN}/rsa"
CID = "RSA_20260307_001"


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def ok(response: Any, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


def request(api: Api, **said: Any) -> dict[str, Any]:
    return ok(api.call("POST", f"{RSA}/request", {"cid": CID} | said), 201)


def dispatch(api: Api, **said: Any) -> Any:
    return api.call("POST", f"{RSA}/dispatch", {"cid": CID, "partner": PARTNER, "serviceType": "TOWING"} | said)


def confirm(api: Api, partner: str = PARTNER, *, token: str | None = None, **said: Any) -> Any:
    body = {"cid": CID, "partnerTicketId": "SFT_1", "status": "CONFIRMED"} | said
    return api.call("POST", f"/partners/{partner}/dispatch/confirm", body, **({"token": token} if token else {}))


def complete(api: Api, **said: Any) -> Any:
    return api.call("POST", f"/partners/{PARTNER}/service/complete", {"cid": CID, "partnerTicketId": "SFT_1"} | said)


def test_a_second_request_joins_the_open_one(api: Api) -> None:
    assert request(api)["status"] == "REQUESTED"
    assert ok(api.call("POST", f"{RSA}/request", {"serviceType": "LOCKOUT"}), 201)["cid"] == CID
    status = ok(api.call("GET", f"{RSA}/status"))
    assert (status["cid"], status["serviceType"], len(status["timeline"])) == (CID, "LOCKOUT", 2)


def test_dispatch_needs_an_open_request_a_known_partner_and_consent(api: Api) -> None:
    assert dispatch(api).status_code == 404
    request(api)
    assert dispatch(api, partner="NOBODY").status_code == 404
    assert dispatch(api, customerConsent={"granted": False}).json()["errors"][0]["field"] == "customerConsent.granted"
    assert ok(dispatch(api))["status"] == "DISPATCHED"
    again = dispatch(api)
    assert (again.status_code, again.json()["currentStatus"]) == (409, "DISPATCHED")


def test_a_partner_answers_only_what_was_dispatched_to_it(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    other = api.add_key("sk_other", Role.PARTNER, partner=OTHER_PARTNER)
    own = api.add_key("sk_own", Role.PARTNER, partner=PARTNER)
    assert confirm(api, OTHER_PARTNER, token=other).status_code == 404
    assert confirm(api, token=other).status_code == 404
    assert confirm(api, token=own, partner=OTHER_PARTNER).status_code == 404
    assert ok(confirm(api, token=own))["status"] == "CONFIRMED"
    status = ok(api.call("GET", f"{RSA}/status"))
    assert [(line["status"], line["actor"]) for line in status["timeline"]] == [
        ("REQUESTED", "APP"),
        ("DISPATCHED", "OPERATOR"),
        ("CONFIRMED", PARTNER),
    ]


def test_the_body_may_not_name_another_partner(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    body = {"cid": CID, "status": "CONFIRMED", "partner": OTHER_PARTNER}
    answer = api.call("POST", f"/partners/{PARTNER}/dispatch/confirm", body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "partner")


def test_the_same_answer_again_is_answered_the_same_and_another_ticket_is_409(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    first = ok(confirm(api))
    assert ok(confirm(api)) == first
    assert confirm(api, partnerTicketId="SFT_2").status_code == 409
    done = ok(complete(api, actualCost=80000))
    assert ok(complete(api, actualCost=80000)) == done
    assert confirm(api).status_code == 409


def test_a_rejected_request_may_be_dispatched_to_another_partner(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    assert ok(confirm(api, status="REJECTED", reason="no truck"))["status"] == "REJECTED"
    assert ok(dispatch(api, partner=OTHER_PARTNER))["partnerTicketId"] is None
    assert confirm(api).status_code == 404  # it is no longer the first partner's
    assert ok(confirm(api, OTHER_PARTNER))["status"] == "CONFIRMED"


def test_costs_that_do_not_add_up_are_422(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    ok(confirm(api))
    wrong = {"baseFee": 50000, "distanceFee": 30000, "discountAmount": 1, "totalCost": 80000}
    assert complete(api, costDetails=wrong).status_code == 422
    right = wrong | {"totalCost": 79999}
    assert complete(api, costDetails=right, actualCost=80000).status_code == 422
    assert ok(complete(api, costDetails=right | {"paymentStatus": "PAID"}))["confirmation"]["billingProcessed"] is True


def test_history_shows_a_closed_request_as_completed_unless_nobody_completed_it(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    ok(confirm(api))
    ok(complete(api, actualCost=80000))
    ok(api.call("POST", f"{RSA}/close", guide("rsa_incident_closure_curl") | {"partnerTicketId": None}))
    second = ok(api.call("POST", f"{RSA}/request", {}), 201)["cid"]
    ok(api.call("POST", f"{RSA}/close", {"cid": second, "result": "NOT_COMPLETED"}))
    history = ok(api.call("GET", f"{RSA}/history"))
    assert {entry["cid"]: (entry["status"], entry["incidentStatus"]) for entry in history["incidents"]} == {
        CID: ("COMPLETED", "CLOSED"),
        second: ("CLOSED", "CLOSED"),
    }
    assert history["summary"]["totalCost"] == 80000
    assert history["pagination"] == {"total": 2, "limit": 50, "offset": 0, "hasMore": False}

    def found(status: str) -> tuple[list[str], int, int]:
        told = ok(api.call("GET", f"{RSA}/history", params={"status": status}))
        assert told["total"] == told["pagination"]["total"]
        return [entry["cid"] for entry in told["incidents"]], told["total"], told["summary"]["totalIncidents"]

    assert found("COMPLETED") == ([CID], 1, 2)
    assert found("CLOSED") == ([second, CID], 2, 2)
    assert found("CANCELLED") == ([], 0, 2)
    assert api.call("GET", f"{RSA}/history", params={"status": "OVER"}).status_code == 422


def test_the_driver_is_shown_without_the_licence_number(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    ok(confirm(api, **{k: guide("rsa_partner_dispatch_confirmation_request")[k] for k in ("provider",)}))
    shown = api.call("GET", f"{RSA}/status")
    assert ok(shown)["provider"]["driver"] == {"name": "Kim Cheolsu", "phone": "010-1111-2222"}
    assert "12-34-567890" not in shown.text
