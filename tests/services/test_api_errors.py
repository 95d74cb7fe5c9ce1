"""Whatever a request brings, the answer is a problem that says what was expected, and never a fault of ours."""

import json
import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from api import errors, key_ring, logs
from api.routes import sos as sos_routes
from db.errors import DatabaseError
from rules.errors import DomainError
from tests.api import BASE, OPERATOR, VIN, Api, serving
from tests.contract.examples import guide

PRESS = f"/vehicles/{VIN}/sos"
CLOSE = f"/vehicles/{VIN}/sos/close"


@pytest.fixture(scope="module")
def api(lasting_database_url: str) -> Iterator[Api]:
    with serving(lasting_database_url) as served:
        yield served


@pytest.fixture
def new_api(database_url: str) -> Iterator[Api]:
    """One where nothing has happened yet."""
    with serving(database_url) as served:
        yield served


def raw(api: Api, content: bytes, *, path: str = PRESS, **headers: str) -> httpx.Response:
    given = {"Authorization": f"Bearer {OPERATOR}", "Content-Type": "application/json"} | headers
    return httpx.post(api.url + BASE + path, content=content, headers=given, timeout=30)


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert (told["status"], told["code"], told["title"]) == (status, code, HTTPStatus(status).phrase)
    assert told["requestId"] == response.headers["x-request-id"]
    return told


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b'{"a": }', b"\xff\xfe", b'{"passengerCount": ' + b"9" * 5_000 + b"}"],
    ids=["cut", "empty", "no value", "no UTF-8", "long number"],
)
def test_what_is_no_json_is_400_or_422(api: Api, content: bytes) -> None:
    response = raw(api, content)
    assert response.status_code in {400, 422}
    problem(response, response.status_code, "MALFORMED_JSON" if response.status_code == 400 else "INVALID")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 30_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"unknown": ' + b"[" * 32 + b"]" * 32 + b"}",
    ],
    ids=["deep", "deep and closed", "one too deep"],
)
def test_json_that_is_nested_too_deep_is_400(api: Api, content: bytes) -> None:
    problem(raw(api, content), 400, "JSON_TOO_DEEP")


@pytest.mark.parametrize(
    "content",
    [
        b'{"unknown": ' + b"[" * 31 + b"]" * 31 + b"}",
        b'{"description": "' + b"[{" * 900 + b'"}',
        b'{"description": "' + b'\\"[[' * 400 + b'"}',
        b'{"unknown": [' + b",".join([b"[[]]"] * 100) + b"]}",
    ],
    ids=["just", "in a string", "behind quotation marks in a string", "wide"],
)
def test_json_that_only_looks_deep_is_taken(api: Api, content: bytes) -> None:
    assert raw(api, content).status_code == 201


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ('{"description": "a\\u0000b"}', "description"),
        ('{"description": "\\ud800"}', "description"),
        ('{"location": {"latitude": NaN, "longitude": 1}}', "location.latitude"),
        ('{"location": {"latitude": Infinity, "longitude": 1}}', "location.latitude"),
        ('{"location": {"latitude": 91, "longitude": 1}}', "location.latitude"),
        ('{"location": {"latitude": 1}}', "location.longitude"),
        ('{"emergencyType": "\\ud800"}', "emergencyType"),
        ('{"emergencyType": "HEART"}', "emergencyType"),
        ('{"cid": "SOS_1"}', "cid"),
        ('{"cid": "SOS_20260307_\u0661\u0662\u0663"}', "cid"),
        ('{"vin": "KMHSH81C7LU123457"}', "vin"),
        ('{"passengerCount": 1e300}', "passengerCount"),
        ('{"testCall": 1}', "testCall"),
        ('{"customerConsent": {"granted": "yes"}}', "customerConsent.granted"),
        ('{"customerConsent": {"granted": true, "timestamp": "2026-03-07T18:30:00"}}', "customerConsent.timestamp"),
    ],
)
def test_a_value_that_cannot_be_taken_is_422_and_named(api: Api, said: str, field: str) -> None:
    told = problem(raw(api, said.encode()), 422, told_code(field))
    (one,) = told["errors"]
    assert (one["field"], one["place"]) == (field, "body")
    assert one["message"]


def told_code(field: str) -> str:
    return "UNPROCESSABLE" if field == "vin" else "INVALID"


def test_the_message_says_what_was_expected(api: Api) -> None:
    told = problem(raw(api, b'{"urgency": "NOW"}'), 422, "INVALID")
    assert told["errors"][0]["message"] == "expected 'CRITICAL', 'HIGH', 'MEDIUM' or 'LOW'"


@pytest.mark.parametrize(
    ("said", "field", "message"),
    [
        ("[1]", "", "expected a JSON object"),
        ('{"cid": "SOS_1"}', "cid", "expected text that matches ^SOS_[0-9]{8}_[0-9]{3,9}$"),
        ('{"description": "' + "x" * 5000 + '"}', "description", "expected no more than 2000 characters"),
    ],
)
def test_the_message_speaks_of_json_and_not_of_python(api: Api, said: str, field: str, message: str) -> None:
    (one,) = problem(raw(api, said.encode()), 422, "INVALID")["errors"]
    assert (one["field"], one["message"]) == (field, message)


def test_a_list_is_too_short_only_where_its_entries_can_be_taken(api: Api) -> None:
    path = f"//api/v1/childcare/vehicles/{VIN}/curfew/policy"

    def wrong(days: list[str]) -> list[tuple[str, str]]:
        told = api.call("PUT", path, guide("curfew_policy_setting") | {"days": days}).json()
        return [(one["field"], one["message"]) for one in told["errors"]]

    assert wrong([]) == [("days", "expected 1 or more entries")]
    assert [field for field, _ in wrong(["funday"])] == ["days.0"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_that_is_not_said_to_be_json_is_415_and_told_what_is(api: Api, media_type: str) -> None:
    told = problem(raw(api, b'{"urgency": "HIGH"}', **{"Content-Type": media_type}), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert told["detail"] == "expected Content-Type: application/json"


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"]
)
def test_json_by_any_of_its_names_is_taken(api: Api, media_type: str) -> None:
    assert raw(api, b'{"urgency": "HIGH"}', **{"Content-Type": media_type}).status_code == 201


def test_a_body_over_64_kib_is_413_whether_it_says_its_length_or_not(api: Api) -> None:
    body = json.dumps({"description": "x", "unknown": "y" * (64 * 1024)}).encode()
    problem(raw(api, body), 413, "BODY_TOO_LARGE")

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    headers = {"Authorization": f"Bearer {OPERATOR}", "Content-Type": "application/json"}
    response = httpx.post(api.url + BASE + PRESS, content=pieces(), headers=headers, timeout=30)
    problem(response, 413, "BODY_TOO_LARGE")
    assert raw(api, body[: 60 * 1024] + b'"}').status_code == 201


def test_unknown_paths_and_methods_are_problems(api: Api) -> None:
    problem(api.call("GET", "/nothing"), 404, "NO_SUCH_ROUTE")
    told = api.call("DELETE", PRESS)
    problem(told, 405, "METHOD_NOT_ALLOWED")
    assert "POST" in told.headers["allow"]


def test_pages_outside_their_bounds_are_422(api: Api) -> None:
    for bad in ({"limit": "0"}, {"limit": "201"}, {"offset": "-1"}, {"offset": "9" * 30}, {"limit": "x"}):
        told = problem(api.call("GET", f"/vehicles/{VIN}/sos/history", params=bad), 422, "INVALID")
        assert [(one["field"], one["place"]) for one in told["errors"]] == [(next(iter(bad)), "query")]


def test_a_move_that_is_not_allowed_is_409_and_names_the_present_status(new_api: Api) -> None:
    assert new_api.call("POST", PRESS, guide("sos_incident_request")).status_code == 201
    assert new_api.call("POST", CLOSE, guide("sos_closure_request") | {"agentId": None}).status_code == 200
    told = problem(new_api.call("POST", CLOSE, guide("sos_closure_request")), 409, "ILLEGAL_MOVE")
    assert told["currentStatus"] == "CLOSED"


def test_what_does_not_exist_is_404(new_api: Api) -> None:
    problem(new_api.call("GET", f"/vehicles/{VIN}/sos/status"), 404, "NOT_FOUND")
    problem(new_api.call("GET", f"/vehicles/{VIN}/sos/status?cid=SOS_20260307_001"), 404, "NOT_FOUND")
    problem(new_api.call("POST", CLOSE, guide("sos_closure_request")), 404, "NOT_FOUND")
    problem(new_api.call("GET", "/sos/agents/AGENT_999/incidents"), 404, "NOT_FOUND")
    problem(new_api.call("PUT", "/sos/agents/AGENT_999/availability", {"availability": "BUSY"}), 404, "NOT_FOUND")


@pytest.mark.parametrize("given", ["abc-123", "A" * 128])
def test_a_sane_request_id_is_kept(api: Api, given: str) -> None:
    assert api.call("GET", "//livez", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ü", '"}'])
def test_any_other_request_id_is_replaced(api: Api, given: str) -> None:
    answer = api.call("GET", "//livez", headers={"X-Request-ID": given.encode()})
    assert len(answer.headers["x-request-id"]) == 36


def test_a_fault_of_ours_is_500_without_details(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret of Hong Gildong")

    monkeypatch.setattr(sos_routes.sos, "history", fail)
    told = problem(api.call("GET", f"/vehicles/{VIN}/sos/history"), 500, "INTERNAL")
    assert "secret" not in json.dumps(told)


def test_without_the_database_requests_are_503_and_may_be_repeated(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.call("GET", f"/vehicles/{VIN}/sos/history").status_code == 200

    def cut(*_: object, **__: object) -> None:
        raise errors.Unavailable[0]("connection lost")

    monkeypatch.setattr(sos_routes.sos, "history", cut)
    answer = api.call("GET", f"/vehicles/{VIN}/sos/history")
    problem(answer, 503, "UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0


def test_every_domain_error_has_its_status() -> None:
    kinds, found = [DomainError], []
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        found.append(kind)
    mapped = tuple(errors._STATUS)
    assert [kind for kind in found if not issubclass(kind, mapped)] == [DomainError]


def test_logs_carry_request_id_and_cid_and_nothing_personal(
    new_api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        logs.configure()
        written = new_api.call("POST", PRESS, guide("sos_incident_request"), headers={"X-Request-ID": "my-request"})
        assert written.status_code == 201
        new_api.call("GET", f"/vehicles/{VIN}/sos/status", headers={"X-Request-ID": "my-other-request"})
        new_api.call("GET", f"/vehicles/{VIN}/nothing")

        def fail(*_: object, **__: object) -> None:
            raise DatabaseError(f"row of {VIN}, Hong Gildong, +82-10-1234-5678")

        monkeypatch.setattr(key_ring.keys, "find", fail)
        assert new_api.call("GET", f"/vehicles/{VIN}/sos/status", token="sk_fresh").status_code == 500
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    written_lines = capsys.readouterr().out.splitlines()
    # The test's own client logs too.
    lines = [line for line in map(json.loads, written_lines) if not line.get("logger", "").startswith("http")]
    text = json.dumps(lines, ensure_ascii=False)
    assert {line["requestId"]: line.get("cid") for line in lines if "my-" in line.get("requestId", "")} == {
        "my-request": "SOS_20260307_001",
        "my-other-request": "SOS_20260307_001",
    }
    assert any(line.get("error") == "Error" and line["at"] for line in lines)
    for secret in (VIN, OPERATOR, "sk_fresh", "Hong", "1234-5678", "37.5665", "chest pain"):
        assert secret not in text
