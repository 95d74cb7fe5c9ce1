"""The system test presses for a reserved vehicle on the real path, and nobody but its measurement hears of it."""

import json
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from db.pool import Connection
from mosquitto import pki
from schemas.access import Role
from schemas.system_test import TEST_VIN
from schemas.topics import Downlink, Uplink, downlink_topic
from stack.broker import Broker
from stack.server import Server
from tests.api import AGENT, OTHER_VIN, VIN, Api, serving, streaming
from tests.contract.examples import guide
from tests.contract.test_guides import differences
from tests.tcu import Tcu

REQUEST = guide("sos_test_request")


@pytest.fixture
def api(database_url: str, broker: Broker, pki_dir: Path) -> Iterator[Api]:
    identity = pki.issue_service(pki_dir, "systemtest")
    with serving(
        database_url,
        mqtt_host=broker.host,
        mqtt_port=broker.port,
        mqtt_ca=broker.ca,
        system_test_cert=identity.certificate,
        system_test_key=identity.key,
    ) as served:
        yield served


def ask(api: Api, *, timeout: int = 10, retries: int = 3, **kwargs: Any) -> dict[str, Any]:
    parameters = {"timeout": timeout, "retryAttempts": retries}
    answer = api.call("POST", "/sos/system/test", REQUEST | {"testParameters": parameters}, **kwargs)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def count(conn: Connection, query: str) -> int:
    conn.rollback()
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.usefixtures("worker", "sequencer")
def test_a_press_goes_the_whole_way_and_each_leg_is_measured(api: Api, conn: Connection) -> None:
    first = ask(api)
    transfer = first["results"]["dataTransfer"]
    assert (transfer["status"], transfer["dataIntegrity"], transfer["reason"]) == ("PASSED", "VERIFIED", None)
    assert 0 < transfer["receiptSeconds"] < transfer["storedSeconds"]
    assert 0 < transfer["streamSeconds"] == transfer["responseTimeSeconds"] < 5
    assert first["overall"] == {
        "status": "PASSED",
        "score": 100.0,
        "recommendations": [
            "No issues detected",
            "VOICE_CONNECT was not tested: no voice system is attached",
            "DISPATCH_SIMULATION was not tested: no dispatch system is attached",
        ],
    }
    skipped = frozenset(
        {f".results.{name}.responseTime" for name in ("voiceConnect", "dispatchSimulation")}
        | {".results.voiceConnect.audioQuality", ".results.dispatchSimulation.notificationDelivered"}
    )
    assert differences(guide("sos_test_response"), first, null=skipped) == []
    again = ask(api)
    assert again["results"]["dataTransfer"]["status"] == "PASSED"
    assert int(again["testId"].rsplit("-", 1)[1]) == int(first["testId"].rsplit("-", 1)[1]) + 1
    stored = conn.execute("SELECT test_id, cid, result, answer FROM system_tests ORDER BY test_id").fetchall()
    assert stored == [(a["testId"], a["results"]["dataTransfer"]["cid"], "PASSED", a) for a in (first, again)]
    assert count(conn, "SELECT count(*) FROM sos_incidents WHERE status = 'CANCELLED' AND test_call") == 2


@pytest.mark.usefixtures("worker", "sequencer")
def test_a_test_reaches_no_agent_queue_partner_or_statistic(api: Api, conn: Connection) -> None:
    availability = f"/sos/agents/{AGENT}/availability"
    assert api.call("PUT", availability, {"availability": "AVAILABLE"}).status_code == 200
    center = api.add_key("sk_agent", Role.AGENT, every_vehicle=True, agent_id=AGENT)
    with streaming(api, token=center) as stream:
        assert ask(api)["overall"]["status"] == "PASSED"
        # What a real press makes comes next, and nothing of the test before it.
        assert api.call("POST", f"/vehicles/{OTHER_VIN}/sos", {}).status_code == 201
        (message,) = stream.take(1)
        assert message.data["data"]["vin"] == OTHER_VIN
    listed = api.call("GET", f"/sos/agents/{AGENT}/incidents").json()
    assert [incident["vin"] for incident in listed["activeIncidents"]] == [OTHER_VIN]
    health = api.call("GET", "/sos/system/health").json()
    assert health["metrics"]["totalIncidentsToday"] == health["metrics"]["activeIncidents"] == 1
    assert health["systems"]["voiceSystem"]["queueLength"] == 0
    statistics = api.call("GET", "/sos/stats").json()
    assert (statistics["summary"]["totalIncidents"], statistics["emergencyTypes"]["OTHER"]["count"]) == (1, 1)
    assert statistics["emergencyTypes"].get("BREAKDOWN", {"count": 0})["count"] == 0
    assert api.call("GET", f"/vehicles/{TEST_VIN}/sos/history").json()["total"] == 0
    assert count(conn, f"SELECT count(*) FROM sos_incidents WHERE vin = '{TEST_VIN}' AND agent_id IS NOT NULL") == 0  # noqa: S608
    assert count(conn, "SELECT count(*) FROM webhook_deliveries") == 0
    assert count(conn, f"SELECT count(*) FROM events WHERE vin = '{TEST_VIN}' AND partner IS NOT NULL") == 0  # noqa: S608


@pytest.mark.usefixtures("sequencer")
def test_without_a_worker_the_test_fails_in_time_and_says_which_leg(
    api: Api, stopped_worker: Server, conn: Connection
) -> None:
    stopped_worker.start()
    stopped_worker.stop()
    told = ask(api, timeout=2, retries=1)
    transfer = told["results"]["dataTransfer"]
    assert (transfer["status"], transfer["reason"], transfer["sent"]) == ("FAILED", "no receipt came in time", 2)
    assert (told["overall"]["status"], told["overall"]["score"]) == ("FAILED", 0.0)
    assert told["overall"]["recommendations"][0] == "DATA_TRANSFER failed: no receipt came in time"
    assert 2 <= told["durationSeconds"] < 4
    # What the test left in the broker expires with it: the worker raises nothing afterwards.
    time.sleep(2)
    stopped_worker.start()
    assert ask(api)["overall"]["status"] == "PASSED"
    assert count(conn, "SELECT count(*) FROM sos_incidents") == 1


@pytest.mark.usefixtures("worker")
def test_without_the_sequencer_the_event_is_what_is_missing(api: Api, conn: Connection) -> None:
    transfer = ask(api, timeout=2, retries=0)["results"]["dataTransfer"]
    assert transfer["reason"] == "the event did not reach the streams in time"
    assert (transfer["dataIntegrity"], transfer["streamSeconds"]) == ("VERIFIED", None)
    assert count(conn, "SELECT count(*) FROM sos_incidents WHERE status = 'CANCELLED'") == 1


@pytest.mark.usefixtures("worker", "sequencer")
def test_an_incident_that_a_killed_test_left_open_is_ended_by_the_next(api: Api, conn: Connection) -> None:
    assert api.call("POST", "/sos/system/test", {"testVehicle": {"vin": VIN}}).status_code == 200
    conn.execute("UPDATE sos_incidents SET status = 'INITIATED', closed_at = NULL")
    conn.commit()
    assert ask(api)["overall"]["status"] == "PASSED"
    assert count(conn, "SELECT count(*) FROM sos_incidents WHERE status = 'CANCELLED'") == 2


@pytest.mark.usefixtures("stopped_worker")
def test_one_test_runs_at_a_time(api: Api) -> None:
    with ThreadPoolExecutor(2) as callers:
        parameters = {"testParameters": {"timeout": 2, "retryAttempts": 0}}
        keys = ({"Idempotency-Key": "a"}, {"Idempotency-Key": "b"})
        answers = list(
            callers.map(lambda key: api.call("POST", "/sos/system/test", REQUEST | parameters, headers=key), keys)
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (busy,) = [answer for answer in answers if answer.status_code == 409]
    assert (busy.json()["code"], int(busy.headers["retry-after"]) > 0) == ("BUSY", True)
    # What passes by itself is not kept: the same request again is tried.
    key = keys[answers.index(busy)]
    assert api.call("POST", "/sos/system/test", REQUEST | parameters, headers=key).status_code == 200


def test_bounds_hold_and_only_what_was_asked_is_answered(api: Api) -> None:
    body = {
        "testVehicle": {"vin": VIN},
        "testScenarios": ["VOICE_CONNECT"],
        "testParameters": {"timeout": 300, "retryAttempts": 50},
    }
    told = api.call("POST", "/sos/system/test", body).json()
    assert told["testParameters"] == {"timeout": 12, "retryAttempts": 5}
    assert told["results"]["dataTransfer"] is told["results"]["dispatchSimulation"] is None
    assert told["results"]["voiceConnect"]["status"] == "SKIPPED"
    assert (told["overall"]["status"], told["overall"]["score"]) == ("SKIPPED", None)


def test_without_an_identity_at_the_broker_the_transfer_is_skipped(database_url: str) -> None:
    with serving(database_url) as api:
        transfer = ask(api)["results"]["dataTransfer"]
    assert (transfer["status"], transfer["reason"]) == ("SKIPPED", "this process was given no identity at the broker")


def test_a_broker_that_refuses_is_a_failure_and_no_fault_of_the_request(
    database_url: str, broker: Broker, pki_dir: Path, tmp_path: Path
) -> None:
    stranger = pki.issue_service(tmp_path, "systemtest")
    settings = {"mqtt_host": broker.host, "mqtt_ca": broker.ca}
    for port, credentials in ((1, pki.issue_service(pki_dir, "systemtest")), (broker.port, stranger)):
        identity = {"system_test_cert": credentials.certificate, "system_test_key": credentials.key}
        with serving(database_url, **settings, mqtt_port=port, **identity) as api:
            transfer = ask(api, timeout=2)["results"]["dataTransfer"]
        assert transfer["status"] == "FAILED"
        assert transfer["reason"].startswith("the broker could not be reached")


def test_only_the_center_may_and_only_about_a_vehicle_it_knows(api: Api) -> None:
    def status(token: str, vin: str = VIN) -> int:
        body = {"testVehicle": {"vin": vin}, "testScenarios": ["VOICE_CONNECT"]}
        return api.call("POST", "/sos/system/test", body, token=token).status_code

    agent = api.add_key("sk_agent", Role.AGENT, vins=[VIN], agent_id=AGENT)
    assert (status(agent), status(agent, OTHER_VIN), status(agent, "KMHSH81C7LU999999")) == (200, 404, 404)
    for role in (Role.OWNER, Role.GUARDIAN, Role.DRIVER, Role.ANALYST):
        assert status(api.add_key(f"sk_{role}", role, vins=[VIN])) == 403


@pytest.mark.usefixtures("worker")
def test_every_press_of_the_reserved_vehicle_is_a_test_call(tcu: Callable[[str], Tcu], conn: Connection) -> None:
    vehicle = tcu(TEST_VIN)
    vehicle.receipt_of(vehicle.send(Uplink.SOS, emergencyType="FIRE", testCall=False))
    vehicle.publish(Uplink.SOS, b"garbled")
    vehicle.receipt_of(None)
    assert conn.execute("SELECT bool_and(test_call), count(*) FROM sos_incidents").fetchone() == (True, 1)


@pytest.mark.usefixtures("worker")
def test_the_broker_lets_the_test_speak_and_hear_for_the_reserved_vehicle_only(
    broker: Broker, pki_dir: Path, conn: Connection
) -> None:
    class Tester(Tcu):
        """Speaks under the test's certificate, whatever it says."""

        def press(self, topic: str, payload: bytes) -> None:
            self._client.publish(topic, payload, qos=1).wait_for_publish(10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pki, "issue_vehicle", lambda directory, _: pki.issue_service(directory, "systemtest"))
        tester = Tester(broker, pki_dir, TEST_VIN)
    try:
        body = json.dumps({"messageId": "8e03978e-40d5-43dd-bc93-6894a57f9324", "timestamp": "2026-01-01T00:00:00Z"})
        for forged in (f"tcu/v1/{VIN}/up/sos", f"tcu/v1/{TEST_VIN}/up/rsa", downlink_topic(VIN, Downlink.COMMAND)):
            tester.press(forged, body.encode())
        tester.press(f"tcu/v1/{TEST_VIN}/up/sos", body.encode())
        assert tester.receipt_of("8e03978e-40d5-43dd-bc93-6894a57f9324")["result"] == "STORED"
        with pytest.raises(queue.Empty):
            tester.down(Downlink.INCIDENT, wait_s=1)
    finally:
        tester.close()
    assert conn.execute("SELECT vin, test_call FROM sos_incidents").fetchall() == [(TEST_VIN, True)]
    assert conn.execute("SELECT count(*) FROM rsa_incidents").fetchone() == (0,)
