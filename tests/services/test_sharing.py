"""Several workers at once: refused on a broker that loses messages, and each message once where they share."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from db import broker_checks, processes
from db.pool import Connection, connect
from ingest.broker import client_id
from ingest.settings import WorkerSettings
from ingest.sharing import NotShared, check, require_check
from mosquitto import pki
from schemas.topics import LaneName, Uplink
from stack.broker import Broker
from stack.server import Server, wait_until
from tests.processes import drop_session, is_ready, product_process, worker_environment
from tests.tcu import Tcu, message

Connect = Callable[[str], Tcu]
MEMBERS = ("one", "two")


@pytest.fixture
def settings(broker: Broker, pki_dir: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> WorkerSettings:
    for name, value in worker_environment(broker, pki_dir, database_url).items():
        monkeypatch.setenv(name, value)
    return WorkerSettings()


@pytest.fixture
def credentials(broker: Broker, pki_dir: Path) -> Iterator[pki.Credentials]:
    """The worker's; the sessions of the checks and of both members are dropped afterwards."""
    found = pki.issue_service(pki_dir, "ingest")
    yield found
    for name in ("sharing-check", *(f"{lane}-{member}" for lane in LaneName for member in MEMBERS)):
        drop_session(broker, found, client_id(found.key, name), port=broker.services_port)


def restarter(broker: Broker) -> Callable[[], None]:
    def restart() -> None:
        broker.stop()
        broker.start()

    return restart


def test_a_broker_that_loses_a_shared_subscriptions_messages_is_found_out(
    settings: WorkerSettings, broker: Broker, credentials: pki.Credentials, conn: Connection
) -> None:
    conn.autocommit = True
    assert check(settings, conn, restart=restarter(broker), shared=False)  # it does keep a plain subscription's
    drop_session(broker, credentials, client_id(credentials.key, "sharing-check"), port=broker.services_port)
    with pytest.raises(NotShared, match="never tried"):
        require_check(conn, settings.broker)
    assert not check(settings, conn, restart=restarter(broker))  # Mosquitto
    with pytest.raises(NotShared, match="lost messages"):
        require_check(conn, settings.broker)


def test_a_worker_refuses_to_share_on_a_broker_that_was_not_tried(
    broker: Broker, pki_dir: Path, database_url: str
) -> None:
    environment = worker_environment(broker, pki_dir, database_url) | {
        "TCU_INGEST_GROUP": "workers",
        "TCU_INGEST_MEMBER": "one",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "ingest"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "python -m ingest check-sharing" in ended.stderr


@pytest.mark.usefixtures("credentials")
def test_on_a_broker_that_passed_two_workers_share_and_each_message_is_stored_once(
    settings: WorkerSettings, broker: Broker, pki_dir: Path, database_url: str, tcu: Connect, tmp_path: Path
) -> None:
    with connect(database_url, name="tests") as conn:
        broker_checks.put(conn, settings.broker, keeps_shared=True, at=datetime.now(UTC))
    members: list[Server] = []
    try:
        for name in MEMBERS:
            environment = worker_environment(broker, pki_dir, database_url)
            environment |= {"TCU_INGEST_GROUP": "workers", "TCU_INGEST_MEMBER": name}
            member = product_process("ingest", environment, log=tmp_path / f"{name}.log", ready=lambda: True)
            members.append(member)
            member.start()
        wait_until(lambda: all(is_ready(database_url, "ingest", member.pid) for member in members), wait_s=30)
        fleet = [tcu(f"KMHSHARE{number:09d}") for number in range(1, 21)]
        sent = {message()["messageId"]: vehicle for vehicle in fleet for _ in range(20)}
        for message_id, vehicle in sent.items():
            vehicle.publish_soon(Uplink.STATUS, json.dumps(message(messageId=message_id, speedKph=5)).encode())
        presses = [(vehicle, vehicle.send(Uplink.SOS, emergencyType="ACCIDENT")) for vehicle in fleet]
        for vehicle, press in presses:
            assert vehicle.receipt_of(press)["result"] == "STORED"

        def stored() -> list[UUID]:
            with connect(database_url, name="tests") as conn:
                return [row[0] for row in conn.execute("SELECT message_id FROM vehicle_status")]

        wait_until(lambda: len(stored()) >= len(sent), wait_s=30)
        assert sorted(map(str, stored())) == sorted(sent)

        def by_member() -> list[int]:
            with connect(database_url, name="tests") as conn:
                found = processes.list_all(conn)
            return [p.figures.get("bulk_stored", 0) for p in found if p.name.startswith("ingest@")]

        wait_until(lambda: sum(by_member()) >= len(sent), wait_s=15)
        assert all(by_member())  # both have done some of it
    finally:
        for member in members:
            member.stop()
