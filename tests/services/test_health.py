"""System health tells what the processes measured, and null where nothing was."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import partners, processes, webhooks
from db.pool import Connection
from db.processes import Process
from schemas.topics import Uplink
from stack.broker import Broker
from stack.server import wait_until
from tests.api import PARTNER, VIN, Api, serving, streaming
from tests.tcu import Tcu


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def systems(api: Api) -> dict[str, Any]:
    answer = api.call("GET", "/sos/system/health")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()["systems"]
    return told


def beat(conn: Connection, name: str, **figures: Any) -> None:
    now = datetime.now(UTC)
    processes.beat(conn, Process(name, now, now, ready=True, figures=figures))
    conn.commit()


def deliver(conn: Connection, *, outcomes: list[str], at: datetime | None = None) -> None:
    """Write deliveries with these outcomes; '' leaves one pending."""
    now = datetime.now(UTC) if at is None else at
    partners.put(conn, PARTNER, name="Samsung Fire")
    webhooks.put_endpoint(
        conn, PARTNER, url="http://127.0.0.1:1/", secret="whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", at=now
    )
    endpoint = webhooks.endpoint_of_partner(conn, PARTNER)
    assert endpoint is not None
    for number, outcome in enumerate(outcomes):
        cid = f"RSA_20260307_{number + 100}"
        delivery = webhooks.enqueue(conn, endpoint, topic="rsa.dispatch", payload={}, cid=cid, at=now)
        if outcome == "withdrawn":
            webhooks.withdraw(conn, cid=cid, topic="rsa.dispatch", reason="withdrawn: closed", at=now)
        elif outcome:
            query = (
                b"UPDATE webhook_deliveries SET status = %s, last_error = %s, finished_at = %s WHERE delivery_id = %s"
            )
            conn.execute(query, (outcome, "410" if outcome == "FAILED" else None, now, delivery))
    conn.commit()


@pytest.mark.usefixtures("worker")
def test_the_worker_measures_broker_receipts_and_lag(api: Api, tcu: Callable[[str], Tcu]) -> None:
    wait_until(lambda: systems(api)["broker"]["responseTimeSeconds"] is not None, wait_s=15)
    broker = systems(api)["broker"]
    assert (broker["status"], broker["reason"]) == ("OPERATIONAL", None)
    assert 0 < broker["responseTimeSeconds"] < 1
    # Probes are no receipts.
    assert systems(api)["notificationSystem"]["deliveryRate"] is None
    vehicle = tcu(VIN)
    for _ in range(3):
        vehicle.receipt_of(vehicle.send(Uplink.SOS, urgency="LOW"))
    wait_until(lambda: systems(api)["notificationSystem"]["receiptsConfirmed"] == 3, wait_s=15)
    told = systems(api)
    assert told["notificationSystem"] | {"openStreams": 0} == {
        "status": "OPERATIONAL", "reason": None, "deliveryRate": "100.0%", "pendingNotifications": 0,
        "receiptsSent": 3, "receiptsConfirmed": 3, "webhooksDelivered": 0, "webhooksFailed": 0, "webhooksPending": 0,
        "openStreams": 0,
    }  # fmt: skip
    assert (told["ingest"]["lagSeconds"], told["ingest"]["waiting"]) == (0, 0)


@pytest.mark.usefixtures("worker")
def test_a_broker_that_is_away_is_told(api: Api, broker: Broker) -> None:
    wait_until(lambda: systems(api)["broker"]["status"] == "OPERATIONAL", wait_s=15)
    broker.stop()
    try:
        wait_until(lambda: systems(api)["broker"]["status"] == "DOWN", wait_s=20)
        assert systems(api)["broker"]["reason"] == "no worker has a session"
    finally:
        broker.start()
    wait_until(lambda: systems(api)["broker"]["status"] == "OPERATIONAL", wait_s=40)


@pytest.mark.parametrize(
    ("lanes", "status", "reason"),
    [
        ({"urgent", "engine", "bulk"}, "OPERATIONAL", None),
        ({"engine", "bulk"}, "DOWN", "no worker has a session for the urgent lane"),
        ({"urgent", "engine"}, "DEGRADED", "no worker has a session for the bulk lane"),
        ({"urgent"}, "DEGRADED", "no worker has a session for the engine and the bulk lane"),
        (set(), "DOWN", "no worker has a session"),
    ],
)
def test_a_lane_that_the_broker_lets_nobody_have_is_told(
    api: Api, conn: Connection, lanes: set[str], status: str, reason: str | None
) -> None:
    beat(conn, "ingest-urgent@a:1", urgent_ready="urgent" in lanes, broker_round_trip_s=0.002)
    beat(conn, "ingest-engine@a:2", engine_ready="engine" in lanes)
    beat(conn, "ingest-bulk@a:3", bulk_ready="bulk" in lanes)
    told = systems(api)["broker"]
    assert (told["status"], told["reason"], told["responseTime"]) == (status, reason, "2ms")


def test_nothing_that_was_not_measured_has_a_figure(api: Api) -> None:
    told = systems(api)
    assert told["broker"] == {
        "status": "UNKNOWN", "reason": "no worker has measured it yet", "responseTime": None,
        "responseTimeSeconds": None,
    }  # fmt: skip
    assert (told["ingest"]["lagSeconds"], told["ingest"]["waiting"]) == (None, None)
    notifications = told["notificationSystem"]
    assert (notifications["status"], notifications["deliveryRate"]) == ("UNKNOWN", None)
    assert notifications["reason"] == "nothing has been sent yet"


def test_the_rate_is_what_was_confirmed_among_what_was_sent(api: Api, conn: Connection) -> None:
    for name, sent, confirmed in (("ingest@a:1", 500, 500), ("ingest@b:2", 496, 494)):
        beat(conn, name, receipts_sent=sent, receipts_confirmed=confirmed, urgent_ready=True)
    deliver(conn, outcomes=["DELIVERED", "DELIVERED", "FAILED", "withdrawn", "", ""])
    told = systems(api)["notificationSystem"]
    # 994 receipts and 2 webhooks arrived, of 996 and 3: 99.699…, never rounded up.
    assert (told["deliveryRate"], told["status"], told["pendingNotifications"]) == ("99.6%", "OPERATIONAL", 4)
    assert (told["webhooksDelivered"], told["webhooksFailed"], told["webhooksPending"]) == (2, 1, 2)


def test_webhooks_of_yesterday_are_no_news_and_those_that_still_wait_are(api: Api, conn: Connection) -> None:
    deliver(conn, outcomes=["DELIVERED", "FAILED", ""], at=datetime.now(UTC) - timedelta(days=2))
    told = systems(api)["notificationSystem"]
    assert (told["deliveryRate"], told["webhooksDelivered"], told["webhooksPending"]) == (None, 0, 1)


def test_a_lag_is_told_and_warned_of_and_a_dead_workers_figures_are_not(api: Api, conn: Connection) -> None:
    beat(conn, "ingest@a:1", lag_s=7.2, urgent_waiting=3, bulk_waiting=40, urgent_ready=True)
    past = datetime.now(UTC) - timedelta(minutes=1)
    dead = {"lag_s": 99.0, "urgent_waiting": 9, "receipts_sent": 5, "receipts_confirmed": 0}
    processes.beat(conn, Process("ingest@b:2", past, past, ready=True, figures=dead))
    conn.commit()
    answer = api.call("GET", "/sos/system/health").json()
    assert (answer["systems"]["ingest"]["lagSeconds"], answer["systems"]["ingest"]["waiting"]) == (7.2, 43)
    assert "the oldest message that is not stored has waited 7 s" in [alert["message"] for alert in answer["alerts"]]
    assert answer["systems"]["notificationSystem"]["receiptsSent"] == 0


def test_open_streams_are_counted_over_the_processes(api: Api, conn: Connection) -> None:
    beat(conn, "api@other:1", openStreams=7)
    with streaming(api):
        wait_until(lambda: systems(api)["notificationSystem"]["openStreams"] == 8, wait_s=15)
