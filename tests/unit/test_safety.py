"""No vehicle is kept from starting unless it surely stands: each precondition, and a hundred thousand random states."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from rules import safety
from rules.safety import Standing
from schemas.command import CommandType

NOW = datetime(2026, 3, 9, 22, tzinfo=UTC)
PARKED = Standing(
    seen_at=NOW - timedelta(seconds=3),
    clock_suspect=False,
    engine_status="OFF",
    speed_kph=0.0,
    transmission_status="PARK",
    sos_open=False,
    rsa_open=False,
)


def test_a_vehicle_that_surely_stands_may_be_kept_from_starting() -> None:
    assert safety.refusal(PARKED, now=NOW) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sos_open": True}, "SOS_OPEN"),
        ({"rsa_open": True}, "RSA_OPEN"),
        ({"seen_at": None}, "STATUS_NOT_FRESH"),
        ({"seen_at": NOW - timedelta(seconds=10, microseconds=1)}, "STATUS_NOT_FRESH"),
        ({"seen_at": NOW + timedelta(seconds=1)}, "STATUS_NOT_FRESH"),
        ({"clock_suspect": True}, "STATUS_NOT_FRESH"),
        ({"clock_suspect": None}, "STATUS_NOT_FRESH"),
        ({"engine_status": "ON"}, "ENGINE_NOT_OFF"),
        ({"engine_status": "CRANKING"}, "ENGINE_NOT_OFF"),
        ({"engine_status": "UNKNOWN"}, "ENGINE_NOT_OFF"),
        ({"engine_status": None}, "ENGINE_NOT_OFF"),
        ({"speed_kph": 0.1}, "NOT_STANDING"),
        ({"speed_kph": None}, "NOT_STANDING"),
        ({"transmission_status": "NEUTRAL"}, "NOT_IN_PARK"),
        ({"transmission_status": "UNKNOWN"}, "NOT_IN_PARK"),
        ({"transmission_status": None}, "NOT_IN_PARK"),
    ],
)
def test_anything_else_or_unknown_means_no(change: dict[str, object], reason: str) -> None:
    assert safety.refusal(replace(PARKED, **change), now=NOW) == reason  # type: ignore[arg-type]


def test_of_a_hundred_thousand_states_none_outside_the_preconditions_allows_a_block() -> None:
    random = Random(7)
    allowed = 0
    for _ in range(100_000):
        age_s = random.choice([None, *(random.uniform(-5, 20) for _ in range(9))])
        state = Standing(
            seen_at=None if age_s is None else NOW - timedelta(seconds=age_s),
            clock_suspect=random.choice([False, False, False, True, None]),
            engine_status=random.choice(["OFF", "OFF", "OFF", "ON", "CRANKING", "UNKNOWN", None]),
            speed_kph=random.choice([0, 0, 0, 0.0, -0.0, 0.4, 30, None]),
            transmission_status=random.choice(["PARK", "PARK", "DRIVE", "REVERSE", "NEUTRAL", "UNKNOWN", None]),
            sos_open=random.random() < 0.2,
            rsa_open=random.random() < 0.2,
        )
        if safety.refusal(state, now=NOW) is None:
            allowed += 1
            assert age_s is not None
            assert 0 <= age_s <= 10
            assert (state.engine_status, state.speed_kph, state.transmission_status) == ("OFF", 0, "PARK")
            assert (state.sos_open, state.rsa_open, state.clock_suspect) == (False, False, False)
    assert allowed > 1000


def test_a_command_is_sent_at_0_10_and_30_seconds() -> None:
    assert [safety.next_send(NOW, sends) for sends in (0, 1, 2, 3)] == [
        NOW,
        NOW + timedelta(seconds=10),
        NOW + timedelta(seconds=30),
        None,
    ]


def test_no_command_can_stop_an_engine() -> None:
    assert set(CommandType) == {"TIME_SYNC", "IN_VEHICLE_WARNING", "ENGINE_START_BLOCK", "ENGINE_START_RELEASE"}
