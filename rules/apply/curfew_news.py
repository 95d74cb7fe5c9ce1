"""What is told of violations and exceptions: events for everybody, quiet alerts for the guardian."""

from collections.abc import Sequence
from datetime import datetime

from db import events
from db.curfew import CurfewException, StoredViolation
from db.events import NewEvent
from db.pool import Connection
from rules.apply.webhooks import alert_guardian
from rules.curfew import Violation
from rules.webhooks import Topic
from schemas.base import format_instant
from schemas.curfew import CurfewAction, ExceptionStatus, Severity

MESSAGES = {
    "CURFEW_VIOLATION": "Vehicle detected during curfew hours",
    "CURFEW_VIOLATION_ESCALATED": "Vehicle is still driven during curfew hours",
    "CURFEW_VIOLATION_RESOLVED": "The violation has ended",
    "CURFEW_VIOLATION_CORRECTED": "Later data changed when the violation was",
    "CURFEW_VIOLATION_RETRACTED": "The violation does not stand",
}
_ALERTS = {
    "CURFEW_VIOLATION": Topic.VIOLATION_OPENED,
    "CURFEW_VIOLATION_ESCALATED": Topic.VIOLATION_ESCALATED,
    "CURFEW_VIOLATION_RESOLVED": Topic.VIOLATION_ENDED,
}
"""One alert when a violation opens, one when its severity rises, one when it ends."""


def tell_violation(
    conn: Connection, violation: StoredViolation, type_: str, *, actions: Sequence[str], now: datetime
) -> None:
    """Write the event of a change, and alert the guardian where the policy's actions say so; late news is no alert."""
    late = violation.detected_late
    urgent = violation.severity == Severity.HIGH and type_ != "CURFEW_VIOLATION_RESOLVED"
    occurred_at = violation.started_at if type_ == "CURFEW_VIOLATION" else now
    data = _violation_data(violation, type_, now=now)
    events.append(
        conn,
        NewEvent(
            service="CURFEW",
            type=type_,
            priority="LOW" if late else "HIGH" if urgent else "NORMAL",
            vin=violation.vin,
            occurred_at=occurred_at,
            data=data,
        ),
    )
    if type_ in _ALERTS and not late and CurfewAction.NOTIFICATION in actions:
        payload = {"eventType": type_, "vin": violation.vin, "timestamp": format_instant(occurred_at)} | data
        alert_guardian(conn, violation.vin, _ALERTS[type_], payload, now=now)


def tell_exception(conn: Connection, exception: CurfewException, status: ExceptionStatus, *, at: datetime) -> None:
    """Write the event of an exception's new status."""
    data = {
        "exceptionId": exception_id(exception),
        "data": {
            "reason": exception.reason,
            "startTime": format_instant(exception.start_time),
            "endTime": format_instant(exception.end_time),
            "status": status,
        },
    }
    events.append(
        conn,
        NewEvent(
            service="CURFEW",
            type=f"CURFEW_EXCEPTION_{status.name}",
            priority="NORMAL",
            vin=exception.vin,
            occurred_at=at,
            data=data,
        ),
    )


def exception_id(exception: CurfewException) -> str:
    """Return the exception's id as the guide spells it: exc_001."""
    return f"exc_{exception.exception_number:03d}"


def violation_id(number: int) -> str:
    """Return the violation's id as the guide spells it: vio_001."""
    return f"vio_{number:03d}"


def minutes(violation: StoredViolation, now: datetime) -> int:
    """Return the whole minutes that the violation has lasted."""
    return Violation(violation.started_at, violation.ended_at, None).minutes(now)


def _violation_data(violation: StoredViolation, type_: str, *, now: datetime) -> dict[str, object]:
    """Return the guide's fields beside the envelope; the stream puts them on top (curfew guide, Violation Event)."""
    location = None
    if violation.latitude is not None:
        location = {"latitude": violation.latitude, "longitude": violation.longitude, "address": None}
    return {
        "violationId": violation_id(violation.violation_number),
        "severity": violation.severity,
        "data": {
            "location": location,
            "duration": minutes(violation, now),
            "message": MESSAGES[type_],
            "resolved": violation.ended_at is not None,
            "resolution": violation.resolution,
            "detectedLate": violation.detected_late,
        },
    }
