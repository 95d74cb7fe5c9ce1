"""How webhooks are signed, and what becomes of a delivery after an attempt (Standard Webhooks 1.0)."""

import base64
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

from standardwebhooks import Webhook

SECRET_BYTES = 32


class Topic(StrEnum):
    """What a webhook tells; its payload carries it as `type`."""

    DISPATCH = "rsa.dispatch"
    WITHDRAWAL = "rsa.dispatch.withdrawn"
    VIOLATION_OPENED = "curfew.violation.opened"
    VIOLATION_ESCALATED = "curfew.violation.escalated"
    VIOLATION_ENDED = "curfew.violation.ended"


class Outcome(StrEnum):
    """What becomes of a delivery."""

    DELIVERED = "DELIVERED"
    AGAIN = "AGAIN"
    REFUSED = "REFUSED"


def format_secret(key: bytes) -> str:
    """Return a signing key as receivers are given it: `whsec_` and base64."""
    return f"whsec_{base64.b64encode(key).decode()}"


def headers(secret: str, delivery_id: str, body: str, *, at: datetime) -> dict[str, str]:
    """Return the headers that identify, date and sign a body; the time is that of this attempt."""
    return {
        "content-type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(msg_id=delivery_id, timestamp=at, data=body),
    }


def outcome(status: int) -> Outcome:
    """Return what an answer means: 2xx is taken, 410 is never again, all else is tried again."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome.DELIVERED
    return Outcome.REFUSED if status == HTTPStatus.GONE else Outcome.AGAIN


def delay(attempts: int, *, first: timedelta, most: timedelta, spread: float) -> timedelta:
    """Return how long to wait after so many attempts: doubled each time up to `most`, less up to a quarter.

    `spread` in [0, 1) says how much of that quarter; drawn at random, it keeps many deliveries from coming at once.
    """
    doublings = min(attempts - 1, 30)  # the cap is reached long before; more would overflow
    return min(first * (1 << doublings), most) * (1 - spread / 4)
