"""When a vehicle's next start may be forbidden. Anything unknown means no (design, section 7)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.vehicle import EngineStatus, TransmissionStatus

STATUS_FRESH_FOR = timedelta(seconds=10)
SENDS_AFTER = (timedelta(0), timedelta(seconds=10), timedelta(seconds=30))
"""When a command is sent, counted from its issue; preconditions are checked again before each."""
EXPIRES_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a vehicle: its last status by event time, and whether somebody needs help in it."""

    seen_at: datetime | None
    clock_suspect: bool | None
    engine_status: str | None
    speed_kph: float | None
    transmission_status: str | None
    sos_open: bool
    rsa_open: bool


def refusal(standing: Standing, *, now: datetime) -> str | None:
    """Return why the next start must not be forbidden now; None where it may be."""
    fresh = (
        standing.seen_at is not None
        and standing.clock_suspect is False
        and timedelta(0) <= now - standing.seen_at <= STATUS_FRESH_FOR
    )
    checks = {
        "SOS_OPEN": not standing.sos_open,
        "RSA_OPEN": not standing.rsa_open,
        "STATUS_NOT_FRESH": fresh,
        "ENGINE_NOT_OFF": standing.engine_status == EngineStatus.OFF,
        "NOT_STANDING": standing.speed_kph == 0,
        "NOT_IN_PARK": standing.transmission_status == TransmissionStatus.PARK,
    }
    return next((reason for reason, holds in checks.items() if not holds), None)


def next_send(issued_at: datetime, sends: int) -> datetime | None:
    """Return when a command that was sent this often is sent again; None after the last time."""
    return issued_at + SENDS_AFTER[sends] if sends < len(SENDS_AFTER) else None
