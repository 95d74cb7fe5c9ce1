"""The SOS endpoints: what the center and the app are told, and when."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from db import agents, telemetry
from db.pool import Connection
from db.telemetry import StatusRow
from schemas.access import Role
from tests.api import AGENT, OTHER_VIN, VIN, Api, serving
from tests.contract.examples import guide

SOS = f"/vehicles/{VIN}/sos"
OTHER_SOS = f"/vehicles/{OTHER_VIN}/sos"


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def ok(response: Any, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


def press(api: Api, path: str = SOS, **said: Any) -> dict[str, Any]:
    return ok(api.call("POST", path, {"emergencyType": "BREAKDOWN", "urgency": "MEDIUM"} | said), 201)


def close(api: Api, cid: str, path: str = SOS, **said: Any) -> dict[str, Any]:
    return ok(api.call("POST", f"{path}/close", {"cid": cid, "result": "RESOLVED_BY_PHONE"} | said))


def available(api: Api, agent_id: str = AGENT) -> dict[str, Any]:
    return ok(api.call("PUT", f"/sos/agents/{agent_id}/availability", {"availability": "AVAILABLE"}))


def change(conn: Connection, query: str, *values: object) -> None:
    assert conn.execute(query.encode(), values).rowcount == 1
    conn.commit()


def test_a_second_press_joins_the_open_incident(api: Api) -> None:
    first = press(api)
    second = press(api, urgency="CRITICAL", description="smoke")
    assert second["cid"] == first["cid"]
    status = ok(api.call("GET", f"{SOS}/status"))
    assert (status["urgency"], status["description"]) == ("CRITICAL", "smoke")
    assert [(line["description"], line["actor"]) for line in status["timeline"]] == [
        ("Emergency call initiated", "APP"),
        ("SOS pressed again", "APP"),
    ]
    assert ok(api.call("GET", f"{SOS}/history"))["total"] == 1


def test_a_cid_of_another_vehicle_is_409_and_a_free_one_is_kept(api: Api) -> None:
    assert press(api, cid="SOS_20260307_007")["cid"] == "SOS_20260307_007"
    assert api.call("POST", OTHER_SOS, {"cid": "SOS_20260307_007"}).status_code == 409
    assert api.call("GET", f"{OTHER_SOS}/status?cid=SOS_20260307_007").status_code == 404


def test_an_idle_counselor_is_assigned_at_once(api: Api) -> None:
    available(api)
    told = press(api)
    assert told["contactCenter"] == {
        "phone": "1588-1234",
        "available": True,
        "estimatedWaitTime": "0 seconds",
        "estimatedWaitSeconds": 0,
        "agentId": AGENT,
    }
    assert told["queuePlace"] is None


def test_who_waits_is_told_the_place_and_no_time_that_nobody_measured(api: Api) -> None:
    first, second = press(api), press(api, OTHER_SOS, urgency="CRITICAL")
    assert (first["queuePlace"], second["queuePlace"]) == (1, 1)
    status = ok(api.call("GET", f"{SOS}/status"))
    assert status["queuePlace"] == 2  # the critical one went ahead
    assert status["contactCenter"]["estimatedWaitTime"] is None
    assert status["contactCenter"]["available"] is False


def test_the_wait_is_place_times_handling_time_by_counselors_on_duty(api: Api, conn: Connection) -> None:
    available(api)
    closed = press(api)["cid"]
    close(api, closed)
    # One incident of the past was handled in ten minutes and answered after two.
    change(
        conn,
        "UPDATE sos_incidents SET occurred_at = now() - interval '1 hour', connected_at = now() - interval '58 min', "
        "assigned_at = now() - interval '1 hour', closed_at = now() - interval '50 min' WHERE cid = %s",
        closed,
    )
    agents.put(conn, "AGENT_002", name="Counselor 2")
    agents.set_availability(conn, "AGENT_002", "BUSY", at=datetime.now(UTC))
    conn.commit()
    press(api, OTHER_SOS)  # takes the one who is free
    told = press(api)
    assert told["queuePlace"] == 1
    assert told["contactCenter"]["estimatedWaitSeconds"] == 300  # 1 × 600 s / 2 counselors
    assert told["contactCenter"]["estimatedWaitTime"] == "5 minutes"
    assert told["estimatedResponseTime"] == "2 minutes"


def test_a_counselor_who_becomes_free_takes_the_head_of_the_queue(api: Api) -> None:
    cid = press(api)["cid"]
    assert available(api)["availability"] == "BUSY"
    listed = ok(api.call("GET", f"/sos/agents/{AGENT}/incidents"))
    assert [incident["cid"] for incident in listed["activeIncidents"]] == [cid]
    assert listed["summary"]["mediumUrgency"] == listed["total"] == 1
    close(api, cid)
    listed = ok(api.call("GET", f"/sos/agents/{AGENT}/incidents"))
    assert listed["total"] == 0
    assert listed["summary"]["averageHandlingSeconds"] >= 0


def test_duration_ends_with_the_servers_closing_time_whatever_completion_time_says(api: Api, conn: Connection) -> None:
    cid = press(api)["cid"]
    change(conn, "UPDATE sos_incidents SET occurred_at = now() - interval '35 min' WHERE cid = %s", cid)
    closed = close(api, cid, completionTime="2026-03-07T19:00:00Z", agentId=AGENT)
    assert closed["summary"]["duration"] == "35 minutes"
    assert 2100 <= closed["summary"]["durationSeconds"] < 2160
    (entry,) = ok(api.call("GET", f"{SOS}/history"))["incidents"]
    assert entry["duration"] == entry["durationSeconds"] == closed["summary"]["durationSeconds"]
    assert entry["completionTime"] == closed["timestamp"]


@pytest.mark.parametrize(
    ("said", "services"),
    [
        ({"result": "RESOLVED_BY_PHONE"}, []),
        ({"result": "ambulance dispatched"}, ["AMBULANCE"]),
        ({"result": "OTHER", "emergencyServices": {"towing": {"dispatched": True}, "fire": {"dispatched": True}}},
         ["FIRE", "TOWING"]),
        ({"result": "OTHER", "emergencyServices": {"police": {"dispatched": False}}}, []),
    ],
)  # fmt: skip
def test_the_services_are_those_that_were_sent(api: Api, said: dict[str, Any], services: list[str]) -> None:
    assert close(api, press(api)["cid"], **said)["summary"]["servicesDispatched"] == services


def report_status(conn: Connection, *, at: datetime) -> None:
    row = StatusRow(
        VIN, uuid4(), at, at, clock_suspect=False, latitude=None, longitude=None, accuracy_m=None, heading_deg=None,
        speed_kph=None, odometer_km=None, battery_voltage=11.9, fuel_level=None, engine_status="OFF",
        transmission_status=None, drivable=None, dtc_codes=None,
    )  # fmt: skip
    assert telemetry.store_status(conn, [row]) == 1
    conn.commit()


def test_the_vehicle_status_is_null_then_telemetry_with_its_age_then_what_the_press_reported(
    api: Api, conn: Connection
) -> None:
    def shown() -> Any:
        return ok(api.call("GET", f"{SOS}/status"))["vehicleStatus"]

    press(api)
    assert shown() is None
    report_status(conn, at=datetime.now(UTC) - timedelta(minutes=6))
    old = shown()
    assert (old["source"], old["stale"], old["batteryVoltage"], old["drivable"]) == ("TELEMETRY", True, 11.9, None)
    report_status(conn, at=datetime.now(UTC))
    assert (shown()["source"], shown()["stale"]) == ("TELEMETRY", False)
    press(api, vehicleStatus={"batteryVoltage": 12.1, "engineStatus": "ON"})
    now = shown()
    assert (now["source"], now["stale"], now["batteryVoltage"], now["engineStatus"]) == ("PRESS", False, 12.1, "ON")


def test_history_is_paged_newest_first(api: Api) -> None:
    cids = []
    for _ in range(3):
        cids.append(press(api)["cid"])
        close(api, cids[-1])
    page = ok(api.call("GET", f"{SOS}/history", params={"limit": 2}))
    assert [entry["cid"] for entry in page["incidents"]] == [cids[2], cids[1]]
    assert page["pagination"] == {"total": 3, "limit": 2, "offset": 0, "hasMore": True}
    rest = ok(api.call("GET", f"{SOS}/history", params={"limit": 2, "offset": 2}))
    assert [entry["cid"] for entry in rest["incidents"]] == [cids[0]]
    assert rest["pagination"] == {"total": 3, "limit": 2, "offset": 2, "hasMore": False}
    assert rest["summary"]["emergencyTypes"] == {"BREAKDOWN": 3}


def test_a_test_call_is_the_centers_and_no_part_of_the_history(api: Api) -> None:
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN])
    assert api.call("POST", SOS, {"testCall": True}, token=owner).status_code == 403
    available(api)
    told = press(api, testCall=True)
    assert told["contactCenter"]["agentId"] is None
    assert ok(api.call("GET", f"{SOS}/history"))["total"] == 0
    assert api.call("GET", f"{SOS}/status").status_code == 404
    assert ok(api.call("GET", f"{SOS}/status", params={"cid": told["cid"]}))["cid"] == told["cid"]


def test_a_closing_names_the_counselor_who_did_it(api: Api) -> None:
    token = api.add_key("sk_agent", Role.AGENT, every_vehicle=True, agent_id=AGENT)
    cid = press(api)["cid"]
    body = guide("sos_closure_request") | {"cid": cid}
    assert ok(api.call("POST", f"{SOS}/close", body, token=token))["summary"]["agent"] == "Kim Counselor"
    last = ok(api.call("GET", f"{SOS}/status", params={"cid": cid}))["timeline"][-1]
    assert (last["status"], last["actor"]) == ("CLOSED", AGENT)
