"""What a vehicle does with a command, as a real one must: pure."""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import parse_instant
from schemas.command import AckStatus, CommandMessage, CommandType


@dataclass(frozen=True, slots=True)
class Obeyed:
    """The vehicle's answer, what it shows its driver, and until when it will not start; None: it will."""

    status: AckStatus
    shown: str
    start_blocked_until: datetime | None
    reason: str | None = None


def obey(command: CommandMessage, *, engine_runs: bool, start_blocked_until: datetime | None) -> Obeyed:
    """Return what becomes of a command that has not expired.

    A block is refused while the engine runs: nothing may touch a running engine (design, section 7).
    """
    match command.type:
        case CommandType.TIME_SYNC:
            return Obeyed(AckStatus.EXECUTED, "sets its clock to the server's", start_blocked_until)
        case CommandType.IN_VEHICLE_WARNING:
            return Obeyed(AckStatus.EXECUTED, f"warns: {command.parameters.get('message', '')}", start_blocked_until)
        case CommandType.ENGINE_START_RELEASE:
            return Obeyed(AckStatus.EXECUTED, "will start again", None)
        case CommandType.ENGINE_START_BLOCK if engine_runs:
            return Obeyed(AckStatus.REJECTED, "refuses a start block", start_blocked_until, "the engine is running")
        case CommandType.ENGINE_START_BLOCK:
            until = parse_instant(command.parameters.get("until"))
            return Obeyed(AckStatus.EXECUTED, f"will not start until {command.parameters['until']}", until)
