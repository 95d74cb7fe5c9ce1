"""Commands to a vehicle and its acknowledgements. Nothing here can express stopping an engine (design, section 7)."""

from enum import StrEnum

from schemas.base import Instant, MessageId, ShortText, Text, Wire
from schemas.problem import Pagination
from schemas.vehicle import Uplinked


class CommandType(StrEnum):
    """What a vehicle can be asked to do."""

    TIME_SYNC = "TIME_SYNC"
    IN_VEHICLE_WARNING = "IN_VEHICLE_WARNING"
    ENGINE_START_BLOCK = "ENGINE_START_BLOCK"
    """Forbids the next start; a running engine is never touched, and the vehicle refuses it while one runs."""
    ENGINE_START_RELEASE = "ENGINE_START_RELEASE"


class AckStatus(StrEnum):
    """What became of a command in the vehicle."""

    ACCEPTED = "ACCEPTED"
    EXECUTED = "EXECUTED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"


class CommandMessage(Wire):
    """`down/command`; void after `expiresAt`, which is also the MQTT message expiry (MQTT 5 §3.3.2.3.3)."""

    command_id: MessageId
    type: CommandType
    issued_at: Instant
    expires_at: Instant
    parameters: dict[str, ShortText]


class CommandAckMessage(Uplinked):
    """`up/command-ack`: the vehicle's answer to one command."""

    command_id: MessageId
    status: AckStatus
    reason: Text | None = None


class CommandOutcome(StrEnum):
    """What became of a command; what is not PENDING or ACCEPTED never changes again."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    EXECUTED = "EXECUTED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    WITHDRAWN = "WITHDRAWN"


class CommandEntry(Wire):
    """One command as the API shows it: how often it was sent, what the vehicle answered, what became of it and why."""

    command_id: str
    type: CommandType
    parameters: dict[str, str]
    issued_at: Instant
    expires_at: Instant
    sends: int
    ack_status: AckStatus | None
    ack_reason: str | None
    acked_at: Instant | None
    outcome: CommandOutcome
    reason: str | None
    closed_at: Instant | None


class CommandListResponse(Wire):
    """A page of a vehicle's commands, newest first."""

    vin: str
    commands: tuple[CommandEntry, ...]
    pagination: Pagination
