"""What the simulated vehicle does with commands."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.command import AckStatus, CommandMessage, CommandType
from simulator.commands import obey

NOW = datetime(2026, 3, 9, 22, tzinfo=UTC)
UNTIL = NOW + timedelta(hours=1)


def command(type_: CommandType, **parameters: str) -> CommandMessage:
    return CommandMessage(
        command_id="6f1e1d9c-8f4e-4f68-9d1e-0d4b9a3f1c55",
        type=type_,
        issued_at=NOW,
        expires_at=NOW + timedelta(minutes=1),
        parameters=parameters,
    )


BLOCK = command(CommandType.ENGINE_START_BLOCK, until="2026-03-09T23:00:00Z")


def test_a_standing_vehicle_takes_a_start_block_and_a_running_one_refuses_it() -> None:
    taken = obey(BLOCK, engine_runs=False, start_blocked_until=None)
    assert (taken.status, taken.start_blocked_until) == (AckStatus.EXECUTED, UNTIL)
    refused = obey(BLOCK, engine_runs=True, start_blocked_until=None)
    assert (refused.status, refused.start_blocked_until) == (AckStatus.REJECTED, None)
    assert refused.reason == "the engine is running"


@pytest.mark.parametrize("engine_runs", [True, False])
def test_a_release_lets_it_start_again(engine_runs: bool) -> None:
    release = command(CommandType.ENGINE_START_RELEASE, reason="SOS_OPEN")
    assert obey(release, engine_runs=engine_runs, start_blocked_until=UNTIL).start_blocked_until is None


def test_a_warning_is_shown_and_changes_nothing_else() -> None:
    warned = obey(command(CommandType.IN_VEHICLE_WARNING, message="late"), engine_runs=True, start_blocked_until=UNTIL)
    assert (warned.status, warned.shown, warned.start_blocked_until) == (AckStatus.EXECUTED, "warns: late", UNTIL)
