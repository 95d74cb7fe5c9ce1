"""Commands to vehicles: issued with their event, so that the downlink sends them after the commit.

None of them can stop a running engine; ENGINE_START_BLOCK forbids the next start only (design, section 7).
"""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog

from db import commands, events, rsa, sos, vehicles
from db.commands import Command
from db.events import NewEvent
from db.pool import Connection
from db.vehicles import VehicleState
from rules import safety
from rules.errors import NotFoundError
from rules.safety import Standing
from schemas.base import format_instant, parse_instant
from schemas.command import AckStatus, CommandMessage, CommandType
from schemas.vehicle import EngineEvent, EngineStatus

log = structlog.get_logger()

TIME_SYNC_MOST = 3
TIME_SYNC_WITHIN = timedelta(hours=1)
BLOCK_AGAIN_AFTER = timedelta(minutes=10)

_STARTS = (CommandType.ENGINE_START_BLOCK, CommandType.ENGINE_START_RELEASE)
_MAY_HOLD = frozenset({"PENDING", "ACCEPTED", "EXECUTED", "EXPIRED", "WITHDRAWN"})
"""Outcomes after which a block may be in force in the vehicle: an answer can be lost."""


def sync_time(conn: Connection, vin: str, *, now: datetime) -> bool:
    """Ask a vehicle with an unusable clock to set it; at most three times an hour (design, section 4, Time)."""
    sent = commands.count_since(conn, vin=vin, type_=CommandType.TIME_SYNC, since=now - TIME_SYNC_WITHIN)
    if sent >= TIME_SYNC_MOST:
        return False
    _issue(conn, vin, CommandType.TIME_SYNC, {"serverTime": format_instant(now)}, again=False, now=now)
    return True


def warn(conn: Connection, vin: str, *, message: str, now: datetime) -> None:
    """Show the driver a warning."""
    _issue(conn, vin, CommandType.IN_VEHICLE_WARNING, {"message": message}, again=True, now=now)


def block_next_start(conn: Connection, vin: str, *, until: datetime, now: datetime) -> datetime | None:
    """Forbid the vehicle's next start until an instant; return when to try again, None where the vehicle has taken it.

    Not while one may be in force already, and not twice within ten minutes, lifted or not: a vehicle that answers
    nothing and reports rarely would get a block and its release for each status.
    """
    known = commands.newest(conn, vin, (CommandType.ENGINE_START_BLOCK,))
    if known is not None and now - known.issued_at < BLOCK_AGAIN_AFTER:
        return known.issued_at + BLOCK_AGAIN_AFTER
    known = commands.newest(conn, vin, _STARTS)
    if (
        known is not None
        and known.type == CommandType.ENGINE_START_BLOCK
        and known.outcome in {"ACCEPTED", "EXECUTED"}
        and known.parameters["until"] == format_instant(until)
    ):
        return None
    if safety.refusal(standing(conn, vin), now=now) is not None:
        return now
    _issue(conn, vin, CommandType.ENGINE_START_BLOCK, {"until": format_instant(until)}, again=True, now=now)
    return now + BLOCK_AGAIN_AFTER


def release_start(conn: Connection, vin: str, *, reason: str, now: datetime) -> bool:
    """Lift a block that may be in force; false where there is none."""
    known = commands.newest(conn, vin, _STARTS)
    if known is None or not _may_hold(conn, known, now=now):
        return False
    if known.outcome == "PENDING":
        commands.close(conn, known.command_id, outcome="WITHDRAWN", reason=reason, at=now)
    _issue(conn, vin, CommandType.ENGINE_START_RELEASE, {"reason": reason}, again=True, now=now)
    return True


def send_again_or_expire(conn: Connection, command: Command, *, now: datetime) -> None:
    """Send a command that has no answer once more, after checking again, or end it when its time is over.

    A block whose preconditions hold no more is withdrawn and lifted: the vehicle may have it, and its answer be lost. A
    release is issued anew until it is answered or the block has ended by itself.
    """
    if now >= command.expires_at:
        commands.close(conn, command.command_id, outcome="EXPIRED", reason="no answer in time", at=now)
        _tell(conn, command, "COMMAND_EXPIRED", now=now)
        newest = commands.newest(conn, command.vin, _STARTS)
        if (
            command.type == CommandType.ENGINE_START_RELEASE
            and newest is not None
            and newest.command_id == command.command_id
        ):
            release_start(conn, command.vin, reason=command.parameters["reason"], now=now)
        return
    if command.type == CommandType.ENGINE_START_BLOCK:
        refused = safety.refusal(standing(conn, command.vin), now=now)
        if refused is not None:
            release_start(conn, command.vin, reason=refused, now=now)
            return
    next_at = safety.next_send(command.issued_at, command.sends + 1)
    commands.set_sent(conn, command.command_id, sends=command.sends + 1, next_send_at=next_at)
    _tell(conn, command, "COMMAND_ISSUED", now=now)


def acknowledge(
    conn: Connection,
    vin: str,
    command_id: UUID,
    *,
    status: AckStatus,
    reason: str | None,
    acked_at: datetime,
    now: datetime,
) -> None:
    """Take the vehicle's answer. A late one, or one after the final one, is logged and changes nothing.

    Raises NotFoundError where this vehicle was never sent the command.
    """
    command = commands.get(conn, command_id)
    if command is None or command.vin != vin:
        raise NotFoundError("this vehicle was never sent this command")
    if command.outcome not in {"PENDING", "ACCEPTED"} or (command.outcome == "PENDING" and now > command.expires_at):
        log.warning("late_acknowledgement", command_id=str(command_id), status=status, outcome=command.outcome)
        return
    commands.set_acknowledged(conn, command_id, status=status, reason=reason, acked_at=acked_at)
    _tell(conn, command, f"COMMAND_{status}", now=now)


def standing(conn: Connection, vin: str) -> Standing:
    """Return what is known of the vehicle now; a start that no status has followed yet counts too."""
    state = vehicles.state(conn, vin)
    return Standing(
        seen_at=state.occurred_at if state else None,
        clock_suspect=state.clock_suspect if state else None,
        engine_status=EngineStatus.ON if _started_since(state) else state.engine_status if state else None,
        speed_kph=state.speed_kph if state else None,
        transmission_status=state.transmission_status if state else None,
        sos_open=sos.open_of_vehicle(conn, vin, test_call=False) is not None,
        rsa_open=rsa.open_of_vehicle(conn, vin) is not None,
    )


def _may_hold(conn: Connection, newest: Command, *, now: datetime) -> bool:
    """Tell whether a block may be in force, from the newest block or release."""
    if newest.type == CommandType.ENGINE_START_BLOCK:
        return newest.outcome in _MAY_HOLD
    if newest.outcome in {"PENDING", "ACCEPTED", "EXECUTED"}:
        return False
    # Nobody knows that the vehicle had the release.
    block = commands.newest(conn, newest.vin, (CommandType.ENGINE_START_BLOCK,))
    return block is not None and now < parse_instant(block.parameters["until"])


def _started_since(state: VehicleState | None) -> bool:
    """Tell whether the engine was started at or after the last status."""
    if state is None or state.engine_event != EngineEvent.START or state.engine_event_at is None:
        return False
    return state.occurred_at is None or state.engine_event_at >= state.occurred_at


def _issue(
    conn: Connection, vin: str, type_: CommandType, parameters: dict[str, str], *, again: bool, now: datetime
) -> None:
    command_id = uuid4()
    expires_at = now + safety.EXPIRES_AFTER
    commands.issue(
        conn,
        command_id=command_id,
        vin=vin,
        type_=type_,
        parameters=parameters,
        issued_at=now,
        expires_at=expires_at,
        next_send_at=safety.next_send(now, 1) if again else None,
    )
    command = commands.get(conn, command_id)
    assert command is not None  # noqa: S101 - just inserted
    _tell(conn, command, "COMMAND_ISSUED", now=now)


def _tell(conn: Connection, command: Command, type_: str, *, now: datetime) -> None:
    message = CommandMessage(
        command_id=str(command.command_id),
        type=CommandType(command.type),
        issued_at=command.issued_at,
        expires_at=command.expires_at,
        parameters=command.parameters,
    )
    data = message.model_dump(mode="json", by_alias=True)
    events.append(
        conn,
        NewEvent(service="COMMAND", type=type_, priority="NORMAL", vin=command.vin, occurred_at=now, data=data),
    )
