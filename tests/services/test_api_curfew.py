"""The curfew's endpoints: what guardian, driver and call center are told, and when."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from db import curfew
from db.pool import Connection
from ingest.inbox import Received
from ingest.pipeline import store
from rules import curfew as rule
from rules.apply import curfew as apply
from rules.spans import shared
from schemas.access import Role
from schemas.base import format_instant
from schemas.curfew import CurfewExceptionRequest, CurfewPolicyRequest
from tests.api import OTHER_VIN, VIN, Api, serving, streaming
from tests.contract.examples import guide

BASE = "//api/v1/childcare"
CAR = f"{BASE}/vehicles/{VIN}"
CURFEW = f"{CAR}/curfew"
POLICY = f"{CURFEW}/policy"
EVERY_DAY = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


@pytest.fixture(scope="module")
def untouched(lasting_database_url: str) -> Iterator[Api]:
    """An API for requests that are refused."""
    with serving(lasting_database_url) as served:
        yield served


@pytest.fixture
def db(conn: Connection) -> Connection:
    conn.autocommit = True
    return conn


def ok(response: Any, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


def fields(response: Any) -> list[str]:
    assert response.status_code == 422, response.text
    return [error["field"] for error in response.json()["errors"]]


def policy(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (guide("curfew_policy_setting") | changes).items() if value is not ...}


def holding_now(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    window = {"start": f"{now - timedelta(hours=2):%H:%M}", "end": f"{now + timedelta(hours=2):%H:%M}"}
    return policy(timezone="UTC", days=EVERY_DAY, timeWindow=window) | changes


def say(conn: Connection, *said: tuple[str, datetime], now: datetime, vin: str = VIN) -> None:
    """Store engine events as the worker does."""
    received = []
    for event, at in said:
        body = {"messageId": str(uuid4()), "timestamp": format_instant(at), "event": event}
        body |= {"location": {"latitude": 37.5665, "longitude": 126.978}}
        received.append(Received(f"tcu/v1/{vin}/up/engine", json.dumps(body).encode(), now))
    store(conn, received, known_vins=set(), now=now)


def set_at(conn: Connection, when: datetime, **changes: Any) -> None:
    """Set a policy, with the driver's consent, at an instant of the past."""
    request = CurfewPolicyRequest.model_validate(policy(**changes))
    apply.set_policy(conn, VIN, request, actor="GUARDIAN", if_match=None, now=when)
    apply.record_consent(conn, VIN, granted=True, actor="DRIVER", at=when, now=when)


# The policy


def test_a_policy_is_stored_and_answers_as_it_was_set(api: Api) -> None:
    assert api.call("GET", POLICY).status_code == 404
    put = api.call("PUT", POLICY, policy())
    assert api.call("GET", POLICY).json() == put.json()
    told = put.json()
    assert {name: told[name] for name in policy()} == policy()
    assert (told["exceptions"], told["timeWindows"]) == ([], None)
    assert told["statistics"] == {"totalViolations": 0, "thisMonth": 0, "lastMonth": 0}
    assert told["createdAt"] == told["updatedAt"]


def test_what_get_answers_can_be_put_again_also_with_several_windows(api: Api) -> None:
    windows = [
        {"start": "22:00", "end": "06:00", "days": ["sunday", "monday"]},
        {"start": "23:00", "end": "06:00", "days": ["friday"]},
        {"start": "12:00", "end": "13:00", "days": None},
    ]
    several = policy(days=["wednesday"], timeWindow=..., timeWindows=windows)
    told = ok(api.call("PUT", POLICY, several))
    assert told["timeWindow"] is None
    assert told["timeWindows"] == [*windows[:2], windows[2] | {"days": ["wednesday"]}]
    assert told["days"] == ["monday", "wednesday", "friday", "sunday"]
    again = ok(api.call("PUT", POLICY, told))
    assert {name: again[name] for name in ("days", "timeWindow", "timeWindows")} == {
        name: told[name] for name in ("days", "timeWindow", "timeWindows")
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"timezone": "Asia/Soul"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"timezone": ...}, "timezone"),
        ({"days": []}, "days"),
        ({"days": ["monday", "monday"]}, "days"),
        ({"days": ["Montag"]}, "days.0"),
        ({"timeWindow": {"start": "21:00", "end": "21:00"}}, "timeWindow"),
        ({"timeWindow": {"start": "9pm", "end": "07:00"}}, "timeWindow.start"),
        ({"timeWindow": {"start": "21:00", "end": "24:00"}}, "timeWindow.end"),
        ({"timeWindow": {"start": "21:00\n", "end": "07:00"}}, "timeWindow.start"),
        ({"timeWindow": ...}, "timeWindows"),
        ({"timeWindows": [{"start": "21:00", "end": "07:00"}]}, "timeWindows"),
        ({"timeWindow": ..., "timeWindows": []}, "timeWindows"),
        ({"timeWindow": ..., "timeWindows": [{"start": "1", "end": "07:00"}]}, "timeWindows.0.start"),
        ({"actions": ["engine_stop"]}, "actions.0"),
        ({"actions": ["notification", "notification"]}, "actions"),
        ({"enabled": ...}, "enabled"),
    ],
)
def test_a_policy_that_cannot_hold_is_422_and_the_field_is_named(
    untouched: Api, changes: dict[str, Any], field: str
) -> None:
    assert fields(untouched.call("PUT", POLICY, policy(**changes)))[0] == field
    assert untouched.call("GET", POLICY).status_code == 404


def test_of_two_guardians_with_the_same_policy_the_second_is_told(api: Api) -> None:
    first = api.call("PUT", POLICY, policy())
    read = first.headers["etag"]
    assert read.startswith('"')
    assert api.call("GET", POLICY).headers["etag"] == read
    changed = api.call("PUT", POLICY, policy(enabled=False), headers={"If-Match": read})
    assert (changed.status_code, changed.headers["etag"] == read) == (200, False)
    late = api.call("PUT", POLICY, policy(), headers={"If-Match": read})
    assert (late.status_code, late.json()["code"]) == (412, "STALE")
    assert ok(api.call("GET", POLICY))["enabled"] is False


def test_of_many_who_set_the_same_policy_at_once_one_succeeds(api: Api) -> None:
    read = api.call("PUT", POLICY, policy()).headers["etag"]

    def set_it(_: int) -> int:
        return api.call("PUT", POLICY, policy(), headers={"If-Match": read}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(set_it, range(8))) == [200] + [412] * 7


def test_if_match_takes_a_list_and_a_star_and_no_weak_or_malformed_tag(api: Api) -> None:
    for given in ("*", '"1"', "1", ""):
        assert api.call("PUT", POLICY, policy(), headers={"If-Match": given}).status_code == 412, given
    read = api.call("PUT", POLICY, policy()).headers["etag"]
    for given in (f"W/{read}", read.strip('"'), '"0"', "nonsense"):
        assert api.call("PUT", POLICY, policy(), headers={"If-Match": given}).status_code == 412, given
    assert api.call("PUT", POLICY, policy(), headers={"If-Match": "*"}).status_code == 200
    read = api.call("GET", POLICY).headers["etag"]
    assert api.call("PUT", POLICY, policy(), headers={"If-Match": f'"0", {read}'}).status_code == 200


def test_violations_count_in_the_calendar_months_of_the_policys_zone(api: Api, db: Connection) -> None:
    now = datetime.now(UTC)
    zone = ZoneInfo("Asia/Seoul")
    month = now.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last_month = (month - timedelta(days=1)).replace(day=1)
    set_at(db, month.astimezone(UTC) - timedelta(days=90))
    for began in (last_month - timedelta(minutes=5), last_month, month - timedelta(minutes=5), month):
        violation(db, began)
    counted = ok(api.call("GET", POLICY))["statistics"]
    assert counted == {"totalViolations": 4, "thisMonth": 1, "lastMonth": 2}


def violation(conn: Connection, began: datetime, *, minutes: int = 1, severity: str = "LOW") -> int:
    return curfew.add_violation(
        conn, vin=VIN, started_at=began, ended_at=began + timedelta(minutes=minutes), resolution="ENGINE_STOP",
        severity=severity, place=None, detected_late=False, detected_at=began,
    )  # fmt: skip


# Consent


def test_without_the_drivers_consent_a_policy_is_stored_not_evaluated_and_says_so(api: Api, db: Connection) -> None:
    driver = api.add_key("sk_driver", Role.DRIVER, vins=[VIN])
    told = ok(api.call("PUT", POLICY, holding_now()))
    assert (told["evaluated"], told["consent"]) == (False, {"granted": False, "since": None})
    assert "not evaluated" in told["note"]
    now = datetime.now(UTC)
    say(db, ("START", now), now=now)
    assert ok(api.call("GET", f"{CURFEW}/violations"))["violations"] == []
    assert ok(api.call("GET", f"{CURFEW}/explain"))["reason"] == "NO_CONSENT"

    ok(api.call("PUT", f"{CAR}/consents", {"granted": True}, token=driver))
    told = ok(api.call("GET", POLICY))
    assert (told["evaluated"], told["note"], told["consent"]["granted"]) == (True, None, True)
    (going_on,) = ok(api.call("GET", f"{CURFEW}/violations"))["violations"]
    assert (going_on["resolved"], going_on["endedAt"]) == (False, None)

    ok(api.call("PUT", f"{CAR}/consents", {"granted": False}, token=driver))
    (ended,) = ok(api.call("GET", f"{CURFEW}/violations"))["violations"]
    assert (ended["resolved"], ended["resolution"]) == (True, "CONSENT_WITHDRAWN")
    assert ok(api.call("GET", POLICY))["evaluated"] is False


def test_consent_is_neither_of_the_future_nor_older_than_the_last_record(api: Api) -> None:
    consents = f"{CAR}/consents"
    assert ok(api.call("GET", consents))["consents"] == [
        {"purpose": "CURFEW", "granted": False, "since": None, "recordedBy": None, "allowed": False},
        {"purpose": "LOCATION", "granted": False, "since": None, "recordedBy": None, "allowed": True},
        {"purpose": "VOICE_RECORDING", "granted": False, "since": None, "recordedBy": None, "allowed": False},
    ]
    now = datetime.now(UTC)
    early, late = format_instant(now - timedelta(hours=2)), format_instant(now + timedelta(minutes=1))
    assert fields(api.call("PUT", consents, {"granted": True, "timestamp": late})) == ["timestamp"]
    assert fields(api.call("PUT", consents, {"granted": True, "timestamp": "2026-03-07T18:30:00"})) == ["timestamp"]
    assert fields(api.call("PUT", consents, {"granted": True, "purpose": "ADVERTISING"})) == ["purpose"]
    driver = api.add_key("sk_driver", Role.DRIVER, vins=[VIN])
    told, *_ = ok(api.call("PUT", consents, {"granted": True}, token=driver))["consents"]
    assert (told["granted"], told["recordedBy"]) == (True, "DRIVER")
    assert fields(api.call("PUT", consents, {"granted": False, "timestamp": early})) == ["timestamp"]


@pytest.mark.parametrize("granted", [True, False])
@pytest.mark.parametrize("role", [Role.GUARDIAN, Role.OWNER, Role.AGENT])
def test_nobody_consents_or_withdraws_in_the_drivers_place(api: Api, role: Role, granted: bool) -> None:
    driver = api.add_key("sk_driver", Role.DRIVER, vins=[VIN])
    ok(api.call("PUT", f"{CAR}/consents", {"granted": not granted}, token=driver))
    other = api.add_key("sk_other", role, vins=[VIN])
    refused = api.call("PUT", f"{CAR}/consents", {"granted": granted}, token=other)
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    told, *_ = ok(api.call("GET", f"{CAR}/consents"))["consents"]
    assert told["granted"] is not granted


def test_the_same_consent_again_keeps_since_when_it_holds(api: Api) -> None:
    first = ok(api.call("PUT", f"{CAR}/consents", {"granted": True}))
    assert ok(api.call("PUT", f"{CAR}/consents", {"granted": True})) == first


# Exceptions


def exception(start: timedelta, end: timedelta, reason: str = "late bus") -> dict[str, Any]:
    now = datetime.now(UTC)
    return {"reason": reason, "startTime": format_instant(now + start), "endTime": format_instant(now + end)}


HOUR = timedelta(hours=1)


def test_exceptions_are_listed_by_status_and_end_early_by_delete(api: Api) -> None:
    active = ok(api.call("POST", f"{CURFEW}/exception", exception(-HOUR / 2, HOUR)), 201)
    scheduled = ok(api.call("POST", f"{CURFEW}/exception", exception(2 * HOUR, 3 * HOUR)), 201)
    expired = ok(api.call("POST", f"{CURFEW}/exception", exception(-5 * HOUR, -4 * HOUR)), 201)
    assert [e["status"] for e in (active, scheduled, expired)] == ["active", "scheduled", "expired"]
    everything = ok(api.call("GET", f"{CURFEW}/exceptions"))
    assert everything["exceptions"] == [scheduled, active, expired]
    assert everything["pagination"] == {"total": 3, "limit": 10, "offset": 0, "hasMore": False}
    page = ok(api.call("GET", f"{CURFEW}/exceptions?limit=1&offset=1"))
    assert (page["exceptions"], page["pagination"]["hasMore"]) == ([active], True)

    cancelled = ok(api.call("DELETE", f"{CURFEW}/exceptions/{active['exceptionId']}"))
    assert cancelled == active | {"status": "cancelled"}
    assert ok(api.call("GET", f"{CURFEW}/exceptions?status=active"))["exceptions"] == []
    assert ok(api.call("GET", f"{CURFEW}/exceptions?status=cancelled"))["exceptions"] == [cancelled]
    for gone in (active, expired):
        assert api.call("DELETE", f"{CURFEW}/exceptions/{gone['exceptionId']}").status_code == 404
    for unknown in ("exc_999", "exc_", "1", "exc_1\u0661", "exc_" + "9" * 40):
        assert api.call("DELETE", f"{CURFEW}/exceptions/{unknown}").status_code == 404, unknown
    assert api.call("GET", f"{CURFEW}/exceptions?status=over").status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (exception(HOUR, HOUR), "endTime"),
        (exception(2 * HOUR, HOUR), "endTime"),
        (exception(HOUR, timedelta(days=7, hours=2)), "endTime"),
        (exception(-2 * HOUR, HOUR), "startTime"),
        (exception(HOUR, 2 * HOUR) | {"reason": ""}, "reason"),
        (exception(HOUR, 2 * HOUR) | {"startTime": "2026-03-06T21:00:00"}, "startTime"),
    ],
)
def test_an_exception_that_cannot_be_is_422_and_the_field_is_named(untouched: Api, body: Any, field: str) -> None:
    assert fields(untouched.call("POST", f"{CURFEW}/exception", body)) == [field]


def test_exceptions_do_not_overlap(api: Api) -> None:
    first = exception(HOUR, 3 * HOUR)
    granted = ok(api.call("POST", f"{CURFEW}/exception", first), 201)
    assert ok(api.call("POST", f"{CURFEW}/exception", first), 201) == granted
    other = api.call("POST", f"{CURFEW}/exception", exception(2 * HOUR, 4 * HOUR))
    assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")


def test_an_exception_of_another_vehicle_cannot_be_cancelled(api: Api) -> None:
    granted = ok(api.call("POST", f"{CURFEW}/exception", exception(-HOUR / 2, HOUR)), 201)
    elsewhere = f"{BASE}/vehicles/{OTHER_VIN}/curfew/exceptions/{granted['exceptionId']}"
    assert api.call("DELETE", elsewhere).status_code == 404
    assert ok(api.call("GET", f"{CURFEW}/exceptions?status=active"))["pagination"]["total"] == 1


# Violations and events


def test_a_violation_arrives_on_the_stream_and_an_exception_ends_it(api: Api, db: Connection) -> None:
    ok(api.call("PUT", POLICY, holding_now()))
    ok(api.call("PUT", f"{CAR}/consents", {"granted": True}))
    guardian = api.add_key("sk_guardian", Role.GUARDIAN, vins=[VIN])
    agent = api.add_key("sk_agent", Role.AGENT, every_vehicle=True)
    with (
        streaming(api, "/../childcare/curfew/events", token=agent) as center,
        streaming(api, f"/../childcare/vehicles/{VIN}/curfew/events", token=guardian) as family,
    ):
        now = datetime.now(UTC)
        say(db, ("START", now), now=now)
        api.sequence()
        (opened,) = family.take(1)
        assert center.take(1) == [opened]
        ok(api.call("POST", f"{CURFEW}/exception", exception(-HOUR / 60, HOUR)), 201)
        api.sequence()
        granted, taken_back = family.take(2)
    assert list(opened.data) == [
        "eventId", "eventType", "type", "priority", "violationId", "vin", "timestamp", "severity", "data"
    ]  # fmt: skip
    assert (opened.data["eventType"], opened.data["type"]) == ("CURFEW_VIOLATION", "CURFEW_VIOLATION")
    assert (opened.data["vin"], opened.data["timestamp"]) == (VIN, format_instant(now))
    assert opened.data["data"]["location"] == {"latitude": 37.5665, "longitude": 126.978, "address": None}
    assert (granted.data["eventType"], granted.data["exceptionId"]) == ("CURFEW_EXCEPTION_ACTIVE", "exc_001")
    assert "violationId" not in granted.data
    assert taken_back.data["eventType"] == "CURFEW_VIOLATION_RETRACTED"
    assert taken_back.data["violationId"] == opened.data["violationId"]


def test_another_guardian_is_told_of_no_vehicle_and_hears_nothing(api: Api, db: Connection) -> None:
    ok(api.call("PUT", POLICY, holding_now()))
    ok(api.call("PUT", f"{CAR}/consents", {"granted": True}))
    other = api.add_key("sk_other", Role.GUARDIAN, vins=[OTHER_VIN])
    for path in ("policy", "violations", "exceptions", "statistics", "explain", "events"):
        assert api.call("GET", f"{CURFEW}/{path}", token=other).status_code == 404, path
    assert api.call("GET", f"{BASE}/curfew/events?vin={VIN}", token=other).status_code == 404
    other_car = f"{BASE}/vehicles/{OTHER_VIN}"
    with streaming(api, "/../childcare/curfew/events", token=other) as stream:
        now = datetime.now(UTC)
        say(db, ("START", now), now=now)
        body = exception(-HOUR / 2, HOUR)
        ok(api.call("POST", f"{other_car}/curfew/exception", body, token=other), 201)
        api.sequence()
        (heard,) = stream.take(1)
    assert (heard.data["vin"], heard.data["type"]) == (OTHER_VIN, "CURFEW_EXCEPTION_ACTIVE")


def test_curfew_events_do_not_come_on_the_streams_of_sos_and_rsa(api: Api) -> None:
    with streaming(api, "/sos/events") as stream:
        ok(api.call("POST", f"{CURFEW}/exception", exception(-HOUR / 2, HOUR)), 201)
        ok(api.call("POST", f"/vehicles/{VIN}/sos", {"emergencyType": "OTHER"}), 201)
        api.sequence()
        (heard,) = stream.take(1)
    assert heard.data["type"] == "SOS_INITIATED"


DAY = datetime(2026, 3, 9, 12, tzinfo=UTC)


def test_violations_are_filtered_and_paged_newest_first(api: Api, db: Connection) -> None:
    set_at(db, DAY - timedelta(days=30))
    for number, severity in enumerate(("LOW", "MEDIUM", "HIGH", "LOW")):
        violation(db, DAY + number * HOUR, severity=severity)
    curfew.add_violation(
        db, vin=VIN, started_at=DAY + 4 * HOUR, ended_at=None, resolution=None, severity="LOW", place=(1.5, 2.5),
        detected_late=True, detected_at=DAY + 6 * HOUR,
    )  # fmt: skip

    def ids(query: str) -> list[str]:
        return [v["violationId"] for v in ok(api.call("GET", f"{CURFEW}/violations?{query}"))["violations"]]

    assert ids("") == ["vio_005", "vio_004", "vio_003", "vio_002", "vio_001"]
    assert ids("severity=LOW") == ["vio_005", "vio_004", "vio_001"]
    assert ids("resolved=false") == ["vio_005"]
    assert ids("resolved=true&severity=HIGH") == ["vio_003"]
    assert ids("from=2026-03-09T13:00:00Z&to=2026-03-09T15:00:00Z") == ["vio_003", "vio_002"]
    page = ok(api.call("GET", f"{CURFEW}/violations?limit=2&offset=2"))
    assert [v["violationId"] for v in page["violations"]] == ["vio_003", "vio_002"]
    assert page["pagination"] == {"total": 5, "limit": 2, "offset": 2, "hasMore": True}
    past = ok(api.call("GET", f"{CURFEW}/violations?limit=2&offset=9"))
    assert (past["violations"], past["pagination"]["total"], past["pagination"]["hasMore"]) == ([], 5, False)
    newest = ok(api.call("GET", f"{CURFEW}/violations?limit=1"))["violations"][0]
    assert newest["location"] == {"latitude": 1.5, "longitude": 2.5, "address": None}
    assert (newest["endedAt"], newest["resolution"], newest["detectedLate"]) == (None, None, True)
    assert newest["duration"] > 24 * 60
    for bad in ("severity=BAD", "resolved=maybe", "from=yesterday", "limit=0"):
        assert fields(api.call("GET", f"{CURFEW}/violations?{bad}")) == [bad.split("=")[0]]
    assert fields(api.call("GET", f"{CURFEW}/violations?from=2026-03-09T13:00:00Z&to=2026-03-09T13:00:00Z")) == ["to"]


# Questions: why, what if, how often


def explain(api: Api, at: str) -> dict[str, Any]:
    return ok(api.call("GET", f"{CURFEW}/explain", params={"at": at}))


SATURDAY_NIGHT = {
    "timezone": "America/New_York", "days": ["saturday"], "timeWindow": {"start": "23:00", "end": "05:00"}
}  # fmt: skip


@pytest.mark.parametrize(
    ("at", "inside", "clock", "local", "utc"),
    [
        (
            "2026-03-08T06:59:59Z", True, "2026-03-08T01:59:59-05:00",
            ("2026-03-07T23:00:00-05:00", "2026-03-08T05:00:00-04:00"),
            ("2026-03-08T04:00:00Z", "2026-03-08T09:00:00Z"),
        ),
        ("2026-03-08T07:00:00Z", True, "2026-03-08T03:00:00-04:00", ..., ...),
        ("2026-03-08T09:00:00Z", False, "2026-03-08T05:00:00-04:00", None, None),
        ("2026-03-08T03:59:59Z", False, "2026-03-07T22:59:59-05:00", None, None),
        (
            "2026-11-01T09:30:00Z", True, "2026-11-01T04:30:00-05:00",
            ("2026-10-31T23:00:00-04:00", "2026-11-01T05:00:00-05:00"),
            ("2026-11-01T03:00:00Z", "2026-11-01T10:00:00Z"),
        ),
        ("2026-11-01T01:30:00-04:00", True, "2026-11-01T01:30:00-04:00", ..., ...),
        ("2026-11-01T01:30:00-05:00", True, "2026-11-01T01:30:00-05:00", ..., ...),
        ("2026-11-01T10:00:00Z", False, "2026-11-01T05:00:00-05:00", None, None),
    ],
)  # fmt: skip
def test_explain_shows_the_window_by_both_clocks_on_the_nights_when_new_york_changes_them(
    api: Api, db: Connection, at: str, inside: bool, clock: str, local: Any, utc: Any
) -> None:
    set_at(db, datetime(2026, 1, 1, tzinfo=UTC), **SATURDAY_NIGHT)
    told = explain(api, at)
    assert (told["inside"], told["clock"], told["timezone"]) == (inside, clock, "America/New_York")
    assert told["reason"] == ("INSIDE_WINDOW" if inside else "OUTSIDE_WINDOW")
    assert told["policyInForce"] is True
    assert told["consent"] == {"granted": True, "since": "2026-01-01T00:00:00Z"}
    if local is None:
        assert told["window"] is None
    elif local is not ...:
        window = told["window"]
        assert (window["local"]["start"], window["local"]["end"]) == local
        assert (window["utc"]["start"], window["utc"]["end"]) == utc


def test_explain_names_what_releases_and_what_comes_next(api: Api, db: Connection) -> None:
    long_ago = DAY - timedelta(days=30)
    assert explain(api, "2026-03-09T22:00:00Z") | {"at": None, "consent": None} == {
        "at": None, "clock": None, "inside": False, "reason": "NO_POLICY", "reasonText": "the vehicle has no policy",
        "window": None, "nextWindow": None, "exceptionId": None, "consent": None, "timezone": None,
        "policyInForce": False,
    }  # fmt: skip
    set_at(db, long_ago, timezone="UTC", days=["monday"], timeWindow={"start": "21:00", "end": "23:00"})
    released = CurfewExceptionRequest.model_validate(
        {"reason": "bus", "startTime": "2026-03-09T21:30:00Z", "endTime": "2026-03-09T22:00:00Z"}
    )
    apply.grant_exception(db, VIN, released, actor="GUARDIAN", now=DAY)
    assert (explain(api, "2026-03-09T21:29:59Z")["reason"]) == "INSIDE_WINDOW"
    told = explain(api, "2026-03-09T21:30:00Z")
    assert (told["inside"], told["reason"], told["exceptionId"]) == (False, "EXCEPTION", "exc_001")
    assert told["window"]["utc"] == {"start": "2026-03-09T21:00:00Z", "end": "2026-03-09T23:00:00Z"}
    assert told["nextWindow"]["utc"] == {"start": "2026-03-16T21:00:00Z", "end": "2026-03-16T23:00:00Z"}
    told = explain(api, "2026-03-09T22:00:00Z")
    assert (told["inside"], told["exceptionId"]) == (True, None)
    apply.record_consent(
        db, VIN, granted=False, actor="DRIVER", at=DAY + timedelta(days=1), now=DAY + timedelta(days=1)
    )
    assert explain(api, "2026-03-09T22:00:00Z")["inside"] is True
    assert explain(api, "2026-03-16T22:00:00Z")["reason"] == "NO_CONSENT"
    off = CurfewPolicyRequest.model_validate(policy(enabled=False))
    apply.set_policy(db, VIN, off, actor="GUARDIAN", if_match=None, now=DAY + timedelta(days=2))
    assert explain(api, "2026-03-16T22:00:00Z")["reason"] == "POLICY_DISABLED"


def test_explain_of_an_open_sos_says_that_it_releases(api: Api) -> None:
    ok(api.call("PUT", POLICY, holding_now()))
    ok(api.call("PUT", f"{CAR}/consents", {"granted": True}))
    assert ok(api.call("GET", f"{CURFEW}/explain"))["inside"] is True
    ok(api.call("POST", f"/vehicles/{VIN}/sos", {"emergencyType": "OTHER"}), 201)
    told = ok(api.call("GET", f"{CURFEW}/explain"))
    assert (told["inside"], told["reason"]) == (False, "OPEN_SOS")


def test_explain_of_a_time_before_the_first_policy_is_that_of_the_present_one_and_says_so(api: Api) -> None:
    ok(api.call("PUT", POLICY, policy(**SATURDAY_NIGHT)))
    ok(api.call("PUT", f"{CAR}/consents", {"granted": True}))
    told = explain(api, "2026-03-08T07:30:00Z")
    assert (told["inside"], told["policyInForce"]) == (True, False)
    assert "no policy then" in told["reasonText"]


def test_explain_takes_any_instant_and_refuses_what_is_none(api: Api) -> None:
    ok(api.call("PUT", POLICY, policy()))
    for at in ("1970-01-01T00:00:00Z", "2199-12-31T23:59:59Z", "2026-03-08T07:30:00-05:00"):
        assert explain(api, at)["timezone"] == "Asia/Seoul"
    for bad in ("2026-03-08T07:30:00", "now", "1", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        assert fields(api.call("GET", f"{CURFEW}/explain", params={"at": bad})) == ["at"]


MONDAYS = {"timezone": "UTC", "days": ["monday"], "timeWindow": {"start": "21:00", "end": "23:00"}}


def at(clock: str) -> datetime:
    hours, minutes = clock.split(":")
    return DAY.replace(hour=0) + timedelta(hours=int(hours), minutes=int(minutes))


def dry_run(api: Api, draft: dict[str, Any], since: str = "00:00", until: str = "30:00") -> dict[str, Any]:
    period = {"from": format_instant(at(since)), "to": format_instant(at(until))}
    return ok(api.call("POST", f"{CURFEW}/dry-run", policy(**draft) | period))


TRIPS = [("20:50", "21:20"), ("21:30", "21:40"), ("22:00", "23:30"), ("24:10", "24:20")]


def drive(db: Connection) -> None:
    for start, stop in TRIPS:
        say(db, ("START", at(start)), ("STOP", at(stop)), now=at(stop))


def test_a_dry_run_flags_past_trips_and_changes_nothing(api: Api, db: Connection) -> None:
    drive(db)
    told = dry_run(api, MONDAYS)
    assert (told["trips"], told["violations"], told["minutes"]) == (4, 3, 20 + 10 + 60)
    assert [(f["startTime"][11:16], f["endTime"][11:16], f["duration"], f["severity"]) for f in told["flagged"]] == [
        ("21:00", "21:20", 20, "MEDIUM"), ("21:30", "21:40", 10, "LOW"), ("22:00", "23:00", 60, "HIGH")
    ]  # fmt: skip
    assert told["flagged"][0]["trip"] == {"startTime": "2026-03-09T20:50:00Z", "endTime": "2026-03-09T21:20:00Z"}
    assert api.call("GET", POLICY).status_code == 404
    assert curfew.violations_page(db, VIN, limit=1, offset=0) == ([], 0)
    assert curfew.lock_watch(db, VIN) is None
    assert db.execute("SELECT count(*) FROM events").fetchone() == (0,)
    assert dry_run(api, MONDAYS | {"enabled": False})["violations"] == 0
    cut = dry_run(api, MONDAYS, since="21:10", until="22:30")
    assert [(f["duration"], f["trip"]["endTime"]) for f in cut["flagged"]] == [
        (10, "2026-03-09T21:20:00Z"), (10, "2026-03-09T21:40:00Z"), (30, None)
    ]  # fmt: skip


def test_a_dry_run_flags_what_the_policy_itself_would_have_judged(api: Api, db: Connection) -> None:
    set_at(db, at("00:00") - timedelta(days=1), **MONDAYS)
    released = CurfewExceptionRequest(reason="bus", start_time=at("22:10"), end_time=at("22:20"))
    apply.grant_exception(db, VIN, released, actor="GUARDIAN", now=at("12:00"))
    drive(db)
    told = dry_run(api, MONDAYS)
    judged = curfew.violations_between(db, VIN, at("00:00"), at("30:00"))
    assert [(f["startTime"], f["endTime"]) for f in told["flagged"]] == [
        (format_instant(v.started_at), format_instant(v.ended_at or at("30:00"))) for v in judged
    ]
    spans = [(at(start), at(stop)) for start, stop in TRIPS]
    windows = apply.as_rule(curfew.policies(db, VIN)[-1]).spans(at("00:00"), at("30:00"))
    assert len(judged) == len(shared(spans, windows)) + 1  # the exception cuts one in two
    assert [f["severity"] for f in told["flagged"]] == [rule.severity(f["duration"]) for f in told["flagged"]]


def test_a_dry_run_is_of_at_most_31_days_of_the_past(api: Api) -> None:
    def period(since: timedelta | None, until: timedelta | None) -> Any:
        now = datetime.now(UTC)
        said = {"from": since, "to": until}
        chosen = {name: format_instant(now + value) for name, value in said.items() if value is not None}
        return api.call("POST", f"{CURFEW}/dry-run", policy() | chosen)

    day = timedelta(days=1)
    assert fields(period(-40 * day, -5 * day)) == ["to"]
    assert fields(period(-2 * day, -3 * day)) == ["to"]
    assert fields(period(day, None)) == ["from"]
    assert fields(api.call("POST", f"{CURFEW}/dry-run", policy(timezone="Mars"))) == ["timezone"]
    week = ok(period(None, None))
    length = datetime.fromisoformat(week["to"]) - datetime.fromisoformat(week["from"])
    assert abs(length - timedelta(days=7)) < timedelta(seconds=1)
    for since in (-31 * day, -40 * day):
        month = ok(period(since, None))
        length = datetime.fromisoformat(month["to"]) - datetime.fromisoformat(month["from"])
        assert length == timedelta(days=31)


def test_statistics_equal_an_independent_computation(api: Api, db: Connection) -> None:
    now = datetime.now(UTC)
    set_at(db, now - timedelta(days=400), timezone="America/New_York")
    # First, because a judgement would take back violations that no sight of the engine supports.
    ok(api.call("POST", f"{CURFEW}/exception", exception(HOUR, 2 * HOUR)), 201)
    began, severities = [], ("LOW", "MEDIUM", "HIGH")
    for number in range(60):
        start = now - timedelta(hours=7 * number + 1, minutes=13 * number % 60)
        began.append((start, 5 + number % 70, severities[number % 3]))
        violation(db, start, minutes=began[-1][1], severity=began[-1][2])
    zone = ZoneInfo("America/New_York")
    for period, days in {"1d": 1, "7d": 7, "30d": 30, "365d": 365}.items():
        told = ok(api.call("GET", f"{CURFEW}/statistics", params={"period": period}))
        since = datetime.fromisoformat(told["generatedAt"]) - timedelta(days=days)
        within = [one for one in began if one[0] >= since]
        lasted = [minutes for _, minutes, _ in within]
        assert told["period"] == period
        assert told["timezone"] == "America/New_York"
        assert told["bySeverity"] == {name: [s for _, _, s in within].count(name) for name in severities}
        assert told["byWeekday"] == {
            day: sum(f"{start.astimezone(zone):%A}".lower() == day for start, _, _ in within) for day in EVERY_DAY
        }
        assert told["byHour"] == [
            sum(start.astimezone(zone).hour == hour for start, _, _ in within) for hour in range(24)
        ]
        summary = told["summary"]
        assert (summary["totalViolations"], summary["totalMinutes"]) == (len(within), sum(lasted))
        assert summary["averageMinutes"] == pytest.approx(sum(lasted) / len(lasted), abs=0.05)
        assert summary["longest"]["duration"] == max(lasted)
        assert summary["exceptionsGranted"] == 1


def test_statistics_without_data_are_null_and_zero(api: Api) -> None:
    told = ok(api.call("GET", f"{CURFEW}/statistics"))
    assert told["period"] == "30d"
    assert told["summary"] == {
        "totalViolations": 0, "totalMinutes": 0, "averageMinutes": None, "longest": None, "exceptionsGranted": 0
    }  # fmt: skip
    assert (told["timezone"], told["byWeekday"], told["byHour"]) == (None, None, None)
    assert told["bySeverity"] == {"LOW": 0, "MEDIUM": 0, "HIGH": 0}
    assert fields(api.call("GET", f"{CURFEW}/statistics?period=2d")) == ["period"]


def test_each_template_can_be_put_as_it_is(api: Api) -> None:
    templates = ok(api.call("GET", f"{BASE}/curfew/templates"))["templates"]
    assert len({template["state"] for template in templates}) >= 10
    for template in templates:
        told = ok(api.call("PUT", POLICY, template["policy"]))
        assert {name: told[name] for name in ("timezone", "timeWindow", "timeWindows")} == {
            name: template["policy"][name] for name in ("timezone", "timeWindow", "timeWindows")
        }
