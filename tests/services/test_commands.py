"""Commands to vehicles: when the next start is forbidden, sent again, lifted, and over."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from db import commands, events, telemetry, vehicles
from db import curfew as db_curfew
from db.commands import Command
from db.pool import Connection, connect
from db.telemetry import EngineRow, StatusRow
from ingest.downlink import to_vehicle
from ingest.inbox import Received
from ingest.pipeline import store
from rules import jobs
from rules.apply import commands as apply
from rules.apply import curfew
from rules.apply import sos as apply_sos
from rules.errors import NotFoundError
from schemas.base import format_instant
from schemas.command import AckStatus
from schemas.curfew import CurfewExceptionRequest, CurfewPolicyRequest
from schemas.sos import SosReport
from stack.server import wait_until
from tests.api import serving

VIN = "KMHSH81C7LU123456"
MONDAY = datetime(2026, 3, 9, tzinfo=UTC)
NIGHT = MONDAY + timedelta(hours=21, minutes=30)
POLICY = {
    "enabled": True,
    "timezone": "UTC",
    "days": ["monday"],
    "timeWindow": {"start": "21:00", "end": "23:00"},
    "actions": ["notification", "in_vehicle_warning", "engine_start_block"],
}


PARKED = {"engineStatus": "OFF", "transmissionStatus": "PARK", "speedKph": 0}


def after(seconds: float) -> datetime:
    return NIGHT + timedelta(seconds=seconds)


def seen(conn: Connection, seconds: float, engine: str = "OFF", gear: str = "PARK", speed: float = 0.0) -> None:
    """The vehicle reports itself, and is judged for it."""
    when = after(seconds)
    unknown = dict.fromkeys(
        (
            "latitude",
            "longitude",
            "accuracy_m",
            "heading_deg",
            "odometer_km",
            "battery_voltage",
            "fuel_level",
            "drivable",
        )
    )
    row = StatusRow(
        vin=VIN,
        message_id=uuid4(),
        occurred_at=when,
        received_at=when,
        clock_suspect=False,
        speed_kph=speed,
        engine_status=engine,
        transmission_status=gear,
        dtc_codes=None,
        **unknown,
    )
    telemetry.store_status(conn, [row])
    curfew.judge(conn, VIN, since=when, until=when, now=when)


def says(conn: Connection, seconds: float, kind: str, **fields: object) -> None:
    """The worker takes a message of the vehicle, and the job judges what a status showed."""
    when = after(seconds)
    body = {"messageId": str(uuid4()), "timestamp": format_instant(when), **fields}
    received = Received(f"tcu/v1/{VIN}/up/{kind}", json.dumps(body).encode(), when)
    store(conn, [received], known_vins=set(), now=when)
    if kind == "status":
        jobs.judge_curfews(conn, when)


@pytest.fixture
def car(conn: Connection) -> Connection:
    """A vehicle whose policy forbids starts and warns, with the driver's consent."""
    vehicles.register(conn, [VIN])
    long_ago = MONDAY - timedelta(days=30)
    policy = CurfewPolicyRequest.model_validate(POLICY)
    curfew.set_policy(conn, VIN, policy, actor="guardian", if_match=None, now=long_ago)
    curfew.record_consent(conn, VIN, granted=True, actor="driver", at=long_ago, now=long_ago)
    return conn


def sent(conn: Connection) -> list[tuple[str, str, int]]:
    return [(c.type, c.outcome, c.sends) for c in reversed(commands.of_vehicle(conn, VIN, limit=50, offset=0))]


def newest(conn: Connection) -> Command:
    return commands.of_vehicle(conn, VIN, limit=1, offset=0)[0]


def answered(conn: Connection, seconds: float, status: AckStatus = AckStatus.EXECUTED) -> None:
    """The vehicle answers the newest command."""
    when = after(seconds)
    apply.acknowledge(conn, VIN, newest(conn).command_id, status=status, reason=None, acked_at=when, now=when)


def test_a_vehicle_parked_inside_its_curfew_is_kept_from_starting_until_the_window_ends(car: Connection) -> None:
    seen(car, 0)
    assert sent(car) == [("ENGINE_START_BLOCK", "PENDING", 1)]
    assert newest(car).parameters == {"until": "2026-03-09T23:00:00Z"}
    assert newest(car).expires_at == after(60)


def test_one_that_parked_before_the_window_opened_is_blocked_when_it_next_reports(car: Connection) -> None:
    jobs.judge_curfews(car, MONDAY + timedelta(hours=20))
    says(car, -40 * 60, "status", **PARKED)
    jobs.judge_curfews(car, MONDAY + timedelta(hours=21))
    assert sent(car) == []
    says(car, -29 * 60, "status", **PARKED)
    assert sent(car) == [("ENGINE_START_BLOCK", "PENDING", 1)]


def test_one_whose_stop_is_heard_before_the_status_that_shows_it_parked_is_blocked_by_the_status(
    car: Connection,
) -> None:
    says(car, 0, "status", engineStatus="ON", transmissionStatus="DRIVE", speedKph=30)
    says(car, 60, "engine", event="STOP")
    assert "ENGINE_START_BLOCK" not in [type_ for type_, _, _ in sent(car)]
    says(car, 60.1, "status", **PARKED)
    assert sent(car)[1:] == [("ENGINE_START_BLOCK", "PENDING", 1)]


def test_one_that_answers_nothing_is_blocked_again_only_after_ten_minutes_though_the_block_was_lifted(
    car: Connection,
) -> None:
    def blocks() -> int:
        return [type_ for type_, _, _ in sent(car)].count("ENGINE_START_BLOCK")

    says(car, 0, "status", **PARKED)
    jobs.send_commands(car, after(11))  # withdrawn and lifted: the status is 11 s old
    says(car, 60, "status", **PARKED)
    says(car, 599, "status", **PARKED)
    assert blocks() == 1
    says(car, 600, "status", **PARKED)
    assert blocks() == 2


def test_one_that_has_taken_its_block_gets_no_other(car: Connection) -> None:
    says(car, 0, "status", **PARKED)
    block = newest(car)
    apply.acknowledge(
        car, VIN, block.command_id, status=AckStatus.EXECUTED, reason=None, acked_at=after(1), now=after(1)
    )
    for seconds in (60, 600, 1200):
        says(car, seconds, "status", **PARKED)
    assert sent(car) == [("ENGINE_START_BLOCK", "EXECUTED", 1)]


@pytest.mark.parametrize(("engine", "gear", "speed"), [("ON", "PARK", 0), ("OFF", "DRIVE", 0), ("OFF", "PARK", 5)])
def test_one_that_may_be_moving_never_is(car: Connection, engine: str, gear: str, speed: float) -> None:
    seen(car, 0, engine, gear, speed)
    assert "ENGINE_START_BLOCK" not in [type_ for type_, _, _ in sent(car)]


def test_a_block_without_an_answer_is_sent_again_while_the_vehicle_surely_stands_and_then_expires(
    car: Connection,
) -> None:
    seen(car, 0)
    for seconds in (5, 10, 20, 30, 45):
        seen(car, seconds - 1)
        jobs.send_commands(car, after(seconds))
    assert sent(car) == [("ENGINE_START_BLOCK", "PENDING", 3)]
    jobs.send_commands(car, after(60))
    assert sent(car) == [("ENGINE_START_BLOCK", "EXPIRED", 3)]


def test_a_block_is_withdrawn_and_lifted_when_its_preconditions_hold_no_more(car: Connection) -> None:
    seen(car, 0)
    jobs.send_commands(car, after(11))  # the last status is 11 s old by now
    assert sent(car) == [("ENGINE_START_BLOCK", "WITHDRAWN", 1), ("ENGINE_START_RELEASE", "PENDING", 1)]
    assert newest(car).parameters == {"reason": "STATUS_NOT_FRESH"}


def test_a_start_that_no_status_has_followed_yet_withdraws_a_block(car: Connection) -> None:
    seen(car, 0)
    seen(car, 5)
    start = EngineRow(VIN, uuid4(), after(6), after(6), False, "START", None, None, None)  # noqa: FBT003 - clock_suspect
    telemetry.store_engine_event(car, start)
    jobs.send_commands(car, after(10))
    assert sent(car) == [("ENGINE_START_BLOCK", "WITHDRAWN", 1), ("ENGINE_START_RELEASE", "PENDING", 1)]
    assert newest(car).parameters == {"reason": "ENGINE_NOT_OFF"}


def test_an_sos_lifts_the_block_in_its_own_transaction(car: Connection) -> None:
    seen(car, 0)
    block = newest(car)
    apply.acknowledge(
        car, VIN, block.command_id, status=AckStatus.EXECUTED, reason=None, acked_at=after(1), now=after(1)
    )
    apply_sos.press(car, apply_sos.Press(VIN, "TCU", SosReport(), after(2), after(2)), now=after(2))
    assert sent(car) == [("ENGINE_START_BLOCK", "EXECUTED", 1), ("ENGINE_START_RELEASE", "PENDING", 1)]
    assert newest(car).parameters == {"reason": "SOS_OPEN"}
    seen(car, 3)
    assert len(sent(car)) == 2  # and no new block while the SOS is open


def test_a_release_that_nobody_answers_is_issued_anew_until_the_block_has_ended_by_itself(car: Connection) -> None:
    seen(car, 0)
    answered(car, 1)
    grant = CurfewExceptionRequest(start_time=after(120), end_time=after(7200), reason="work")
    curfew.grant_exception(car, VIN, grant, actor="guardian", now=after(100))
    curfew.judge(car, VIN, since=after(120), until=after(120), now=after(120))
    assert sent(car)[1:] == [("ENGINE_START_RELEASE", "PENDING", 1)]
    for seconds in (180, 240):  # out of coverage
        jobs.send_commands(car, after(seconds))
    assert sent(car)[1:] == [("ENGINE_START_RELEASE", outcome, 1) for outcome in ("EXPIRED", "EXPIRED", "PENDING")]
    answered(car, 241)
    jobs.send_commands(car, after(300))
    assert sent(car)[-1] == ("ENGINE_START_RELEASE", "EXECUTED", 1)
    assert len(sent(car)) == 4


def test_a_release_is_not_issued_anew_once_the_block_has_ended_by_itself(car: Connection) -> None:
    seen(car, 0)
    answered(car, 1)
    end = MONDAY + timedelta(hours=23)
    curfew.judge(car, VIN, since=end, until=end, now=end)
    jobs.send_commands(car, end + timedelta(seconds=60))
    assert sent(car)[1:] == [("ENGINE_START_RELEASE", "EXPIRED", 1)]


def test_an_sos_lifts_a_block_whose_former_release_failed(car: Connection) -> None:
    seen(car, 0)
    answered(car, 1)
    apply.release_start(car, VIN, reason="CURFEW_OVER", now=after(2))
    answered(car, 3, AckStatus.FAILED)
    apply_sos.press(car, apply_sos.Press(VIN, "TCU", SosReport(), after(4), after(4)), now=after(4))
    assert sent(car)[1:] == [("ENGINE_START_RELEASE", "FAILED", 1), ("ENGINE_START_RELEASE", "PENDING", 1)]


def test_the_end_of_the_window_lifts_the_block(car: Connection) -> None:
    seen(car, 0)
    end = MONDAY + timedelta(hours=23)
    curfew.judge(car, VIN, since=end, until=end, now=end)
    assert [type_ for type_, _, _ in sent(car)] == ["ENGINE_START_BLOCK", "ENGINE_START_RELEASE"]


def test_a_late_answer_changes_nothing_and_a_final_one_stays(car: Connection) -> None:
    seen(car, 0)
    block = newest(car).command_id

    def answer(status: AckStatus, seconds: float) -> str:
        apply.acknowledge(car, VIN, block, status=status, reason=None, acked_at=after(seconds), now=after(seconds))
        return newest(car).outcome

    assert answer(AckStatus.ACCEPTED, 1) == "ACCEPTED"
    assert answer(AckStatus.REJECTED, 2) == "REJECTED"
    assert answer(AckStatus.EXECUTED, 3) == "REJECTED"


def test_an_answer_after_the_expiry_changes_nothing(car: Connection) -> None:
    seen(car, 0)
    block = newest(car).command_id
    apply.acknowledge(car, VIN, block, status=AckStatus.EXECUTED, reason=None, acked_at=after(61), now=after(61))
    assert newest(car).outcome == "PENDING"
    with pytest.raises(NotFoundError):
        apply.acknowledge(
            car, "KMHSH81C7LU123457", block, status=AckStatus.EXECUTED, reason=None, acked_at=NIGHT, now=NIGHT
        )


def test_a_violation_warns_the_driver_once(car: Connection) -> None:
    seen(car, 0, "ON", "DRIVE", 40)
    seen(car, 5, "ON", "DRIVE", 40)
    assert [type_ for type_, _, _ in sent(car)] == ["IN_VEHICLE_WARNING"]


def test_a_queued_command_expires_in_the_broker_when_it_does_here(car: Connection) -> None:
    seen(car, 0)
    events.sequence(car)
    (issued,) = [e for e in events.after(car, 0, limit=50) if e.type == "COMMAND_ISSUED"]
    sending = to_vehicle(issued, now=after(20), phone=None)
    assert sending is not None
    assert sending.expires_at == newest(car).expires_at
    assert to_vehicle(issued, now=after(60), phone=None) is None


def test_windows_and_severities_are_noticed_by_the_clock_alone(car: Connection) -> None:
    seen(car, -3600, "ON", "DRIVE", 40)  # 20:30

    def tick(clock: str) -> list[str]:
        hours, minutes = clock.split(":")
        jobs.judge_curfews(car, MONDAY + timedelta(hours=int(hours), minutes=int(minutes)))
        return [row[0] for row in car.execute("SELECT type FROM events WHERE service = 'CURFEW' ORDER BY event_id")]

    assert tick("20:59") == []
    assert tick("21:00") == ["CURFEW_VIOLATION"]
    assert tick("21:14") == ["CURFEW_VIOLATION"]
    assert tick("21:15") == ["CURFEW_VIOLATION", "CURFEW_VIOLATION_ESCALATED"]
    assert tick("22:00")[2:] == ["CURFEW_VIOLATION_ESCALATED"]
    assert tick("23:00")[3:] == ["CURFEW_VIOLATION_RESOLVED"]
    assert tick("23:01")[4:] == []


def test_the_api_shows_what_became_of_a_command(car: Connection, database_url: str) -> None:
    seen(car, 0)
    jobs.send_commands(car, after(11))
    car.commit()
    with serving(database_url) as api:
        answer = api.call("GET", f"//api/v1/childcare/vehicles/{VIN}/commands?limit=1&offset=1").json()
    assert answer["pagination"] == {"total": 2, "limit": 1, "offset": 1, "hasMore": False}
    (block,) = answer["commands"]
    assert (block["type"], block["outcome"], block["reason"]) == ("ENGINE_START_BLOCK", "WITHDRAWN", "STATUS_NOT_FRESH")
    assert (block["issuedAt"], block["expiresAt"]) == ("2026-03-09T21:30:00Z", "2026-03-09T21:31:00Z")
    assert block["ackStatus"] is None


def test_a_press_and_a_judgement_of_one_vehicle_take_their_locks_in_one_order(
    car: Connection, database_url: str
) -> None:
    """While a judgement holds the vehicle, a press waits for it; neither is a deadlock's victim."""
    seen(car, 0)
    car.commit()
    body = {"messageId": str(uuid4()), "timestamp": format_instant(after(2))}
    pressed = Received(f"tcu/v1/{VIN}/up/sos", json.dumps(body).encode(), after(2))

    def press() -> str | None:
        with connect(database_url, name="tests-press", autocommit=True) as own:
            return store(own, [pressed], known_vins=set(), now=after(2))[0].cid

    with ThreadPoolExecutor(1) as pool:
        db_curfew.lock_watch(car, VIN)  # a judgement has begun
        pressing = pool.submit(press)
        wait_until(lambda: _waits_for_a_lock(database_url), wait_s=15)
        apply.release_start(car, VIN, reason="CURFEW_OVER", now=after(1))  # and goes on to the commands
        car.commit()
        assert pressing.result(timeout=15) is not None
    assert [type_ for type_, _, _ in sent(car)] == ["ENGINE_START_BLOCK", "ENGINE_START_RELEASE"]


def _waits_for_a_lock(database_url: str) -> bool:
    with connect(database_url, name="tests", autocommit=True) as own:
        row = own.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tests-press' AND wait_event_type = 'Lock'"
        ).fetchone()
    return row is not None and row[0] == 1
