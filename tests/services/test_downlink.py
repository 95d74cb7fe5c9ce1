"""What the worker tells vehicles while the broker is frozen, dead or back: nothing late, and nothing lost."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from db import events
from db.events import NewEvent
from db.pool import Connection
from mosquitto import config
from schemas.command import CommandMessage, CommandType
from schemas.topics import Downlink
from stack.broker import Broker
from stack.server import Server, process_runs, wait_until
from tests.tcu import Tcu

VIN, OTHER_VIN = "KMHSH81C7LU123456", "KMHSH81C7LU123457"
Connect = Callable[[str], Tcu]


def issue(conn: Connection, *, expires_in_s: float, vin: str = VIN) -> str:
    now = datetime.now(UTC)
    command = CommandMessage(
        command_id=str(uuid4()),
        type=CommandType.ENGINE_START_BLOCK,
        issued_at=now,
        expires_at=now + timedelta(seconds=expires_in_s),
        parameters={"until": "2026-03-09T23:00:00Z"},
    )
    data = command.model_dump(mode="json", by_alias=True)
    events.append(
        conn, NewEvent(service="COMMAND", type="COMMAND_ISSUED", priority="NORMAL", vin=vin, occurred_at=now, data=data)
    )
    conn.commit()
    return command.command_id


def test_a_block_that_the_broker_did_not_take_in_time_is_never_sent(
    worker: Server, sequencer: Server, tcu: Connect, conn: Connection, broker: Broker
) -> None:
    assert worker.pid
    assert sequencer.pid
    first = tcu(VIN)
    taken = issue(conn, expires_in_s=60)
    assert first.down(Downlink.COMMAND)["commandId"] == taken
    os.kill(broker.pid, signal.SIGSTOP)
    issue(conn, expires_in_s=3)
    time.sleep(4)  # published into the frozen connection, and expired there
    broker.kill()
    first.close()  # or it would take the later connection's messages
    broker.start()
    again = tcu(VIN)
    fresh = issue(conn, expires_in_s=60)
    assert again.down(Downlink.COMMAND, wait_s=30)["commandId"] == fresh


def test_the_worker_outlives_a_broker_that_is_away_when_a_vehicle_is_to_be_told(
    worker: Server, sequencer: Server, tcu: Connect, conn: Connection, broker: Broker
) -> None:
    assert sequencer.pid
    tcu(VIN).close()  # or it would take the later connection's messages
    broker.kill()
    issue(conn, expires_in_s=60)

    def numbered() -> bool:
        conn.rollback()
        return len(events.after(conn, 0, limit=10)) == 1

    wait_until(numbered, wait_s=15)
    time.sleep(2)
    broker.start()
    vehicle = tcu(VIN)
    # The first may have gone out before the vehicle was back; this one cannot.
    later = issue(conn, expires_in_s=60)
    while vehicle.down(Downlink.COMMAND, wait_s=45)["commandId"] != later:
        continue
    assert process_runs(worker.pid)


@contextmanager
def writing(broker: Broker, allowed: str) -> Iterator[None]:
    """The broker takes from the worker what these lines of its access list say; it has read them once one connects."""
    acl = broker.directory / "acl"
    text = acl.read_text()
    assert WRITES in text
    acl.write_text(text.replace(WRITES, allowed))
    config.reload(broker.directory)
    try:
        yield
    finally:
        acl.write_text(text)
        config.reload(broker.directory)


WRITES = "topic write tcu/v1/+/down/#"


@pytest.mark.usefixtures("worker", "sequencer")
def test_what_the_broker_refuses_for_one_vehicle_holds_up_no_other(
    tcu: Connect, conn: Connection, broker: Broker
) -> None:
    with writing(broker, f"{WRITES}\ntopic deny tcu/v1/{VIN}/down/#"):
        other = tcu(OTHER_VIN)
        for vin in (VIN, OTHER_VIN, VIN, OTHER_VIN):
            issued = issue(conn, expires_in_s=60, vin=vin)
            if vin == OTHER_VIN:
                assert other.down(Downlink.COMMAND)["commandId"] == issued


@pytest.mark.usefixtures("worker", "sequencer")
def test_while_the_broker_refuses_everything_nothing_is_passed_over(
    tcu: Connect, conn: Connection, broker: Broker
) -> None:
    with writing(broker, "topic write tcu/v1/+/up/#"):
        vehicle = tcu(VIN)
        issued = issue(conn, expires_in_s=60)
        time.sleep(3)
    assert vehicle.down(Downlink.COMMAND)["commandId"] == issued
