"""Message ids: a second delivery has one effect, and no use of an id costs anybody an SOS."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from threading import Thread
from uuid import UUID

import pytest

from db import curfew as db_curfew
from db import messages, telemetry, vehicles
from db.errors import DatabaseError
from db.messages import Claim
from db.pool import Connection, connect
from db.telemetry import StatusRow
from ingest import lane, pipeline
from ingest.inbox import Received
from ingest.pipeline import Outcome, store, store_refused
from ingest.recent import RecentIds
from rules.apply import curfew
from rules.apply import sos as apply_sos
from schemas.receipt import ReceiptResult
from schemas.topics import Uplink, uplink_topic
from stack.server import wait_until
from tests.faults.fleet import ALL_DAY
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
    [(cid,)] = conn.execute("SELECT cid FROM sos_incidents WHERE vin = %s", (VIN,)).fetchall()
    assert [(receipt["result"], receipt["cid"]) for receipt in receipts] == [("STORED", cid), ("DUPLICATE", cid)]


def message(kind: Uplink, now: datetime, **fields: object) -> Received:
    body = {"messageId": str(FIRST), "timestamp": now.isoformat(), **fields}
    return Received(uplink_topic(VIN, kind), json.dumps(body).encode(), now)


def test_a_press_that_comes_again_beside_a_presence_of_the_same_id_is_the_same_press(conn: Connection) -> None:
    conn.autocommit = True
    now = datetime.now(UTC)
    press = message(Uplink.SOS, now, emergencyType="FIRE")
    store(conn, [press], known_vins=set(), now=now)
    _, again = store(conn, [message(Uplink.PRESENCE, now, online=True), press], known_vins=set(), now=now)
    assert again.result is ReceiptResult.DUPLICATE


def test_a_press_and_an_engine_event_with_one_id_do_not_deadlock_in_their_lanes(
    conn: Connection, database_url: str
) -> None:
    """The engine event is claimed and then judged, which takes the vehicle's lock; the press needs both too."""
    conn.autocommit = True
    now = datetime.now(UTC)
    vehicles.register(conn, [VIN])
    curfew.set_policy(conn, VIN, ALL_DAY, actor="guardian", if_match=None, now=now)
    outcomes: list[Outcome] = []

    def press() -> None:
        with connect(database_url, name="tests-urgent", autocommit=True) as urgent:
            outcomes.extend(store(urgent, [message(Uplink.SOS, now)], known_vins={VIN}, now=now))

    def waits() -> bool:
        query = "SELECT wait_event_type FROM pg_stat_activity WHERE application_name = 'tests-urgent'"
        with connect(database_url, name="tests") as watcher:
            return watcher.execute(query).fetchone() == ("Lock",)

    urgent_lane = Thread(target=press)
    with conn.transaction():
        messages.claim(conn, [Claim(VIN, FIRST, Uplink.ENGINE, now)])
        urgent_lane.start()
        wait_until(waits, wait_s=15)
        db_curfew.lock_watch(conn, VIN)
    urgent_lane.join()
    assert [outcome.result for outcome in outcomes] == [ReceiptResult.STORED]


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


def test_a_second_delivery_of_status_costs_its_batch_no_second_way(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged: list[int] = []
    merge = telemetry._merge

    def counted(conn: Connection, rows: Sequence[StatusRow]) -> int:
        staged.append(len(rows))
        return merge(conn, rows)

    monkeypatch.setattr(telemetry, "_merge", counted)
    now = datetime.now(UTC)

    def status(number: int) -> Received:
        body = {"messageId": str(UUID(int=number)), "timestamp": now.isoformat(), "speedKph": 1}
        return Received(uplink_topic(VIN, Uplink.STATUS), json.dumps(body).encode(), now)

    first, second = [status(n) for n in range(100)], [status(n) for n in range(100, 200)]
    with connect(database_url, name="tests", autocommit=True) as conn:
        recent = RecentIds()
        for batch in (first, [*second, first[5], second[7], first[5]]):
            store(conn, batch, known_vins=set(), recent=recent, now=now)
        assert staged == [3]
        store(conn, [status(200), first[5]], known_vins=set(), recent=RecentIds(), now=now)  # a worker that starts
        assert staged == [3, 2]
        assert conn.execute("SELECT count(*) FROM vehicle_status").fetchone() == (201,)
        assert conn.execute("SELECT sum(messages)::int FROM second_deliveries").fetchone() == (4,)


def test_of_late_is_bounded_and_never_less_than_it_promises() -> None:
    recent, at = RecentIds(most=10), datetime.now(UTC)
    told = dict.fromkeys(StatusRow._fields) | {"vin": VIN, "occurred_at": at, "received_at": at}
    rows = [StatusRow(**told | {"message_id": UUID(int=number)}) for number in range(100)]
    for number, row in enumerate(rows):
        assert recent.split([row]) == ([row], [])
        since = max(0, number - 9)
        assert recent.split(rows[since : number + 1]) == ([], rows[since : number + 1])
        assert len(recent._newer) + len(recent._older) <= 20


def test_what_the_session_read_ahead_is_decoded_once_and_what_it_could_not_is_left_to_the_lane(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Received) -> None:
        raise RecursionError

    now = datetime.now(UTC)
    body = {"messageId": str(FIRST), "timestamp": now.isoformat(), "speedKph": 1}
    received = Received(uplink_topic(VIN, Uplink.STATUS), json.dumps(body).encode(), now)
    ahead = received._replace(step=lane._read_ahead(received))
    monkeypatch.setattr(pipeline, "decode", fail)
    monkeypatch.setattr(lane, "decode", fail)
    assert lane._read_ahead(received) is None
    with connect(database_url, name="tests", autocommit=True) as conn:
        store(conn, [ahead], known_vins=set(), now=now)
        assert conn.execute("SELECT message_id, speed_kph FROM vehicle_status").fetchall() == [(FIRST, 1.0)]
        with pytest.raises(RecursionError):
            store(conn, [received], known_vins=set(), now=now)


def test_a_press_that_our_own_errors_keep_from_being_raised_is_kept(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError  # with nothing to say

    conn.autocommit = True
    monkeypatch.setattr(apply_sos, "press", fail)
    press = message(Uplink.SOS, datetime.now(UTC), emergencyType="FIRE")
    outcome = store_refused(conn, press, AssertionError(), now=datetime.now(UTC))
    assert (outcome.vin, outcome.result) == (None, ReceiptResult.QUARANTINED)
    (kept,) = messages.list_quarantine(conn, limit=10, offset=0, with_replayed=False)
    assert (kept.payload, kept.vin, kept.reason, kept.detail) == (press.payload, VIN, "NOT_RAISED", "AssertionError")


def test_a_press_is_not_given_up_while_the_database_is_away(
    database_url: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_the_connection(lane: Connection, *_: object, **__: object) -> None:
        conn.execute("SELECT pg_terminate_backend(%s)", (lane.info.backend_pid,))
        lane.execute("SELECT 1")

    monkeypatch.setattr(apply_sos, "press", end_the_connection)
    with connect(database_url, name="lane", autocommit=True) as lane, pytest.raises(DatabaseError):
        store_refused(lane, message(Uplink.SOS, datetime.now(UTC)), ValueError("x"), now=datetime.now(UTC))
    assert messages.count_quarantine(conn, with_replayed=True) == 0
