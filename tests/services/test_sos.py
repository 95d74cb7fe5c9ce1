"""SOS incidents in the database: who gets which, who waits, and what the next free counselor takes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from db import agents, sos, vehicles
from db.pool import Connection, connect
from rules.apply import sos as apply
from rules.apply.sos import Press
from rules.errors import ConflictError, IllegalMoveError, NotFoundError
from schemas.sos import SosCloseRequest, SosReport

NOW = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)


def vin(number: int) -> str:
    return f"KMHSH81C7LU{number:06d}"


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def center(conn: Connection) -> Connection:
    """A call center of two counselors, both idle, AGENT_002 for longer."""
    vehicles.register(conn, [vin(n) for n in range(20)])
    for agent_id, idle_since in (("AGENT_001", -60), ("AGENT_002", -120)):
        agents.put(conn, agent_id, name=agent_id)
        agents.set_availability(conn, agent_id, "AVAILABLE", at=at(idle_since))
    return conn


def press(conn: Connection, number: int, *, seconds: float = 0, cid: str | None = None, **report: object) -> str:
    when = at(seconds)
    said = SosReport.model_validate(report)
    return apply.press(conn, Press(vin(number), "TCU", said, when, when, cid=cid), now=when)


def agent_of(conn: Connection, cid: str) -> str | None:
    return sos.load(conn, [cid])[0].agent_id


def close(conn: Connection, number: int, cid: str, *, seconds: float) -> None:
    apply.close(conn, vin(number), SosCloseRequest(cid=cid, result="OTHER"), actor="AGENT_001", now=at(seconds))


def test_a_new_sos_goes_to_the_counselor_who_has_been_idle_longest(center: Connection) -> None:
    assert agent_of(center, press(center, 1)) == "AGENT_002"
    assert agent_of(center, press(center, 2, seconds=1)) == "AGENT_001"
    assert agent_of(center, press(center, 3, seconds=2)) is None


def test_who_waits_is_served_by_urgency_and_then_by_time(center: Connection) -> None:
    first, second = press(center, 1), press(center, 2)
    low = press(center, 3, seconds=10, urgency="LOW")
    late_high = press(center, 4, seconds=30, urgency="HIGH")
    early_high = press(center, 5, seconds=20, urgency="HIGH")
    critical = press(center, 6, seconds=40, urgency="CRITICAL")
    places = {cid: sos.place_in_queue(center, cid) for cid in (low, late_high, early_high, critical, first)}
    assert places == {critical: 1, early_high: 2, late_high: 3, low: 4, first: None}
    close(center, 1, first, seconds=100)
    assert agent_of(center, critical) == "AGENT_002"
    close(center, 2, second, seconds=101)
    assert agent_of(center, early_high) == "AGENT_001"
    assert sos.place_in_queue(center, late_high) == 1


def test_a_counselor_who_comes_on_duty_takes_the_head_of_the_queue(center: Connection) -> None:
    for number in (1, 2):
        press(center, number)
    waiting = press(center, 3, seconds=5)
    agents.put(center, "AGENT_003", name="AGENT_003")
    apply.set_availability(center, "AGENT_003", "AVAILABLE", now=at(10))
    assert agent_of(center, waiting) == "AGENT_003"
    agent = agents.get(center, "AGENT_003")
    assert agent is not None
    assert agent.availability == "BUSY"


def test_a_test_call_takes_nobodys_time(center: Connection) -> None:
    cid = press(center, 1, testCall=True)
    assert agent_of(center, cid) is None
    assert sos.place_in_queue(center, cid) is None
    assert sos.head_of_queue(center) is None
    # and it does not hide the real press of the same vehicle
    assert agent_of(center, press(center, 1, seconds=1)) == "AGENT_002"


def test_a_closed_incident_cannot_be_closed_again(center: Connection) -> None:
    cid = press(center, 1)
    close(center, 1, cid, seconds=60)
    with pytest.raises(IllegalMoveError):
        close(center, 1, cid, seconds=61)


def test_another_vehicles_incident_is_not_found(center: Connection) -> None:
    cid = press(center, 1)
    with pytest.raises(NotFoundError):
        close(center, 2, cid, seconds=60)


def test_a_press_keeps_a_well_formed_unused_cid_and_a_used_one_is_refused(center: Connection) -> None:
    assert press(center, 1, cid="SOS_20260307_002") == "SOS_20260307_002"
    assert press(center, 2) == "SOS_20260307_001"
    assert press(center, 3) == "SOS_20260307_003"  # 002 is taken
    with pytest.raises(ConflictError):
        press(center, 4, cid="SOS_20260307_002")


def test_cids_grow_past_999(center: Connection) -> None:
    center.execute("INSERT INTO cid_counters VALUES ('SOS', '2026-03-07', 999)")
    assert press(center, 1) == "SOS_20260307_1000"


def test_app_and_vehicle_at_once_make_one_incident(database_url: str, conn: Connection) -> None:
    vehicles.register(conn, [vin(n) for n in range(40)])
    conn.commit()

    def press_alone(number: int) -> str:
        with connect(database_url, name="tests") as own:
            return press(own, number % 10)

    with ThreadPoolExecutor(8) as pool:
        cids = list(pool.map(press_alone, range(40)))
    assert len(set(cids)) == 10
    assert conn.execute("SELECT count(*) FROM sos_incidents").fetchone() == (10,)
