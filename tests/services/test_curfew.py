"""The curfew in the database: judged as messages come, in whatever order, and as time passes."""

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import curfew, events, telemetry, vehicles, webhooks
from db.pool import Connection
from db.telemetry import EngineRow
from ingest.inbox import Received
from ingest.pipeline import store
from ingest.sights import EngineSeen
from rules import curfew as rule
from rules import jobs
from rules import retention as rules_retention
from rules.apply import curfew as apply
from rules.apply import sos as apply_sos
from rules.curfew import Observation
from rules.errors import ConflictError, StaleError, UnprocessableError
from schemas.base import format_instant
from schemas.curfew import CurfewExceptionRequest, CurfewPolicyRequest
from schemas.sos import SosCloseRequest

VIN = "KMHSH81C7LU123456"
MONDAY = datetime(2026, 3, 9, tzinfo=UTC)
SET = MONDAY - timedelta(days=30)
POLICY = CurfewPolicyRequest.model_validate(
    {"enabled": True, "timezone": "UTC", "days": ["monday"], "timeWindow": {"start": "21:00", "end": "23:00"}}
)


def at(clock: str) -> datetime:
    hours, minutes = clock.split(":")
    return MONDAY + timedelta(hours=int(hours), minutes=int(minutes))


@pytest.fixture
def car(conn: Connection) -> Connection:
    """A vehicle with a policy and its driver's consent, both given a month ago."""
    conn.autocommit = True
    vehicles.register(conn, [VIN])
    apply.set_policy(conn, VIN, POLICY, actor="guardian", if_match=None, now=SET)
    apply.record_consent(conn, VIN, granted=True, actor="driver", at=SET, now=SET)
    return conn


def engine(event: str, when: datetime) -> tuple[str, bytes]:
    body = {"messageId": str(uuid4()), "timestamp": format_instant(when), "event": event}
    return f"tcu/v1/{VIN}/up/engine", json.dumps(body).encode()


def status(engine_status: str, when: datetime) -> tuple[str, bytes]:
    body = {"messageId": str(uuid4()), "timestamp": format_instant(when), "engineStatus": engine_status}
    return f"tcu/v1/{VIN}/up/status", json.dumps(body).encode()


def hear(conn: Connection, *messages: tuple[str, bytes], now: datetime, judged: bool = True) -> None:
    """The worker takes messages, and the job judges what status showed."""
    store(conn, [Received(topic, payload, now) for topic, payload in messages], known_vins=set(), now=now)
    if judged:
        jobs.judge_curfews(conn, now)


def found(conn: Connection) -> list[tuple[str, str | None, str | None]]:
    def clock(instant: datetime | None) -> str | None:
        return f"{instant:%H:%M}" if instant else None

    stored = curfew.violations_between(conn, VIN, SET, MONDAY + timedelta(days=9))
    return [(str(clock(v.started_at)), clock(v.ended_at), v.resolution) for v in stored]


def announced(conn: Connection) -> list[str]:
    return [row[0] for row in conn.execute("SELECT type FROM events WHERE service = 'CURFEW' ORDER BY event_id")]


def test_an_engine_start_inside_the_window_opens_a_violation_and_the_stop_ends_it(car: Connection) -> None:
    hear(car, engine("START", at("21:30")), now=at("21:30"))
    assert found(car) == [("21:30", None, None)]
    hear(car, engine("STOP", at("22:15")), now=at("22:15"))
    assert found(car) == [("21:30", "22:15", "ENGINE_STOP")]
    assert announced(car) == ["CURFEW_VIOLATION", "CURFEW_VIOLATION_RESOLVED"]


def test_without_consent_nothing_is_judged_and_withdrawal_ends_what_goes_on(car: Connection) -> None:
    hear(car, engine("START", at("21:30")), now=at("21:30"))
    apply.record_consent(car, VIN, granted=False, actor="driver", at=at("21:40"), now=at("21:40"))
    assert found(car) == [("21:30", "21:40", "CONSENT_WITHDRAWN")]
    hear(car, engine("STOP", at("21:50")), engine("START", at("21:55")), now=at("21:55"))
    assert found(car) == [("21:30", "21:40", "CONSENT_WITHDRAWN")]


def test_a_window_that_opens_while_the_engine_runs_is_noticed_as_time_passes(car: Connection) -> None:
    hear(car, engine("START", at("20:30")), now=at("20:30"))
    assert found(car) == []
    apply.judge(car, VIN, since=at("21:01"), until=at("21:01"), now=at("21:01"))
    assert found(car) == [("21:00", None, None)]
    apply.judge(car, VIN, since=at("21:20"), until=at("21:20"), now=at("21:20"))
    apply.judge(car, VIN, since=at("21:21"), until=at("21:21"), now=at("21:21"))
    apply.judge(car, VIN, since=at("23:05"), until=at("23:05"), now=at("23:05"))
    assert found(car) == [("21:00", "23:00", "WINDOW_END")]
    assert announced(car) == ["CURFEW_VIOLATION", "CURFEW_VIOLATION_ESCALATED", "CURFEW_VIOLATION_RESOLVED"]


def test_an_exception_on_the_way_ends_it_and_one_for_the_past_hour_takes_it_back(car: Connection) -> None:
    hear(car, engine("START", at("21:30")), now=at("21:30"))
    request = CurfewExceptionRequest(reason="late bus", start_time=at("21:20"), end_time=at("22:00"))
    apply.grant_exception(car, VIN, request, actor="guardian", now=at("21:45"))
    assert found(car) == []
    assert announced(car) == ["CURFEW_VIOLATION", "CURFEW_EXCEPTION_ACTIVE", "CURFEW_VIOLATION_RETRACTED"]
    apply.judge(car, VIN, since=at("22:10"), until=at("22:10"), now=at("22:10"))
    assert found(car) == [("22:00", None, None)]


def test_an_open_sos_ends_it_and_driving_on_after_its_end_begins_another(car: Connection) -> None:
    hear(car, engine("START", at("21:30")), now=at("21:30"))
    press = {"messageId": str(uuid4()), "timestamp": format_instant(at("21:40"))}
    hear(car, (f"tcu/v1/{VIN}/up/sos", json.dumps(press).encode()), now=at("21:40"))
    assert found(car) == [("21:30", "21:40", "SOS")]
    (cid,) = [row[0] for row in car.execute("SELECT cid FROM sos_incidents")]
    apply_sos.close(car, VIN, SosCloseRequest(cid=cid, result="OTHER"), actor="AGENT_001", now=at("21:50"))
    assert found(car) == [("21:30", "21:40", "SOS"), ("21:50", None, None)]


def test_late_data_opens_a_violation_marked_as_such(car: Connection) -> None:
    hear(car, engine("START", at("21:30")), engine("STOP", at("21:50")), now=at("23:30"))
    assert found(car) == [("21:30", "21:50", "ENGINE_STOP")]
    (violation,) = curfew.violations_between(car, VIN, SET, at("23:59"))
    assert violation.detected_late
    events.sequence(car)
    (event,) = [e for e in events.after(car, 0, limit=10) if e.type == "CURFEW_VIOLATION"]
    assert event.priority == "LOW"
    assert event.data["data"]["detectedLate"] is True


def test_a_stop_that_comes_late_shortens_the_violation(car: Connection) -> None:
    hear(car, engine("START", at("21:10")), engine("START", at("22:10")), now=at("22:10"))
    hear(car, engine("STOP", at("22:40")), now=at("22:40"))
    assert found(car) == [("21:10", "22:40", "ENGINE_STOP")]
    hear(car, engine("STOP", at("21:30")), now=at("22:50"))
    assert found(car) == [("21:10", "21:30", "ENGINE_STOP"), ("22:10", "22:40", "ENGINE_STOP")]


@pytest.mark.parametrize("seconds", [-600, -60, -1])
def test_a_judgement_that_was_begun_before_what_another_has_judged_forgets_none_of_it(
    car: Connection, seconds: int
) -> None:
    """A job that waits for a connection, or for the vehicle's lock, is late; a vehicle's clock may be ahead."""
    hear(car, engine("START", at("21:00")), now=at("21:00"))
    hear(car, engine("STOP", at("21:15")), engine("START", at("21:20")), now=at("21:20"))
    then = at("21:20") + timedelta(seconds=seconds)
    apply.judge(car, VIN, since=then, until=then, now=then)
    hear(car, engine("STOP", at("21:30")), now=at("21:30"), judged=False)
    hear(car, engine("START", at("21:40")), now=at("21:40"), judged=False)
    assert found(car) == [
        ("21:00", "21:15", "ENGINE_STOP"),
        ("21:20", "21:30", "ENGINE_STOP"),
        ("21:40", None, None),
    ]


def unseen(conn: Connection, event: str, when: datetime) -> None:
    """Store an engine event that was not visible yet to whoever judged last."""
    row = EngineRow(
        VIN, uuid4(), when, when, clock_suspect=False, event=event, latitude=None, longitude=None, odometer_km=None
    )
    telemetry.store_engine_event(conn, row)


def test_a_drive_of_which_the_lane_thought_that_the_engine_went_on_is_found(car: Connection) -> None:
    """The engine's stop was known from status that waited to be judged, and was judged before the start was stored."""

    def second(number: int) -> datetime:
        return at("21:10") + timedelta(seconds=number)

    hear(car, engine("START", at("21:00")), now=at("21:00"))
    hear(car, status("OFF", second(0)), now=second(0))
    unseen(car, "START", second(1))
    hear(car, engine("STOP", second(10)), now=second(10), judged=False)
    hear(car, engine("START", second(20)), now=second(20), judged=False)
    stored = curfew.violations_between(car, VIN, SET, MONDAY + timedelta(days=9))
    assert [(v.started_at, v.ended_at) for v in stored] == [
        (at("21:00"), second(0)), (second(1), second(10)), (second(20), None)
    ]  # fmt: skip


def test_a_stop_that_the_bulk_lane_took_for_no_news_is_seen_by_the_judgement_that_settles(car: Connection) -> None:
    def second(number: int) -> datetime:
        return at("21:10") + timedelta(seconds=number)

    engines: dict[str, EngineSeen] = {}
    for number, (topic, payload) in enumerate(
        [status("OFF", second(0)), engine("START", second(1)), status("OFF", second(2)), engine("START", second(3))]
    ):
        received = Received(topic, payload, second(number))
        store(car, [received], known_vins=set(), engines=engines, now=second(number))
    for number in range(4, 40):
        jobs.judge_curfews(car, second(number))
    stored = curfew.violations_between(car, VIN, SET, MONDAY + timedelta(days=9))
    assert [(v.started_at, v.ended_at) for v in stored] == [(second(1), second(2)), (second(3), None)]


def test_a_stop_that_a_judgement_meets_makes_the_next_start_news(car: Connection) -> None:
    hear(car, engine("START", at("21:00")), now=at("21:00"))
    unseen(car, "STOP", at("21:10"))
    hear(car, engine("START", at("20:59")), now=at("21:11"), judged=False)
    hear(car, engine("START", at("21:12")), now=at("21:12"), judged=False)
    assert found(car) == [("21:00", "21:10", "ENGINE_STOP"), ("21:12", None, None)]


def test_a_press_by_a_clock_that_is_ahead_ends_the_violation_once(car: Connection) -> None:
    ahead = timedelta(seconds=40)
    hear(car, engine("START", at("21:30")), now=at("21:30"))
    press = {"messageId": str(uuid4()), "timestamp": format_instant(at("21:31") + ahead)}
    hear(car, (f"tcu/v1/{VIN}/up/sos", json.dumps(press).encode()), now=at("21:31"))
    for seconds in range(1, 70):
        jobs.judge_curfews(car, at("21:31") + timedelta(seconds=seconds))
    assert found(car) == [("21:30", "21:31", "SOS")]
    assert announced(car) == ["CURFEW_VIOLATION", "CURFEW_VIOLATION_RESOLVED"]


def judge_whenever_due(conn: Connection, since: datetime, until: datetime) -> None:
    """Let the job run whenever it has something to do."""
    now = since
    while now < until:
        jobs.judge_curfews(conn, now)
        row = conn.execute("SELECT next_at FROM curfew_watch").fetchone()
        assert row is not None
        now = max(row[0], now + timedelta(seconds=1))


def test_what_a_violation_was_judged_by_may_be_forgotten(car: Connection, owner: Connection) -> None:
    hear(car, engine("START", at("21:30")), engine("STOP", at("22:15")), now=at("22:15"))
    silent_until = at("22:15") + timedelta(days=rules_retention.TELEMETRY_LEAST.days)
    judge_whenever_due(car, at("22:15"), silent_until)
    for table in ("engine_events", "vehicle_status"):
        owner.execute(b"DELETE FROM " + table.encode())
    owner.commit()
    judge_whenever_due(car, silent_until, silent_until + timedelta(days=3))
    assert found(car) == [("21:30", "22:15", "ENGINE_STOP")]


def test_consent_that_is_withdrawn_for_a_month_ago_leaves_what_is_older_than_a_week(car: Connection) -> None:
    hear(car, engine("START", at("21:30")), engine("STOP", at("22:15")), now=at("22:15"))
    now = at("22:15") + timedelta(days=30)
    judge_whenever_due(car, at("22:15"), now)
    apply.record_consent(car, VIN, granted=False, actor="driver", at=at("20:00"), now=now)
    judge_whenever_due(car, now, now + timedelta(days=2))
    assert found(car) == [("21:30", "22:15", "ENGINE_STOP")]


@pytest.mark.parametrize("judged_between", [True, False])
def test_late_status_of_which_some_say_the_same_ends_what_was_driven_between(
    car: Connection, judged_between: bool
) -> None:
    """The lane remembers how it last saw the engine, and asks for no more of it for some seconds."""
    engines: dict[str, EngineSeen] = {}
    told = [engine("START", at("21:11")), engine("START", at("21:20"))]
    late = [status("OFF", at("21:10")), status("OFF", at("21:12"))]
    messages = [*told, *late] if judged_between else [late[0], told[0], late[1], told[1]]
    now = at("21:40")
    for number, (topic, payload) in enumerate(messages):
        if judged_between and number == len(told):
            judge_whenever_due(car, now, now + timedelta(minutes=2))
            now += timedelta(minutes=2)
        store(car, [Received(topic, payload, now)], known_vins=set(), engines=engines, now=now)
        jobs.judge_curfews(car, now)
        now += timedelta(seconds=1)
    judge_whenever_due(car, now, now + timedelta(minutes=2))
    assert found(car) == [("21:11", "21:12", "ENGINE_STOP"), ("21:20", None, None)]


def test_a_press_that_comes_days_late_is_judged_by_the_job_and_excuses_what_came_since(car: Connection) -> None:
    hear(car, engine("START", at("21:30")), engine("STOP", at("22:15")), now=at("22:15"))
    now = at("22:15") + timedelta(days=6)
    hear(car, said("SOS", at("21:00")), now=now, judged=False)
    assert found(car) == [("21:30", "22:15", "ENGINE_STOP")]
    jobs.judge_curfews(car, now)
    assert found(car) == []


def test_a_judgement_that_comes_late_lowers_no_severity(car: Connection) -> None:
    hear(car, engine("START", at("21:00")), now=at("21:00"))
    jobs.judge_curfews(car, at("21:15"))
    then = at("21:15") - timedelta(milliseconds=100)
    apply.judge(car, VIN, since=then, until=then, now=then)
    jobs.judge_curfews(car, at("21:16"))
    assert announced(car) == ["CURFEW_VIOLATION", "CURFEW_VIOLATION_ESCALATED"]


NIGHT = [
    engine("START", at("20:50")),
    status("ON", at("21:05")),
    engine("STOP", at("21:20")),
    engine("START", at("22:30")),
    status("OFF", at("22:50")),
]


@pytest.mark.parametrize("order", list(permutations(range(5)))[::7])
def test_the_messages_of_a_night_give_the_same_violations_in_any_order(car: Connection, order: tuple[int, ...]) -> None:
    for step, index in enumerate(order):
        hear(car, NIGHT[index], now=at("23:10") + timedelta(seconds=step))
        hear(car, NIGHT[index], now=at("23:11") + timedelta(seconds=step))
    assert found(car) == [("21:00", "21:20", "ENGINE_STOP"), ("22:30", "22:50", "ENGINE_STOP")]


def said(word: str, when: datetime) -> tuple[str, bytes]:
    if word == "SOS":
        body = {"messageId": str(uuid4()), "timestamp": format_instant(when)}
        return f"tcu/v1/{VIN}/up/sos", json.dumps(body).encode()
    return (engine if word in {"START", "STOP"} else status)(word, when)


def forget(conn: Connection) -> None:
    """Begin anew, with the policy and the consent."""
    messages = ("vehicle_status", "engine_events", "received_messages")
    for table in (*messages, "curfew_violations", "sos_timeline", "sos_incidents"):
        conn.execute(b"DELETE FROM " + table.encode())
    conn.execute(
        "UPDATE curfew_watch SET running = false, seen_at = NULL, judged_at = %s, next_at = NULL, quiet_since = NULL,"
        " unjudged_since = NULL, unjudged_until = NULL",
        (SET,),
    )


sights = st.lists(
    st.tuples(st.integers(20 * 60, 24 * 60), st.sampled_from(["START", "STOP", "ON", "OFF"])), min_size=1, max_size=7
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sights, st.none() | st.integers(20 * 60, 24 * 60), st.randoms(use_true_random=False))
def test_any_permutation_and_repetition_gives_what_the_messages_in_order_give(
    car: Connection, heard: list[tuple[int, str]], pressed: int | None, random: Random
) -> None:
    def bodies() -> list[tuple[str, bytes]]:
        presses = [] if pressed is None else [(pressed, "SOS")]
        return [said(word, MONDAY + timedelta(minutes=minute)) for minute, word in sorted([*heard, *presses])]

    def play(messages: list[tuple[str, bytes]]) -> list[tuple[str, str | None, str | None]]:
        forget(car)
        for step, message in enumerate(messages):  # the job comes when it comes, in the end at the latest
            hear(car, message, now=at("24:30") + timedelta(seconds=step), judged=random.random() < 0.3)
        jobs.judge_curfews(car, at("24:31"))
        return found(car)

    in_order = bodies()
    shuffled = in_order * 2
    random.shuffle(shuffled)
    assert play(shuffled) == play(in_order)


wide_sights = st.lists(
    st.tuples(st.integers(18 * 60, 26 * 60), st.sampled_from(["START", "STOP", "ON", "OFF"])), min_size=1, max_size=9
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wide_sights, st.lists(st.none() | st.integers(0, 90), min_size=9, max_size=9))
def test_judged_as_it_happens_or_afterwards_is_the_same(
    car: Connection, heard: list[tuple[int, str]], late_by: list[int | None]
) -> None:
    """Live, most engine changes outside the window are only noted; afterwards all are judged.

    After some of them comes a judgement that was begun minutes earlier.
    """
    messages = [
        (
            MONDAY + timedelta(minutes=minute),
            said(word, MONDAY + timedelta(minutes=minute)),
        )
        for minute, word in sorted(heard)
    ]

    def play(*, live: bool) -> list[tuple[str, str | None, str | None]]:
        forget(car)
        apply.judge(car, VIN, since=at("17:00"), until=at("17:00"), now=at("17:00"))
        for (when, message), minutes in zip(messages, late_by, strict=False):
            if live:
                jobs.judge_curfews(car, when)
            hear(car, message, now=when if live else at("27:00"))
            if live and minutes is not None:
                then = when - timedelta(minutes=minutes)
                apply.judge(car, VIN, since=then, until=then, now=then)
        jobs.judge_curfews(car, at("27:01"))
        return found(car)

    assert play(live=True) == play(live=False)


FOUND_WRONG_ONCE = (764, 1968, 3093)


def test_soon_after_the_last_message_all_is_judged_whatever_came_when(car: Connection) -> None:
    """Sights seconds apart, some 100 s late, by a clock that may be ahead: what two lanes and a job make of them."""
    fresh = Random()
    for seed in (*FOUND_WRONG_ONCE, *(fresh.randrange(10**9) for _ in range(30))):
        forget(car)
        stored, expected, arrivals = judged_live(car, Random(seed), at("21:10"), timedelta(seconds=1))
        assert stored == expected, f"seed {seed}: {arrivals}"


def test_also_where_the_sights_lie_minutes_apart_and_on_both_sides_of_the_window(car: Connection) -> None:
    fresh = Random()
    for seed in (fresh.randrange(10**9) for _ in range(20)):
        forget(car)
        begins = at(Random(seed).choice(["18:00", "20:30", "22:45"]))
        stored, expected, arrivals = judged_live(car, Random(seed), begins, timedelta(minutes=1))
        assert stored == expected, f"seed {seed}: {arrivals}"


def judged_live(
    conn: Connection, rng: Random, begins: datetime, step: timedelta
) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the violations that are stored in the end, those of all sights at once, and (arrival, sight, word)."""

    def after(steps: float) -> datetime:
        return begins + steps * step

    ahead = timedelta(seconds=rng.choice([0, 0, 0, 5, 20, 50]))
    kinds = [["START", "STOP"], ["START", "STOP", "ON", "OFF"], ["START", "STOP", "ON", "ON", "OFF"], ["ON", "OFF"]]
    words = rng.choice(kinds)
    span = rng.choice([10, 40, 120, 400])
    arrivals = []
    for _ in range(rng.randint(2, 14)):
        seen = rng.randrange(span)
        late = rng.choice([0, 0, 0, 0, 0.3, 1, 3, rng.choice([10, 40, 100])])
        arrivals.append((seen + late, seen, rng.choice(words)))
    every, next_s = rng.choice([0.5, 1, 2]), 0.3
    arrivals.sort(key=lambda one: one[0])
    engines: dict[str, EngineSeen] = {}
    for arrival, seen, word in arrivals:
        while next_s < arrival:
            jobs.judge_curfews(conn, after(next_s))
            next_s += every
        received = Received(*said(word, after(seen) + ahead), after(arrival))
        store(conn, [received], known_vins=set(), engines=engines, now=after(arrival))
    for steps in range(0, 130, 2):
        jobs.judge_curfews(conn, after(next_s + steps))
    sights = [Observation(after(seen) + ahead, word in {"START", "ON"}) for _, seen, word in arrivals]
    around = apply.circumstances(conn, VIN, curfew.policies(conn, VIN))
    expected = rule.violations(around, sights, since=MONDAY, now=after(next_s + 130))
    stored = curfew.violations_between(conn, VIN, SET, MONDAY + timedelta(days=9))
    return [(v.started_at, v.ended_at) for v in stored], [(v.started_at, v.ended_at) for v in expected], arrivals


def waits(conn: Connection) -> bool:
    row = conn.execute("SELECT unjudged_since IS NOT NULL FROM curfew_watch").fetchone()
    assert row is not None
    return bool(row[0])


def test_what_comes_late_waits_for_no_judgement_where_nothing_was_restricted_since(car: Connection) -> None:
    hear(car, status("ON", at("20:00")), now=at("20:00"))
    hear(car, status("OFF", at("20:30")), now=at("20:30"))
    hear(car, status("ON", at("20:10")), now=at("20:31"), judged=False)
    assert not waits(car)
    hear(car, status("ON", at("23:20")), now=at("23:20"))
    hear(car, status("OFF", at("23:40")), now=at("23:40"))
    hear(car, status("ON", at("23:10")), now=at("23:41"), judged=False)
    assert not waits(car)
    hear(car, status("ON", at("22:50")), now=at("23:42"), judged=False)  # that was inside the window
    assert waits(car)
    jobs.judge_curfews(car, at("23:43"))
    assert found(car) == [("22:50", "23:00", "WINDOW_END")]
    jobs.judge_curfews(car, at("24:30"))
    hear(car, status("ON", at("20:40")), now=at("24:40"), judged=False)  # before the window: it may have gone on in it
    assert waits(car)
    jobs.judge_curfews(car, at("24:41"))
    assert found(car) == [("21:00", "23:00", "WINDOW_END")]


def exception(start: str, end: str, reason: str = "school") -> CurfewExceptionRequest:
    return CurfewExceptionRequest(reason=reason, start_time=at(start), end_time=at(end))


@pytest.mark.parametrize("seed", range(6))
def test_what_is_read_of_a_run_judges_as_every_sight_of_it_would(car: Connection, seed: int) -> None:
    random = Random(seed)
    minutes = [random.randrange(20 * 60, 24 * 60, 5) for _ in range(14)]
    sights = [Observation(MONDAY + timedelta(minutes=m), random.random() < 0.7) for m in minutes]
    for sight in sights:
        topic, payload = random.choice(
            [
                status("ON" if sight.running else "OFF", sight.at),
                engine("START" if sight.running else "STOP", sight.at),
            ]
        )
        hear(car, (topic, payload), now=MONDAY + timedelta(days=1))
    around = apply.circumstances(car, VIN, curfew.policies(car, VIN))
    expected = rule.violations(around, sights, since=MONDAY, now=MONDAY + timedelta(days=1))
    stored = curfew.violations_between(car, VIN, SET, MONDAY + timedelta(days=9))
    assert [(v.started_at, v.ended_at, v.resolution) for v in stored] == [
        (v.started_at, v.ended_at, v.resolution) for v in expected
    ]


def test_exceptions_do_not_overlap_and_the_same_one_again_answers_the_same(car: Connection) -> None:
    def grant(request: CurfewExceptionRequest) -> curfew.CurfewException:
        return apply.grant_exception(car, VIN, request, actor="guardian", now=at("12:00"))

    first = grant(exception("21:00", "22:00"))
    assert grant(exception("21:00", "22:00")) == first
    grant(exception("22:00", "22:30"))  # touching is not overlapping
    with pytest.raises(ConflictError, match="exc_"):
        grant(exception("21:30", "23:00"))


@pytest.mark.parametrize(("start", "end", "field"), [("10:59", "13:00", "startTime"), ("21:00", "190:00", "endTime")])
def test_an_exception_too_long_or_begun_too_long_ago_is_refused(
    car: Connection, start: str, end: str, field: str
) -> None:
    with pytest.raises(UnprocessableError) as refused:
        apply.grant_exception(car, VIN, exception(start, end), actor="guardian", now=at("12:00"))
    assert refused.value.field == field


def test_one_that_has_ended_is_kept_as_expired_and_changes_nothing(car: Connection) -> None:
    hear(car, engine("START", at("21:30")), engine("STOP", at("21:50")), now=at("21:50"))
    granted = apply.grant_exception(car, VIN, exception("21:00", "22:00"), actor="guardian", now=at("30:00"))
    assert apply.status_of(granted, at("30:00")) == "expired"
    assert found(car) == [("21:30", "21:50", "ENGINE_STOP")]


def test_exceptions_turn_active_and_expired_on_time_with_one_event_each(car: Connection) -> None:
    apply.grant_exception(car, VIN, exception("21:00", "22:00"), actor="guardian", now=at("12:00"))
    for clock in ("20:59", "21:00", "21:01", "22:00", "22:01"):
        apply.announce_exceptions(car, curfew.exceptions_to_announce(car, now=at(clock)), now=at(clock))
    assert announced(car) == ["CURFEW_EXCEPTION_ACTIVE", "CURFEW_EXCEPTION_EXPIRED"]


def test_of_two_guardians_the_one_with_a_stale_policy_is_refused(car: Connection) -> None:
    read = curfew.policies(car, VIN)[-1].policy_id
    apply.set_policy(car, VIN, POLICY, actor="one", if_match=read, now=at("12:00"))
    with pytest.raises(StaleError):
        apply.set_policy(car, VIN, POLICY, actor="two", if_match=read, now=at("12:01"))


def test_a_vehicle_without_a_policy_is_left_alone(conn: Connection) -> None:
    conn.autocommit = True
    hear(conn, engine("START", at("21:30")), now=at("21:30"))
    assert found(conn) == []


def alerts(conn: Connection) -> list[tuple[str, str]]:
    rows = conn.execute("SELECT topic, payload ->> 'severity' FROM webhook_deliveries ORDER BY created_at, topic DESC")
    return [(topic, severity) for topic, severity in rows]


def test_the_guardian_is_alerted_when_a_violation_opens_grows_worse_and_ends_and_not_of_late_news(
    car: Connection,
) -> None:
    webhooks.put_guardian_endpoint(car, VIN, url="https://guardian.example/", secret="whsec_eA==", at=SET)
    hear(car, engine("START", at("21:00")), now=at("21:00"))
    for clock in ("21:05", "21:16", "21:17", "22:30"):
        apply.judge(car, VIN, since=at(clock), until=at(clock), now=at(clock))
    hear(car, engine("STOP", at("22:45")), now=at("22:45"))
    assert alerts(car) == [
        ("curfew.violation.opened", "LOW"),
        ("curfew.violation.escalated", "MEDIUM"),
        ("curfew.violation.escalated", "HIGH"),
        ("curfew.violation.ended", "HIGH"),
    ]
    hear(car, engine("START", at("22:50")), engine("STOP", at("22:55")), now=at("26:00"))
    assert len(found(car)) == 2
    assert len(alerts(car)) == 4
