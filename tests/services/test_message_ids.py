"""Message ids: a second delivery has one effect, and no use of an id costs anybody an SOS."""

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Thread
from uuid import UUID

import pytest

from db import messages
from db.messages import Claim
from db.pool import Connection, connect
from schemas.topics import Uplink
from stack.server import wait_until
from tests.tcu import Tcu

VIN = "KMHSH81C7LU123456"
FIRST, SECOND = UUID(int=1), UUID(int=2)


@pytest.mark.usefixtures("worker")
def test_a_press_with_an_id_that_another_kind_has_used_is_raised_once(
    tcu: Callable[[str], Tcu], conn: Connection
) -> None:
    vehicle = tcu(VIN)
    used = vehicle.send(Uplink.ENGINE, event="START")
    assert vehicle.receipt_of(used)["result"] == "STORED"
    receipts = []
    for _ in range(2):
        vehicle.send(Uplink.SOS, messageId=used, emergencyType="FIRE")
        receipts.append(vehicle.receipt_of(used))
    [(cid,)] = conn.execute("SELECT cid FROM sos_incidents").fetchall()
    assert [(receipt["result"], receipt["cid"]) for receipt in receipts] == [("STORED", cid), ("DUPLICATE", cid)]


def claim(conn: Connection, *ids: UUID) -> set[tuple[str, UUID]]:
    return messages.claim(conn, [Claim(VIN, id_, "engine", datetime.now(UTC)) for id_ in ids])


def test_two_lanes_that_take_the_same_ids_do_not_deadlock(conn: Connection, database_url: str) -> None:
    claim(conn, FIRST)
    taken: list[set[tuple[str, UUID]]] = []

    def take_both() -> None:
        with connect(database_url, name="tests-other-lane") as other:
            taken.append(claim(other, SECOND, FIRST))

    def waits() -> bool:
        query = "SELECT wait_event_type FROM pg_stat_activity WHERE application_name = 'tests-other-lane'"
        with connect(database_url, name="tests") as watcher:
            return watcher.execute(query).fetchone() == ("Lock",)

    other_lane = Thread(target=take_both)
    other_lane.start()
    wait_until(waits, wait_s=15)
    assert claim(conn, SECOND) == {(VIN, SECOND)}
    conn.commit()
    other_lane.join()
    assert taken == [set()]
