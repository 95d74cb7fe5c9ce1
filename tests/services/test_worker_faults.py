"""The worker killed, stopped and cut off: what a vehicle was promised is in the database, once."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from db.pool import Connection, connect
from ingest.broker import client_id
from mosquitto import pki
from schemas.topics import Downlink, LaneName, Uplink, uplink_topic
from stack.broker import Broker
from stack.postgres import Postgres
from stack.server import Server, wait_until
from tests.processes import leave_subscription
from tests.tcu import Tcu, message

Connect = Callable[[str], Tcu]

KILLS = 20
VEHICLES = 50
STATUS_PER_ROUND = 5


def count(conn: Connection, query: str) -> int:
    conn.rollback()
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_killed_twenty_times_the_worker_stores_every_message_once(
    stopped_worker: Server, tcu: Connect, conn: Connection
) -> None:
    """5,000 messages of 50 vehicles, one SOS each, over 20 kills at random moments."""
    random = Random(20)
    fleet = [tcu(f"KMHKLL{number:011d}") for number in range(VEHICLES)]
    status_ids: set[UUID] = set()
    presses: dict[str, str] = {}
    stopped_worker.start()
    for round_ in range(KILLS):
        sent = []
        for number, vehicle in enumerate(fleet):
            for _ in range(STATUS_PER_ROUND - (number % KILLS == round_ and vehicle.vin not in presses)):
                body = message(speedKph=random.uniform(0, 100), engineStatus="ON")
                status_ids.add(UUID(body["messageId"]))
                sent.append(vehicle.publish_soon(Uplink.STATUS, json.dumps(body).encode()))
            if number % KILLS == round_:
                body = message(emergencyType="ACCIDENT")
                presses[vehicle.vin] = body["messageId"]
                sent.append(vehicle.publish_soon(Uplink.SOS, json.dumps(body).encode()))
        sent[random.randrange(len(sent))].wait_for_publish(30)
        time.sleep(random.uniform(0, 0.1))
        stopped_worker.kill()
        for info in sent:
            info.wait_for_publish(30)
        stopped_worker.start()
    assert len(status_ids) + len(presses) == 5000

    wait_until(lambda: count(conn, "SELECT count(*) FROM vehicle_status") >= len(status_ids), wait_s=60)
    stored = [row[0] for row in conn.execute("SELECT message_id FROM vehicle_status")]
    assert len(stored) == len(set(stored))
    assert set(stored) == status_ids
    wait_until(lambda: count(conn, "SELECT count(*) FROM sos_incidents") >= VEHICLES, wait_s=60)
    assert dict(conn.execute("SELECT vin, count(*) FROM sos_incidents GROUP BY vin").fetchall()) == dict.fromkeys(
        presses, 1
    )
    # Every press is receipted in the end, though perhaps as a second delivery.
    for vehicle in fleet:
        vehicle.publish(Uplink.SOS, json.dumps(message(messageId=presses[vehicle.vin])).encode())
        assert vehicle.receipt_of(presses[vehicle.vin])["result"] in {"STORED", "DUPLICATE"}
    assert count(conn, "SELECT count(*) FROM sos_incidents") == VEHICLES


def test_asked_to_stop_the_worker_finishes_its_batch_and_leaves_the_rest_with_the_broker(
    worker: Server, tcu: Connect, conn: Connection
) -> None:
    vehicle = tcu("KMHSH81C7LU123456")
    sent = [vehicle.publish_soon(Uplink.STATUS, json.dumps(message(speedKph=n % 200)).encode()) for n in range(20_000)]
    sent[500].wait_for_publish(30)
    worker.stop()
    for info in sent:
        info.wait_for_publish(30)
    before = count(conn, "SELECT count(*) FROM vehicle_status")
    worker.start()
    wait_until(lambda: count(conn, "SELECT count(*) FROM vehicle_status") >= len(sent), wait_s=60)
    assert before < len(sent)
    assert count(conn, "SELECT count(*) FROM vehicle_status") == len(sent)


@pytest.mark.parametrize(
    ("kind", "fields", "table"),
    [
        (Uplink.STATUS, {"speedKph": 1}, "vehicle_status"),
        (Uplink.ENGINE, {"event": "START"}, "engine_events"),
    ],
)
def test_an_sos_overtakes_a_backlog_of_anything_else(
    stopped_worker: Server, tcu: Connect, conn: Connection, kind: Uplink, fields: dict[str, Any], table: str
) -> None:
    stopped_worker.start()
    stopped_worker.stop()  # the broker now keeps a session for it
    other, vehicle = tcu("KMHSH81C7LU000001"), tcu("KMHSH81C7LU123456")
    backlog = [other.publish_soon(kind, json.dumps(message(**fields)).encode()) for _ in range(20_000)]
    for info in backlog:
        info.wait_for_publish(60)
    message_id = vehicle.send(Uplink.SOS)
    stopped_worker.start()
    vehicle.receipt_of(message_id)
    wait_until(lambda: count(conn, f"SELECT count(*) FROM {table}") == len(backlog), wait_s=60)  # noqa: S608 - names of ours
    behind = f"SELECT count(*) FROM {table} WHERE received_at > (SELECT updated_at FROM sos_incidents)"  # noqa: S608 - likewise
    assert count(conn, behind) > 0  # the lanes begin at once, and the backlog is through in seconds


def test_a_session_from_before_is_rid_of_what_another_lane_takes(
    stopped_worker: Server, tcu: Connect, conn: Connection, broker: Broker, pki_dir: Path
) -> None:
    credentials = pki.issue_service(pki_dir, "ingest")
    leave_subscription(broker, credentials, client_id(credentials.key, LaneName.ENGINE), uplink_topic("+", Uplink.SOS))
    stopped_worker.start()
    vehicle = tcu("KMHSH81C7LU123456")
    pressed = vehicle.send(Uplink.SOS)
    vehicle.receipt_of(pressed)
    vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="START"))
    assert [one["messageId"] for one in vehicle.take(Downlink.RECEIPT)] == []
    assert count(conn, "SELECT coalesce(sum(messages), 0) FROM second_deliveries") == 0


def test_messages_wait_out_a_database_restart_and_a_broker_restart(
    worker: Server, tcu: Connect, postgres_server: Postgres, broker: Broker, database_url: str
) -> None:
    assert worker.pid
    vehicle = tcu("KMHSH81C7LU123456")
    vehicle.receipt_of(vehicle.send(Uplink.ENGINE, event="START"))
    postgres_server.kill()
    while_away = vehicle.send(Uplink.ENGINE, event="STOP")
    postgres_server.start()
    assert vehicle.receipt_of(while_away)["result"] == "STORED"
    broker.stop()
    broker.start()
    again = tcu("KMHSH81C7LU123457")
    assert again.receipt_of(again.send(Uplink.ENGINE, event="START"))["result"] == "STORED"
    with connect(database_url, name="tests") as conn:
        assert count(conn, "SELECT count(*) FROM engine_events") == 3
