"""Lists over several vehicles, and the counselor's own moves: what a live screen lives on."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from db import agents, messages, operations, processes, retention, telemetry, vehicles
from db.pool import Connection
from db.processes import Process
from db.telemetry import StatusRow
from schemas.access import Role
from tests.api import AGENT, OTHER_VIN, PARTNER, VIN, Api, serving

SOS = f"/vehicles/{VIN}/sos"
RSA = f"/vehicles/{VIN}/rsa"
OPERATIONS = "//api/v1/operations"


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def ok(response: Any, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


def press(api: Api, vin: str = VIN, **said: Any) -> str:
    cid: str = ok(api.call("POST", f"/vehicles/{vin}/sos", said), 201)["cid"]
    return cid


def assist(api: Api, vin: str = VIN) -> str:
    cid: str = ok(api.call("POST", f"/vehicles/{vin}/rsa/request", {"serviceType": "TOWING"}), 201)["cid"]
    return cid


def listed(api: Api, query: str = "", **kwargs: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(api.call("GET", f"/incidents{query}", **kwargs))["incidents"]
    return found


def test_a_key_is_told_who_it_is(api: Api) -> None:
    token = api.add_key("sk_guardian", Role.GUARDIAN, vins=[VIN])
    assert ok(api.call("GET", "//api/v1/me", token=token)) == {
        "role": "guardian",
        "vins": [VIN],
        "everyVehicle": False,
        "agentId": None,
        "partner": None,
        "expiresAt": None,
    }


def test_incidents_of_both_services_are_listed_until_they_are_closed(api: Api) -> None:
    emergency, request = press(api, urgency="CRITICAL", emergencyType="FIRE"), assist(api, OTHER_VIN)
    found = {one["cid"]: one for one in listed(api)}
    assert set(found) == {emergency, request}
    assert (found[emergency]["service"], found[emergency]["kind"], found[emergency]["urgency"]) == (
        "SOS", "FIRE", "CRITICAL",
    )  # fmt: skip
    assert (found[request]["kind"], found[request]["priority"], found[request]["urgency"]) == ("TOWING", "NORMAL", None)
    assert found[request]["customerName"] == "Hong Gildong"
    ok(api.call("POST", f"{SOS}/resolve", {"cid": emergency}))
    assert {one["status"] for one in listed(api)} == {"RESOLVED", "REQUESTED"}
    ok(api.call("POST", f"{SOS}/close", {"cid": emergency, "result": "RESOLVED_BY_PHONE"}))
    assert [one["cid"] for one in listed(api)] == [request]
    assert [one["status"] for one in listed(api, f"?cid={emergency}")] == ["CLOSED"]


def test_a_page_begins_behind_a_cid_so_that_a_closing_hides_nothing(api: Api) -> None:
    first, second, third = press(api), assist(api), assist(api, OTHER_VIN)
    page = ok(api.call("GET", "/incidents?limit=2"))
    assert [one["cid"] for one in page["incidents"]] == sorted([first, second, third])[:2]
    ok(api.call("POST", f"/vehicles/{VIN}/rsa/cancel", {"cid": second}))
    rest = ok(api.call("GET", f"/incidents?limit=2&after={page['next']}"))
    assert [one["cid"] for one in rest["incidents"]] == [first]
    assert rest["next"] is None


def test_lists_show_the_keys_own_vehicles_only(api: Api) -> None:
    mine, other = press(api), press(api, OTHER_VIN)
    token = api.add_key("sk_guardian", Role.GUARDIAN, vins=[VIN])
    assert [one["cid"] for one in listed(api, token=token)] == [mine]
    assert [one["cid"] for one in listed(api, f"?cid={mine}&cid={other}", token=token)] == [mine]
    found = ok(api.call("GET", "//api/v1/vehicles", token=token))
    assert ([one["vin"] for one in found["vehicles"]], found["pagination"]["total"]) == ([VIN], 1)
    assert ok(api.call("GET", f"//api/v1/vehicles?vin={OTHER_VIN}", token=token))["vehicles"] == []
    assert [one["vin"] for one in ok(api.call("GET", f"//api/v1/vehicles?vin={OTHER_VIN}"))["vehicles"]] == [OTHER_VIN]
    for role in (Role.PARTNER, Role.ANALYST):
        other_token = api.add_key(f"sk_{role}", role, every_vehicle=True)
        for path in ("/incidents", "//api/v1/vehicles"):
            assert api.call("GET", path, token=other_token).status_code == 403


def test_test_calls_are_listed_to_operators_only(api: Api) -> None:
    cid = press(api, testCall=True)
    agent = api.add_key("sk_agent", Role.AGENT, every_vehicle=True)
    assert [one["cid"] for one in listed(api)] == [cid]
    assert listed(api, token=agent) == []
    assert listed(api, f"?cid={cid}", token=agent) == []


def test_the_first_promise_of_a_partner_stays_beside_its_latest_until_another_is_sent(api: Api) -> None:
    cid = assist(api)
    dispatch = {"cid": cid, "partner": PARTNER, "serviceType": "TOWING"}
    ok(api.call("POST", f"{RSA}/dispatch", dispatch))
    confirm = {"cid": cid, "status": "CONFIRMED", "estimatedArrival": "2026-03-07T10:30:00Z"}
    ok(api.call("POST", f"/partners/{PARTNER}/dispatch/confirm", confirm))
    ok(
        api.call(
            "POST", f"/partners/{PARTNER}/dispatch/location", {"cid": cid, "estimatedArrival": "2026-03-07T10:50:00Z"}
        )
    )
    (row,) = listed(api)
    assert (row["promisedArrival"], row["estimatedArrival"]) == ("2026-03-07T10:30:00Z", "2026-03-07T10:50:00Z")
    assert ok(api.call("GET", f"{RSA}/status"))["promisedArrival"] == "2026-03-07T10:30:00Z"
    ok(api.call("POST", f"/partners/{PARTNER}/dispatch/confirm", {"cid": cid, "status": "REJECTED"}))
    ok(api.call("POST", f"{RSA}/dispatch", dispatch))
    (row,) = listed(api)
    assert (row["promisedArrival"], row["estimatedArrival"]) == (None, None)


def test_a_counselor_takes_an_incident_from_the_queue_and_from_another(api: Api, conn: Connection) -> None:
    agents.put(conn, "AGENT_002", name="Counselor 2")
    conn.commit()
    token = api.add_key("sk_agent", Role.AGENT, every_vehicle=True, agent_id=AGENT)
    cid = press(api)
    ok(api.call("POST", f"{SOS}/take", {"cid": cid}, token=token))
    ok(api.call("POST", f"{SOS}/take", {"cid": cid}, token=token))
    assert ok(api.call("GET", f"{SOS}/status"))["contactCenter"]["agentId"] == AGENT
    ok(api.call("POST", f"{SOS}/take", {"cid": cid, "agentId": "AGENT_002"}))
    lines = [line["description"] for line in ok(api.call("GET", f"{SOS}/status"))["timeline"]]
    assert lines[1:] == ["Taken by AGENT_001", "Taken by AGENT_002 from AGENT_001"]
    found = ok(api.call("GET", "/sos/agents"))["agents"]
    assert {one["agentId"]: one["availability"] for one in found} == {AGENT: "AVAILABLE", "AGENT_002": "BUSY"}


def test_taking_is_refused_in_anothers_name_without_a_name_and_after_the_end(api: Api) -> None:
    token = api.add_key("sk_agent", Role.AGENT, every_vehicle=True, agent_id=AGENT)
    cid = press(api)
    assert api.call("POST", f"{SOS}/take", {"cid": cid, "agentId": "AGENT_002"}, token=token).status_code == 403
    unnamed = api.call("POST", f"{SOS}/take", {"cid": cid})
    assert (unnamed.status_code, unnamed.json()["errors"][0]["field"]) == (422, "agentId")
    assert api.call("POST", f"{SOS}/take", {"cid": cid, "agentId": "AGENT_999"}).status_code == 404
    ok(api.call("POST", f"{SOS}/cancel", {"cid": cid}))
    late = api.call("POST", f"{SOS}/take", {"cid": cid}, token=token)
    assert (late.status_code, late.json()["currentStatus"]) == (409, "CANCELLED")


def test_of_two_who_take_at_once_the_second_is_told(api: Api) -> None:
    token = api.add_key("sk_agent", Role.AGENT, every_vehicle=True, agent_id=AGENT)
    cid = press(api)
    tag = api.call("GET", f"{SOS}/status").headers["ETag"]
    ok(api.call("POST", f"{SOS}/take", {"cid": cid}, token=token, headers={"If-Match": tag}))
    late = api.call("POST", f"{SOS}/take", {"cid": cid, "agentId": AGENT}, headers={"If-Match": tag})
    assert late.status_code == 412


def test_a_counselor_records_the_call(api: Api) -> None:
    token = api.add_key("sk_agent", Role.AGENT, every_vehicle=True, agent_id=AGENT)
    cid = press(api)
    told = ok(api.call("POST", f"{SOS}/call", {"cid": cid, "status": "CONNECTED"}, token=token))
    assert (told["status"], told["voiceCall"]["status"]) == ("CONNECTED", "CONNECTED")
    ended = ok(api.call("POST", f"{SOS}/call", {"cid": cid, "status": "ENDED", "duration": 90}, token=token))
    assert (ended["voiceCall"]["status"], ended["voiceCall"]["duration"]) == ("ENDED", 90)
    lines = ok(api.call("GET", f"{SOS}/status"))["timeline"]
    assert [(line["description"], line["actor"]) for line in lines[1:]] == [
        ("Connected to emergency agent", AGENT),
        ("Voice call ended after 90 s", AGENT),
    ]
    ok(api.call("POST", f"{SOS}/cancel", {"cid": cid}))
    assert api.call("POST", f"{SOS}/call", {"cid": cid, "status": "CONNECTED"}, token=token).status_code == 409


def test_the_status_tells_customer_and_consent(api: Api) -> None:
    press(api, passengerCount=2, customerConsent={"granted": True, "locationSharing": False})
    status = ok(api.call("GET", f"{SOS}/status"))
    assert status["customerInfo"] == {"name": "Hong Gildong", "phone": "+82-10-1234-5678", "passengerCount": 2}
    assert (status["customerConsent"]["granted"], status["customerConsent"]["locationSharing"]) == (True, False)


def test_a_track_has_the_last_minutes_oldest_first(api: Api, conn: Connection) -> None:
    now = datetime.now(UTC)
    unsaid = dict.fromkeys(set(StatusRow._fields) - {"vin", "message_id", "occurred_at", "received_at"})
    rows = [
        StatusRow(
            **unsaid
            | {"vin": VIN, "message_id": uuid4(), "occurred_at": now - timedelta(minutes=age), "received_at": now}
            | {"clock_suspect": False, "latitude": 37.0 + age, "longitude": 127.0}
        )
        for age in (1, 3, 30)
    ]
    assert telemetry.store_status(conn, rows) == 3
    vehicles.set_presence(conn, VIN, online=True, changed_at=now)
    conn.commit()
    track = ok(api.call("GET", f"//api/v1/vehicles/{VIN}/track?minutes=10"))
    assert [point["latitude"] for point in track["points"]] == [40.0, 38.0]
    (online,) = ok(api.call("GET", "//api/v1/vehicles?online=true"))["vehicles"]
    assert (online["vin"], online["location"]["latitude"], online["model"]) == (VIN, 38.0, "320i")
    assert [one["vin"] for one in ok(api.call("GET", "//api/v1/vehicles?online=false"))["vehicles"]] == [OTHER_VIN]


def quarantined(conn: Connection, payload: bytes, *, cid: str | None = None) -> int:
    messages.quarantine(
        conn, topic=f"tcu/v1/{VIN}/up/status", payload=payload, vin=VIN, kind="status", reason="NOT_JSON",
        detail="expected a JSON object", cid=cid, received_at=datetime.now(UTC),
    )  # fmt: skip
    conn.commit()
    return messages.list_quarantine(conn, limit=1, offset=0, with_replayed=False)[0].quarantine_id


def test_a_quarantined_message_is_listed_and_handed_in_again(api: Api, conn: Connection) -> None:
    number = quarantined(conn, b"{\xff<b>")
    (shown,) = ok(api.call("GET", f"{OPERATIONS}/quarantine"))["messages"]
    assert (shown["quarantineId"], shown["payload"], shown["size"]) == (number, "{\ufffd<b>", 5)
    ok(api.call("POST", f"{OPERATIONS}/quarantine/{number}/replay"), 202)
    taken = messages.take_replay(conn, at=datetime.now(UTC))
    conn.commit()
    assert taken is not None
    assert taken.quarantine_id == number
    assert not messages.replay_awaited(conn)
    assert ok(api.call("GET", f"{OPERATIONS}/quarantine"))["pagination"]["total"] == 0
    assert ok(api.call("GET", f"{OPERATIONS}/quarantine?withReplayed=true"))["pagination"]["total"] == 1


def test_what_raised_an_sos_all_the_same_is_not_handed_in_again(api: Api, conn: Connection) -> None:
    number = quarantined(conn, b"?", cid=press(api))
    assert api.call("POST", f"{OPERATIONS}/quarantine/{number}/replay").status_code == 409
    assert api.call("POST", f"{OPERATIONS}/quarantine/{number + 1}/replay").status_code == 404


def test_rates_are_taken_from_the_counters_of_the_processes_that_were_there_before(api: Api, conn: Connection) -> None:
    now = datetime.now(UTC)

    def beat(name: str, at: datetime, **figures: object) -> None:
        processes.beat(conn, Process(name, now, at, ready=True, figures=figures))

    beat(
        "ingest@a:1",
        now - timedelta(seconds=10),
        urgent_stored=5,
        engine_stored=7,
        bulk_stored=100,
        lag_s=0.5,
        bulk_waiting=3,
    )
    operations.sample(conn, at=now - timedelta(seconds=10))
    beat(
        "ingest@a:1",
        now,
        urgent_stored=7,
        engine_stored=8,
        bulk_stored=600,
        lag_s=1.5,
        urgent_waiting=1,
        engine_waiting=2,
        bulk_waiting=8,
    )
    beat("ingest@b:2", now, urgent_stored=9000, bulk_stored=9000, lag_s=0.0)
    operations.sample(conn, at=now)
    retention.delete_batch(conn, "operations_samples", before=now - timedelta(hours=1), limit=10)
    conn.commit()
    first, second = ok(api.call("GET", f"{OPERATIONS}/history?minutes=5"))["samples"]
    assert (first["bulkPerSecond"], first["lagSeconds"], first["waiting"]) == (None, 0.5, 3)
    rates = [second[f"{lane}PerSecond"] for lane in ("urgent", "engine", "bulk")]
    assert rates == [0.2, 0.1, 50.0]
    assert (second["lagSeconds"], second["waiting"], second["eventsPerSecond"]) == (1.5, 11, None)
    alive = {one["name"] for one in ok(api.call("GET", f"{OPERATIONS}/processes"))["processes"] if one["alive"]}
    assert {"ingest@a:1", "ingest@b:2"} <= alive
