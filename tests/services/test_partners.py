"""SOS and RSA from dispatch to end: who may do what, in which order, how often, and what each of them is shown."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from db import agents
from db.pool import Connection
from rules.apply import calls, overdue
from schemas.access import Role
from schemas.base import format_instant
from schemas.call import CallMessage
from tests.api import AGENT, OTHER_PARTNER, OTHER_VIN, PARTNER, VIN, Api, serving
from tests.contract.examples import guide

RSA = f"/vehicles/{VIN}/rsa"
SOS = f"/vehicles/{VIN}/sos"
CID = "RSA_20260307_001"
SOS_CID = "SOS_20260307_001"
HERE = {"latitude": 37.48, "longitude": 126.98, "address": "Seoul Seocho-gu..."}


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def ok(response: Any, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


def refused(response: Any, status: str) -> None:
    assert (response.status_code, response.json()["currentStatus"]) == (409, status), response.text


def request(api: Api) -> None:
    ok(api.call("POST", f"{RSA}/request", {"cid": CID, "serviceType": "TOWING"}), 201)


def dispatch(api: Api, partner: str = PARTNER) -> Any:
    return api.call("POST", f"{RSA}/dispatch", {"cid": CID, "partner": partner, "serviceType": "TOWING"})


def partner_says(api: Api, path: str, partner: str = PARTNER, *, token: str | None = None, **said: Any) -> Any:
    speaker = {"token": token} if token else {}
    return api.call("POST", f"/partners/{partner}/{path}", {"cid": CID} | said, **speaker)


def confirmed(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    ok(partner_says(api, "dispatch/confirm", status="CONFIRMED", partnerTicketId="SFT_1"))


def shown(api: Api, path: str = RSA) -> dict[str, Any]:
    return ok(api.call("GET", f"{path}/status"))


def timeline(api: Api, path: str = RSA) -> list[tuple[str, str]]:
    return [(line["status"], line["actor"]) for line in shown(api, path)["timeline"]]


def events(conn: Connection) -> list[tuple[str, str | None]]:
    rows = conn.execute("SELECT type, partner FROM events ORDER BY event_id").fetchall()
    conn.rollback()
    return [(row[0], row[1]) for row in rows]


def test_the_partners_way_is_shown_with_its_position_and_who_said_what(api: Api, conn: Connection) -> None:
    confirmed(api)
    token = api.add_key("sk_partner", Role.PARTNER, partner=PARTNER)
    eta = format_instant(datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=20))
    told = ok(
        partner_says(
            api,
            "dispatch/location",
            token=token,
            status="EN_ROUTE",
            currentLocation=HERE,
            estimatedArrival=eta,
            estimatedDistance=8.5,
        )
    )
    assert (told["status"], told["estimatedArrival"], told["estimatedDistance"]) == ("EN_ROUTE", eta, 8.5)
    tracking = shown(api)["locationTracking"]
    assert {name: tracking["currentLocation"][name] for name in HERE} == HERE
    assert tracking["currentLocation"]["lastUpdate"] == told["timestamp"]
    assert (tracking["estimatedArrival"], tracking["estimatedDistance"]) == (eta, 8.5)
    ok(partner_says(api, "dispatch/location", token=token, currentLocation=HERE | {"latitude": 37.49}))
    ok(partner_says(api, "dispatch/location", token=token, status="ARRIVED", estimatedDistance=0))
    ok(partner_says(api, "service/complete", token=token, partnerTicketId="SFT_1", actualCost=80000))
    assert timeline(api) == [
        ("REQUESTED", "APP"),
        ("DISPATCHED", "OPERATOR"),
        ("CONFIRMED", "OPERATOR"),
        ("EN_ROUTE", PARTNER),
        ("ARRIVED", PARTNER),
        ("COMPLETED", PARTNER),
    ]
    assert [type_ for type_, _ in events(conn)] == [
        "RSA_REQUESTED", "RSA_DISPATCHED", "RSA_CONFIRMED", "RSA_EN_ROUTE", "RSA_UPDATED", "RSA_ARRIVED",
        "RSA_COMPLETED",
    ]  # fmt: skip


def test_an_operator_speaks_for_a_partner_only_of_the_own_vehicles(api: Api) -> None:
    confirmed(api)
    stranger = api.add_key("sk_stranger", Role.OPERATOR, vins=[OTHER_VIN])
    words = {"dispatch/confirm": "CONFIRMED", "dispatch/location": "EN_ROUTE", "service/complete": "COMPLETED"}
    for path, status in words.items():
        answer = partner_says(api, path, token=stranger, status=status)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert shown(api)["status"] == "CONFIRMED"


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.PARTNER])
def test_the_path_as_the_guide_prints_it_stands_for_whoever_has_the_dispatch(api: Api, role: Role) -> None:
    confirmed(api)
    of = {"partner": PARTNER} if role is Role.PARTNER else {"vins": [VIN]}
    mine = api.add_key("sk_mine", role, **of)
    other = api.add_key("sk_other", Role.PARTNER, partner=OTHER_PARTNER)
    assert partner_says(api, "service/complete", ":partner", token=other).status_code == 404
    ok(partner_says(api, "service/complete", ":partner", token=mine, status="COMPLETED"))
    assert shown(api)["status"] == "COMPLETED"


def test_a_position_counts_only_between_the_yes_and_the_arrival(api: Api) -> None:
    request(api)
    assert partner_says(api, "dispatch/location", currentLocation=HERE).status_code == 404
    ok(dispatch(api))
    refused(partner_says(api, "dispatch/location", currentLocation=HERE), "DISPATCHED")
    ok(partner_says(api, "dispatch/confirm", status="CONFIRMED"))
    ok(partner_says(api, "dispatch/location", status="ARRIVED"))
    refused(partner_says(api, "dispatch/location", status="EN_ROUTE"), "ARRIVED")
    ok(partner_says(api, "service/complete"))
    refused(partner_says(api, "dispatch/location", currentLocation=HERE), "COMPLETED")
    assert partner_says(api, "dispatch/location").status_code == 422


def test_a_position_that_was_overtaken_does_not_move_the_truck_back(api: Api) -> None:
    confirmed(api)
    now = datetime.now(UTC).replace(microsecond=0)
    for seconds, latitude in ((-10, 37.50), (-20, 37.40), (3600, 37.51)):
        at = format_instant(now + timedelta(seconds=seconds))
        place = HERE | {"latitude": latitude}
        ok(partner_says(api, "dispatch/location", currentLocation=place, timestamp=at))
    current = shown(api)["locationTracking"]["currentLocation"]
    assert current["latitude"] == 37.51
    assert datetime.fromisoformat(current["lastUpdate"]) < now + timedelta(minutes=1)  # by our clock, not by its own


def test_the_timeline_shows_changes_of_the_arrival_and_not_every_position(api: Api) -> None:
    confirmed(api)
    eta = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=20)
    for minutes in (0, 1, 4, 7, 9):
        at = format_instant(eta + timedelta(minutes=minutes))
        ok(partner_says(api, "dispatch/location", currentLocation=HERE, estimatedArrival=at))
    lines = [line["description"] for line in shown(api)["timeline"]][3:]
    assert lines == [
        f"{PARTNER} changed its arrival, expected at {format_instant(eta + timedelta(minutes=m))}" for m in (0, 7)
    ]


def test_a_yes_with_an_arrival_is_noted_with_it(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    eta = "2026-03-07T10:30:00Z"
    ok(partner_says(api, "dispatch/confirm", status="CONFIRMED", estimatedArrival=eta))
    ok(partner_says(api, "dispatch/location", currentLocation=HERE, estimatedArrival=eta))
    lines = [line["description"] for line in shown(api)["timeline"]][2:]
    assert lines == [f"{PARTNER} confirmed, expected at {eta}"]


def test_the_same_word_again_changes_nothing(api: Api, conn: Connection) -> None:
    request(api)
    ok(dispatch(api))
    yes = guide("rsa_partner_dispatch_confirmation_request") | {"cid": CID}
    first = ok(partner_says(api, "dispatch/confirm", **yes))
    later = format_instant(datetime(2026, 3, 7, 11, tzinfo=UTC))
    ok(partner_says(api, "dispatch/location", status="EN_ROUTE", currentLocation=HERE, estimatedArrival=later))
    told = len(events(conn))
    assert ok(partner_says(api, "dispatch/confirm", **yes))["partnerTicketId"] == first["partnerTicketId"]
    ok(partner_says(api, "dispatch/location", status="EN_ROUTE", estimatedArrival=later))
    assert shown(api)["locationTracking"]["estimatedArrival"] == later  # the late copy of the yes is older than this
    assert len(events(conn)) == told
    done = guide("rsa_partner_dispatch_completion_request") | {"cid": CID}
    answer = ok(partner_says(api, "service/complete", **done))
    assert ok(partner_says(api, "service/complete", **done)) == answer
    refused(partner_says(api, "service/complete", **(done | {"completionNotes": "other"})), "COMPLETED")
    ok(api.call("POST", f"{RSA}/close", {"cid": CID, "result": "TOWING_COMPLETED"}))
    assert ok(partner_says(api, "service/complete", **done)) == answer
    assert [type_ for type_, _ in events(conn)][told:] == ["RSA_COMPLETED", "RSA_CLOSED"]


def test_a_rejection_again_is_answered_the_same_and_says_why(api: Api) -> None:
    request(api)
    ok(dispatch(api))
    no = ok(partner_says(api, "dispatch/confirm", status="REJECTED", reason="no truck"))
    assert ok(partner_says(api, "dispatch/confirm", status="REJECTED", reason="no truck")) == no
    last = shown(api)["timeline"][-1]
    assert (last["status"], last["description"]) == ("REJECTED", f"{PARTNER} rejected: no truck")
    refused(partner_says(api, "dispatch/confirm", status="CONFIRMED"), "REJECTED")


def test_who_does_not_answer_is_replaced_and_has_nothing_any_more(api: Api, conn: Connection) -> None:
    request(api)
    ok(dispatch(api))
    refused(dispatch(api), "DISPATCHED")  # the same partner again is no news
    ok(dispatch(api, OTHER_PARTNER))
    tokens = {name: api.add_key(f"sk_{name}", Role.PARTNER, partner=name) for name in (PARTNER, OTHER_PARTNER)}
    bodies: dict[str, dict[str, Any]] = {
        "dispatch/confirm": {"status": "CONFIRMED"},
        "dispatch/location": {"status": "EN_ROUTE"},
        "service/complete": {},
    }
    for path, body in bodies.items():
        former = partner_says(api, path, token=tokens[PARTNER], **body)
        assert (former.status_code, former.json()["detail"]) == (404, f"{PARTNER} has no dispatch {CID}")
        assert partner_says(api, path, token=tokens[OTHER_PARTNER], **body).status_code == 404
        ok(partner_says(api, path, OTHER_PARTNER, token=tokens[OTHER_PARTNER], **body))
    assert api.call("GET", f"{RSA}/status", token=tokens[OTHER_PARTNER]).status_code == 404  # it has no vehicles
    of_partner = [type_ for type_, partner in events(conn) if partner == PARTNER]
    assert of_partner == ["RSA_DISPATCHED", "RSA_WITHDRAWN"]
    assert "has not answered" in shown(api)["timeline"][2]["description"]


def test_a_request_is_cancelled_by_its_customer_until_it_is_over(api: Api, conn: Connection) -> None:
    confirmed(api)
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN])
    assert ok(api.call("POST", f"{RSA}/cancel", {"cid": CID, "reason": "runs again"}, token=owner))["status"] == (
        "CANCELLED"
    )
    last = shown(api)["timeline"][-1]
    assert (last["status"], last["actor"], last["description"]) == ("CANCELLED", "OWNER", "Cancelled: runs again")
    assert events(conn)[-1] == ("RSA_CANCELLED", PARTNER)
    refused(api.call("POST", f"{RSA}/cancel", {"cid": CID}), "CANCELLED")
    refused(partner_says(api, "service/complete"), "CANCELLED")
    ok(api.call("POST", f"{RSA}/request", {}), 201)  # the next one is a new one


def test_a_late_partner_is_told_of_once_for_each_arrival_it_gave(api: Api, conn: Connection) -> None:
    confirmed(api)
    now = datetime.now(UTC).replace(microsecond=0)

    def raised(*, minutes: int) -> int:
        overdue.raise_delayed(conn, now=now + timedelta(minutes=minutes))
        conn.commit()
        return events(conn).count(("RSA_DELAYED", PARTNER))

    def expect(minutes: int) -> None:
        eta = format_instant(now + timedelta(minutes=minutes))
        ok(partner_says(api, "dispatch/location", estimatedArrival=eta))

    assert raised(minutes=60) == 0  # it never said when
    expect(20)
    assert [raised(minutes=m) for m in (19, 20, 21, 22)] == [0, 0, 1, 1]
    expect(40)
    assert [raised(minutes=m) for m in (23, 41, 42)] == [1, 2, 2]
    ok(partner_says(api, "dispatch/location", status="ARRIVED", estimatedArrival=format_instant(now)))
    assert raised(minutes=90) == 2
    assert ("CONFIRMED", "SYSTEM") in timeline(api)


def test_a_silent_partner_is_told_of_once_for_each_dispatch(api: Api, conn: Connection) -> None:
    request(api)
    ok(dispatch(api))
    now = datetime.now(UTC)

    def raised(*, minutes: int) -> list[str | None]:
        overdue.raise_unanswered(conn, now=now + timedelta(minutes=minutes))
        conn.commit()
        return [partner for type_, partner in events(conn) if type_ == "RSA_UNANSWERED"]

    assert [raised(minutes=m) for m in (9, 11, 12)] == [[], [PARTNER], [PARTNER]]
    ok(dispatch(api, OTHER_PARTNER))
    assert raised(minutes=9) == [PARTNER]
    assert raised(minutes=11) == [PARTNER, OTHER_PARTNER]
    ok(partner_says(api, "dispatch/confirm", OTHER_PARTNER, status="CONFIRMED"))
    assert raised(minutes=60) == [PARTNER, OTHER_PARTNER]


def press(api: Api) -> None:
    ok(api.call("POST", SOS, {"cid": SOS_CID, "emergencyType": "MEDICAL"}), 201)


def sos(api: Api, action: str, *, token: str | None = None, **said: Any) -> Any:
    return api.call("POST", f"{SOS}/{action}", {"cid": SOS_CID} | said, **({"token": token} if token else {}))


def availability(conn: Connection) -> str:
    agent = agents.get(conn, AGENT)
    conn.rollback()
    assert agent is not None
    return agent.availability


def test_a_dispatched_service_is_shown_as_the_guide_prints_it(api: Api, conn: Connection) -> None:
    press(api)
    token = api.add_key("sk_agent", Role.AGENT, every_vehicle=True, agent_id=AGENT)
    sent = guide("sos_status_response")["dispatchInfo"]
    told = ok(sos(api, "dispatch", token=token, **{name: sent[name] for name in sent if name != "dispatched"}))
    assert (told["status"], told["dispatchInfo"]) == ("DISPATCHED", sent)
    assert shown(api, SOS)["dispatchInfo"] == sent
    assert timeline(api, SOS)[-1] == ("DISPATCHED", AGENT)
    ok(sos(api, "dispatch", token=token, serviceType="AMBULANCE", unitNumber="AMB-7"))
    assert [type_ for type_, _ in events(conn)] == ["SOS_INITIATED", "SOS_DISPATCHED", "SOS_DISPATCHED"]
    assert sos(api, "dispatch", serviceType="TAXI").status_code == 422
    closed = ok(sos(api, "close", result="OTHER"))
    assert closed["summary"]["servicesDispatched"] == ["POLICE", "AMBULANCE"]
    refused(sos(api, "dispatch", serviceType="POLICE"), "CLOSED")


def test_resolving_frees_the_counselor_and_leaves_the_incident_to_be_closed(api: Api, conn: Connection) -> None:
    ok(api.call("PUT", f"/sos/agents/{AGENT}/availability", {"availability": "AVAILABLE"}))
    press(api)
    assert availability(conn) == "BUSY"
    assert ok(sos(api, "resolve", notes="a flat tyre"))["status"] == "RESOLVED"
    assert availability(conn) == "AVAILABLE"
    refused(sos(api, "resolve"), "RESOLVED")
    refused(sos(api, "cancel"), "RESOLVED")
    assert ok(sos(api, "close", result="RESOLVED_BY_PHONE"))["status"] == "CLOSED"
    (entry,) = ok(api.call("GET", f"{SOS}/history"))["incidents"]
    assert (entry["notes"], entry["agentId"]) == ("a flat tyre", AGENT)
    assert [status for status, _ in timeline(api, SOS)] == ["INITIATED", "INITIATED", "RESOLVED", "CLOSED"]


def test_only_the_center_cancels_an_sos(api: Api, conn: Connection) -> None:
    ok(api.call("PUT", f"/sos/agents/{AGENT}/availability", {"availability": "AVAILABLE"}))
    press(api)
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN])
    assert sos(api, "cancel", token=owner).status_code == 403
    assert ok(sos(api, "cancel", reason="pressed by mistake"))["status"] == "CANCELLED"
    assert availability(conn) == "AVAILABLE"
    refused(sos(api, "close", result="FALSE_ALARM"), "CANCELLED")
    assert shown(api, SOS)["timeline"][-1]["description"] == "Cancelled: pressed by mistake"
    assert events(conn)[-1][0] == "SOS_CANCELLED"


@pytest.mark.parametrize("service", ["sos", "rsa"])
def test_two_agents_close_at_once_and_one_of_them_does(api: Api, conn: Connection, service: str) -> None:
    path, body = SOS, {"cid": SOS_CID, "result": "OTHER"}
    if service == "sos":
        press(api)
    else:
        path, body = RSA, {"cid": CID, "result": "RESOLVED_BY_PHONE"}
        request(api)
    tokens = [api.add_key(f"sk_{n}", Role.AGENT, every_vehicle=True) for n in range(2)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda token: api.call("POST", f"{path}/close", body, token=token), tokens))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert next(a.json()["currentStatus"] for a in answers if a.status_code == 409) == "CLOSED"
    assert [status for status, _ in timeline(api, path)].count("CLOSED") == 1
    assert [type_ for type_, _ in events(conn)].count(f"{service.upper()}_CLOSED") == 1


@pytest.mark.parametrize("behind_s", [0, 30], ids=["right clock", "slow clock"])
def test_a_call_that_failed_is_tried_again_in_a_new_session(api: Api, conn: Connection, behind_s: int) -> None:
    press(api)
    first = shown(api, SOS)["voiceCall"]
    start = datetime.now(UTC) - timedelta(seconds=behind_s)

    def hear(status: str, *, seconds: int) -> dict[str, Any]:
        at = start + timedelta(seconds=seconds)
        body = {"messageId": str(uuid4()), "timestamp": at, "status": status, "cid": SOS_CID}
        calls.record(conn, VIN, CallMessage.model_validate(body), occurred_at=at, now=datetime.now(UTC))
        conn.commit()
        told: dict[str, Any] = shown(api, SOS)["voiceCall"]
        return told

    assert hear("FAILED", seconds=1) == first | {"status": "FAILED"}
    again = hear("CONNECTING", seconds=5)
    assert (again["status"], again["sessionId"] == first["sessionId"]) == ("CONNECTING", False)
    talking = hear("CONNECTED", seconds=9)
    assert (talking["sessionId"], talking["status"]) == (again["sessionId"], "CONNECTED")
    assert shown(api, SOS)["status"] == "CONNECTED"
