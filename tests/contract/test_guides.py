"""The guides' stories: requests are taken as printed, answers have every documented field in its documented form."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from api.answers.rsa import dispatch_response
from db import curfew, rsa, sos, telemetry
from db.pool import Connection
from db.telemetry import StatusRow
from ingest.inbox import Received
from ingest.pipeline import store
from rules.apply import calls
from schemas.base import format_instant
from schemas.call import CallMessage, CallStatus
from schemas.curfew import Day
from tests.api import AGENT, BASE, PARTNER, VIN, Api, serving, streaming
from tests.contract.examples import guide

SOS, RSA = f"/vehicles/{VIN}/sos", f"/vehicles/{VIN}/rsa"
CURFEW = f"//api/v1/childcare/vehicles/{VIN}/curfew"
SOS_CID, RSA_CID = "SOS_20260307_001", "RSA_20260307_001"


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def differences(documented: Any, answered: Any, *, null: frozenset[str] = frozenset(), at: str = "") -> list[str]:
    """Return where an answer lacks what the guide shows, or has it in another form; `null` names what may be null."""
    if answered is None:
        return [] if at in null else [f"{at} is null"]
    if isinstance(documented, dict):
        if not isinstance(answered, dict):
            return [f"{at} is no object"]
        missing = [f"{at}.{name} is missing" for name in documented if name not in answered]
        both = [name for name in documented if name in answered]
        return missing + [
            d for name in both for d in differences(documented[name], answered[name], null=null, at=f"{at}.{name}")
        ]
    if isinstance(documented, list):
        if not isinstance(answered, list) or (documented and not answered):
            return [f"{at} is {answered!r}"]
        return [d for one in answered for d in differences(documented[0], one, null=null, at=at)] if documented else []
    return [] if form(documented) == form(answered) else [f"{at} is {answered!r}, documented as {documented!r}"]


def form(value: object) -> str:
    """Return the JSON type, and for texts whether they are an instant or a number with a unit."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    text = str(value)
    if text.endswith("Z") and text[:4].isdigit():
        assert datetime.fromisoformat(text).tzinfo is UTC
        return "instant"
    return "number and unit" if text[:1].isdigit() and text[-1:].isalpha() else "text"


def ok(response: Any, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


def put_on_duty(api: Api) -> None:
    ok(api.call("PUT", f"/sos/agents/{AGENT}/availability", {"availability": "AVAILABLE"}))


def talk(conn: Connection, status: CallStatus, *, seconds: int | None = None) -> None:
    """Report the voice call of the SOS as the vehicle does."""
    now = datetime.now(UTC)
    said = CallMessage(
        message_id=str(uuid4()), timestamp=now, status=status, cid=SOS_CID, duration=seconds, battery_voltage=12.5
    )
    assert calls.record(conn, VIN, said, occurred_at=now, now=now) == SOS_CID
    conn.commit()


def report_status(conn: Connection, *, at: datetime) -> None:
    """Store one status sample of the vehicle."""
    row = StatusRow(
        VIN, uuid4(), at, at, clock_suspect=False, latitude=37.5, longitude=127.0, accuracy_m=5, heading_deg=0,
        speed_kph=0, odometer_km=1, battery_voltage=12.6, fuel_level=45.2, engine_status="OFF",
        transmission_status="PARK", drivable=False, dtc_codes=["P1234"],
    )  # fmt: skip
    assert telemetry.store_status(conn, [row]) == 1
    conn.commit()


def test_the_sos_story_answers_as_the_guide_prints_it(api: Api, conn: Connection) -> None:
    put_on_duty(api)
    with streaming(api) as stream:
        pressed = ok(api.call("POST", SOS, guide("sos_incident_request")), 201)
        # Nobody has been handled before: there is no pace yet to estimate from.
        assert differences(guide("sos_incident_response"), pressed, null=frozenset({".estimatedResponseTime"})) == []
        api.sequence()
        (event,) = stream.take(1)
        assert differences(guide("sos_real_time_event"), event.data) == []
        assert (event.data["eventId"], event.data["type"]) == ("EVT_001", "SOS_INITIATED")
    report_status(conn, at=datetime.now(UTC))
    talk(conn, CallStatus.CONNECTED)
    sent = guide("sos_status_response")["dispatchInfo"]
    sos.set_dispatched(conn, SOS_CID, status="DISPATCHED", dispatch_info=sent, at=datetime.now(UTC))
    conn.commit()
    status = ok(api.call("GET", f"{SOS}/status", params={"cid": SOS_CID}))
    not_recorded = frozenset({".voiceCall.recording.url", ".voiceCall.recording.duration"})
    assert differences(guide("sos_status_response"), status, null=not_recorded) == []
    active = ok(api.call("GET", f"/sos/agents/{AGENT}/incidents"))
    documented = guide("sos_agent_active_incidents_response")
    assert differences(documented, active, null=frozenset({".summary.averageHandlingTime"})) == []
    talk(conn, CallStatus.ENDED, seconds=180)
    closed = ok(api.call("POST", f"{SOS}/close", guide("sos_closure_request")))
    assert differences(guide("sos_closure_response"), closed) == []
    assert closed["summary"] | {"duration": None, "durationSeconds": None} == {
        "emergencyType": "MEDICAL", "duration": None, "durationSeconds": None, "servicesDispatched": ["POLICE"],
        "customerSafe": True, "agent": "Kim Counselor",
    }  # fmt: skip
    history = ok(api.call("GET", f"{SOS}/history"))
    unasked = frozenset({".summary.customerSatisfaction"})
    assert differences(guide("sos_history_response"), history, null=unasked) == []


def test_the_sos_closing_is_taken_as_the_curl_line_prints_it(api: Api) -> None:
    ok(api.call("POST", SOS, guide("sos_incident_request")), 201)
    closed = ok(api.call("POST", f"{SOS}/close", guide("sos_incident_closure_curl")))
    assert closed["summary"]["servicesDispatched"] == ["POLICE"]


def test_the_system_health_has_the_documented_fields(api: Api) -> None:
    health = ok(api.call("GET", "/sos/system/health"))
    unmeasured = frozenset(
        {
            ".systems.api.uptime",
            ".systems.voiceSystem.averageWaitTime",
            ".systems.dispatchSystem.averageResponseTime",
            ".systems.notificationSystem.deliveryRate",
            ".systems.notificationSystem.pendingNotifications",
        }
    )
    assert differences(guide("sos_system_health_status_response"), health, null=unmeasured) == []


def test_the_rsa_story_answers_as_the_guide_prints_it(api: Api) -> None:
    request = {"cid": RSA_CID, "serviceType": "TOWING", "location": {"latitude": 37.5, "longitude": 127.0}}
    with streaming(api, "/rsa/events") as stream:
        assert ok(api.call("POST", f"{RSA}/request", request), 201)["cid"] == RSA_CID
        dispatched = ok(api.call("POST", f"{RSA}/dispatch", guide("rsa_dispatch_request")))
        # The partner names ticket, provider and time of arrival only when it confirms.
        unanswered = frozenset(
            {".partnerTicketId", ".provider", ".estimatedArrival", ".estimatedDuration", ".costEstimate"}
        )
        assert differences(guide("rsa_dispatch_response"), dispatched, null=unanswered) == []
        confirming = guide("rsa_partner_dispatch_confirmation_request")
        confirmed = ok(api.call("POST", f"/partners/{PARTNER}/dispatch/confirm", confirming))
        assert differences(guide("rsa_partner_dispatch_confirmation_response"), confirmed) == []
        api.sequence()
        events = stream.take(3)
    assert [event.data["type"] for event in events] == ["RSA_REQUESTED", "RSA_DISPATCHED", "RSA_CONFIRMED"]
    assert differences(guide("rsa_real_time_event"), events[-1].data, null=frozenset({".data.agentId"})) == []
    status = ok(api.call("GET", f"{RSA}/status", params={"cid": RSA_CID}))
    assert differences(guide("rsa_status_response"), status, null=frozenset({".estimatedCost"})) == []
    completing = guide("rsa_partner_dispatch_completion_request")
    completed = ok(api.call("POST", f"/partners/{PARTNER}/service/complete", completing))
    documented = guide("rsa_partner_dispatch_completion_response")
    documented["confirmation"]["documentsGenerated"] = []  # nothing is attached that would generate any
    assert differences(documented, completed, null=frozenset({".confirmation.serviceId"})) == []
    closed = ok(api.call("POST", f"{RSA}/close", guide("rsa_closure_request")))
    assert differences(guide("rsa_closure_response"), closed) == []
    history = ok(api.call("GET", f"{RSA}/history"))
    assert differences(guide("rsa_history_response"), history) == []
    (entry,) = history["incidents"]
    assert (entry["status"], entry["incidentStatus"]) == ("COMPLETED", "CLOSED")
    assert entry["cost"] == {"amount": 80000, "currency": "KRW", "paymentMethod": "MEMBERSHIP"}


def test_the_rsa_requests_are_taken_as_the_curl_lines_print_them(api: Api) -> None:
    ok(api.call("POST", f"{RSA}/request", {"cid": RSA_CID}), 201)
    ok(api.call("POST", f"{RSA}/dispatch", guide("rsa_dispatch_request_curl")))
    ok(api.call("POST", f"/partners/{PARTNER}/dispatch/confirm", guide("rsa_partner_dispatch_confirmation_curl")))
    ok(api.call("POST", "/partners/:partner/service/complete", guide("rsa_partner_service_completion_curl")))
    closed = ok(api.call("POST", f"{RSA}/close", guide("rsa_incident_closure_curl")))
    assert closed["summary"]["totalCost"] == 80000


def test_the_dispatch_answers_with_the_documented_forms_once_the_partner_has_confirmed(
    api: Api, conn: Connection
) -> None:
    ok(api.call("POST", f"{RSA}/request", {"cid": RSA_CID}), 201)
    ok(api.call("POST", f"{RSA}/dispatch", guide("rsa_dispatch_request")))
    arrival = datetime.now(UTC) + timedelta(minutes=25, seconds=5)
    confirming = guide("rsa_partner_dispatch_confirmation_request") | {"estimatedArrival": arrival.isoformat()}
    ok(api.call("POST", f"/partners/{PARTNER}/dispatch/confirm", confirming))
    incident = rsa.get(conn, RSA_CID)
    assert incident is not None
    answered = json.loads(dispatch_response(incident).model_dump_json(by_alias=True))
    assert differences(guide("rsa_dispatch_response"), answered, null=frozenset({".costEstimate"})) == []
    assert answered["estimatedDuration"] == "25 min"
    assert (answered["provider"]["vehicleType"], answered["provider"]["licensePlate"]) == ("TOW_TRUCK", "88NA6789")


def test_the_curfew_story_answers_as_the_guide_prints_it(api: Api, conn: Connection) -> None:
    conn.autocommit = True
    put = ok(api.call("PUT", f"{CURFEW}/policy", guide("curfew_policy_setting")))
    assert {name: put[name] for name in guide("curfew_policy_setting")} == guide("curfew_policy_setting")
    # The guide's evening is over: the exception is kept as expired, and releases nothing.
    first = ok(api.call("POST", f"{CURFEW}/exception", guide("curfew_exception_setting")), 201)
    assert first | {"createdAt": None} == {
        **guide("curfew_exception_setting"), "exceptionId": "exc_001", "status": "expired", "createdAt": None
    }  # fmt: skip
    now = datetime.now(UTC)
    soon = {"startTime": format_instant(now), "endTime": format_instant(now + timedelta(hours=1))}
    ok(api.call("POST", f"{CURFEW}/exception", guide("curfew_exception_setting") | soon), 201)
    assert differences(guide("curfew_policy_response"), ok(api.call("GET", f"{CURFEW}/policy"))) == []
    listed = ok(api.call("GET", f"{CURFEW}/exceptions"))
    assert differences(guide("curfew_exception_list"), listed) == []
    assert [exception["status"] for exception in listed["exceptions"]] == ["active", "expired"]
    active = ok(api.call("GET", f"{CURFEW}/exceptions?status=active"))
    assert [exception["exceptionId"] for exception in active["exceptions"]] == ["exc_002"]

    number = curfew.add_violation(
        conn, vin=VIN, started_at=now - timedelta(hours=2), ended_at=now - timedelta(hours=1),
        resolution="ENGINE_STOP", severity="HIGH", place=(37.5665, 126.978), detected_late=False, detected_at=now,
    )  # fmt: skip
    (violation,) = ok(api.call("GET", f"{CURFEW}/violations?limit=10&offset=0"))["violations"]
    no_address = frozenset({".location.address"})
    assert differences(guide("curfew_violation_event"), violation, null=no_address) == []
    assert (violation["violationId"], violation["duration"], number) == ("vio_001", 60, 1)
    statistics = ok(api.call("GET", f"{CURFEW}/statistics?period=30d"))
    assert statistics["summary"]["longest"]["violationId"] == "vio_001"
    assert statistics["bySeverity"] == {"LOW": 0, "MEDIUM": 0, "HIGH": 1}


def test_a_curfew_event_has_the_guides_fields_on_top_and_what_other_events_have(api: Api, conn: Connection) -> None:
    conn.autocommit = True
    today = datetime.now(UTC)
    window = {"start": f"{today - timedelta(hours=2):%H:%M}", "end": f"{today + timedelta(hours=2):%H:%M}"}
    policy = guide("curfew_policy_setting") | {"timezone": "UTC", "days": list(Day), "timeWindow": window}
    ok(api.call("PUT", f"{CURFEW}/policy", policy))
    ok(api.call("PUT", f"{CURFEW.removesuffix('/curfew')}/consents", {"granted": True}))
    with streaming(api, f"/../childcare/vehicles/{VIN}/curfew/events") as stream:
        now = datetime.now(UTC)
        start = {"messageId": str(uuid4()), "timestamp": format_instant(now), "event": "START"}
        start |= {"location": {"latitude": 37.5665, "longitude": 126.978}}
        store(conn, [Received(f"tcu/v1/{VIN}/up/engine", json.dumps(start).encode(), now)], known_vins=set(), now=now)
        api.sequence()
        (event,) = stream.take(1)
    assert differences(guide("curfew_real_time_event"), event.data, null=frozenset({".data.location.address"})) == []
    assert (event.data["eventId"], event.data["type"]) == ("EVT_001", "CURFEW_VIOLATION")
    assert (event.data["vin"], event.data["timestamp"]) == (VIN, format_instant(now))
    assert event.data["data"]["message"] == guide("curfew_real_time_event")["data"]["message"]


def test_the_documentation_shows_the_guides_examples(api: Api) -> None:
    paths = ok(api.call("GET", "//openapi.json"))["paths"]
    shown = {
        "sos_status_response": paths[f"{BASE}/vehicles/{{vin}}/sos/status"]["get"],
        "sos_history_response": paths[f"{BASE}/vehicles/{{vin}}/sos/history"]["get"],
        "sos_closure_response": paths[f"{BASE}/vehicles/{{vin}}/sos/close"]["post"],
        "sos_agent_active_incidents_response": paths[f"{BASE}/sos/agents/{{agentId}}/incidents"]["get"],
        "sos_system_health_status_response": paths[f"{BASE}/sos/system/health"]["get"],
        "rsa_status_response": paths[f"{BASE}/vehicles/{{vin}}/rsa/status"]["get"],
        "rsa_history_response": paths[f"{BASE}/vehicles/{{vin}}/rsa/history"]["get"],
        "rsa_dispatch_response": paths[f"{BASE}/vehicles/{{vin}}/rsa/dispatch"]["post"],
        "rsa_closure_response": paths[f"{BASE}/vehicles/{{vin}}/rsa/close"]["post"],
    }
    childcare = "/api/v1/childcare/vehicles/{vin}/curfew"
    shown |= {
        "curfew_policy_response": paths[f"{childcare}/policy"]["get"],
        "curfew_exception_list": paths[f"{childcare}/exceptions"]["get"],
    }
    for name, operation in shown.items():
        assert operation["responses"]["200"]["content"]["application/json"]["example"] == guide(name), name
    asked = {
        "sos_incident_request": paths[f"{BASE}/vehicles/{{vin}}/sos"]["post"],
        "sos_closure_request": paths[f"{BASE}/vehicles/{{vin}}/sos/close"]["post"],
        "rsa_dispatch_request": paths[f"{BASE}/vehicles/{{vin}}/rsa/dispatch"]["post"],
        "rsa_closure_request": paths[f"{BASE}/vehicles/{{vin}}/rsa/close"]["post"],
        "curfew_policy_setting": paths[f"{childcare}/policy"]["put"],
        "curfew_exception_setting": paths[f"{childcare}/exception"]["post"],
    }
    for name, operation in asked.items():
        body = operation["requestBody"]["content"]["application/json"]
        assert body["example"] == guide(name), name
        assert "$ref" in body["schema"], name


def test_every_request_body_has_an_example_that_can_be_sent_as_it_is(api: Api) -> None:
    answers = []
    for path, operations in ok(api.call("GET", "//openapi.json"))["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                body = operation["requestBody"]["content"]["application/json"]["example"]
                where = path.format(vin=VIN, partner=PARTNER, agentId=AGENT)
                answers.append((where, api.call(method.upper(), "/" + where, body)))
    assert len(answers) > 15
    taken = {
        200,
        201,
        404,
        409,
    }  # the last two: the body was read, and there is no such incident, or none open any more
    assert [(where, answer.text) for where, answer in answers if answer.status_code not in taken] == []


def test_every_reference_of_the_documentation_resolves_and_every_route_but_the_open_asks_for_the_key(api: Api) -> None:
    document = ok(api.call("GET", "//openapi.json"))
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    used = {part.split('"')[0] for part in json.dumps(document).split('"$ref": "')[1:]}
    assert used <= known
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == path.startswith("/api/"), path
