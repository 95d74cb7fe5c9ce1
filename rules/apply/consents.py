"""The driver's consent: recorded, and what it is now."""

from datetime import datetime

from db import curfew
from db.curfew import Consent
from db.pool import Connection
from rules.apply.curfew import CONSENT, record_consent
from rules.errors import UnprocessableError
from schemas.curfew import ConsentRequest


def record(conn: Connection, vin: str, request: ConsentRequest, *, actor: str, now: datetime) -> None:
    """Note that the driver grants or withdraws consent; what is so already is not noted again.

    Raises UnprocessableError for a time that lies ahead, or before the last record.
    """
    curfew.lock_watch(conn, vin)
    at = request.timestamp or now
    known = latest(conn, vin)
    if at > now:
        raise UnprocessableError("expected a timestamp that is not in the future", field="timestamp")
    if known is not None and at < known.effective_at:
        raise UnprocessableError("expected a timestamp that is not older than the last record", field="timestamp")
    if known is None or known.granted != request.granted:
        record_consent(conn, vin, granted=request.granted, actor=actor, at=at, now=now)


def latest(conn: Connection, vin: str) -> Consent | None:
    """Return what was recorded last, or None where nothing ever was."""
    return max(curfew.consents(conn, vin, CONSENT), key=lambda consent: consent.effective_at, default=None)
