"""A voice call as its messages come: in order, late, twice, and after a broken line."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from db.calls import VoiceCall
from rules import call
from schemas.call import CallMessage

START = datetime(2026, 3, 7, 18, 31, tzinfo=UTC)


def message(status: str, **fields: object) -> CallMessage:
    body = {"messageId": "6f1e1d9c-8f4e-4f68-9d1e-0d4b9a3f1c55", "timestamp": START, "cid": "SOS_20260307_001"}
    return CallMessage.model_validate(body | {"status": status} | fields)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


NEW = VoiceCall("CALL-20260307-001", "SOS_20260307_001", "CONNECTING", started_at=START)
HEARD = [(message("CONNECTING"), 1), (message("CONNECTED"), 10), (message("ENDED", duration=180), 190)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_any_order_the_messages_of_a_call_give_the_same_call(order: tuple[int, ...]) -> None:
    state = NEW
    for index in order:
        heard, seconds = HEARD[index]
        state = call.progress(state, heard, occurred_at=at(seconds))
    assert (state.status, state.connected_at, state.ended_at, state.duration_s) == ("ENDED", at(10), at(190), 180)


def test_without_a_reported_duration_it_is_measured_from_the_connection() -> None:
    state = call.progress(NEW, message("CONNECTED"), occurred_at=at(10))
    assert call.progress(state, message("ENDED"), occurred_at=at(70)).duration_s == 60


def test_a_call_that_never_connected_has_no_duration() -> None:
    state = call.progress(NEW, message("FAILED"), occurred_at=at(30))
    assert (state.status, state.duration_s) == ("FAILED", None)


@pytest.mark.parametrize(
    ("ended_s", "heard_s", "belongs"), [(None, 500, True), (190, 190, True), (190, 191, False), (190, 10, True)]
)
def test_what_is_said_after_the_end_belongs_to_another_call(ended_s: int | None, heard_s: int, belongs: bool) -> None:
    over = VoiceCall("S", "C", "ENDED", started_at=START, ended_at=at(ended_s)) if ended_s else NEW
    assert call.belongs(over, message("CONNECTED"), occurred_at=at(heard_s)) is belongs


def test_a_named_session_belongs_whenever_it_was_heard() -> None:
    over = VoiceCall("CALL-1", "C", "ENDED", started_at=START, ended_at=at(10))
    assert call.belongs(over, message("ENDED", sessionId="CALL-1"), occurred_at=at(500))


@pytest.mark.parametrize(("heard_s", "started"), [(60, at(60)), (-60, at(0) + timedelta(microseconds=1))])
def test_a_further_attempt_starts_after_the_earlier_one_also_by_a_slow_clock(heard_s: int, started: datetime) -> None:
    assert call.start([NEW], occurred_at=at(heard_s)) == started
