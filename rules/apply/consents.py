"""The driver's consents: recorded, what they are now, and what follows from them."""

from datetime import datetime

from db import curfew, vehicles
from db.curfew import Consent
from db.pool import Connection
from db.sos import SosIncident
from rules.apply.curfew import record_consent
from rules.errors import UnprocessableError
from schemas.curfew import ConsentPurpose, ConsentRequest


def record(conn: Connection, vin: str, request: ConsentRequest, *, actor: str, now: datetime) -> None:
    """Note that the driver grants or withdraws consent; what is so already is not noted again.

    Raises UnprocessableError for a time that lies ahead, or before the last record.
    """
    curfew.lock_watch(conn, vin)
    vehicles.lock(conn, [vin])
    at = request.timestamp or now
    known = latest(conn, vin, request.purpose)
    if at > now:
        raise UnprocessableError("expected a timestamp that is not in the future", field="timestamp")
    if known is not None and at < known.effective_at:
        raise UnprocessableError("expected a timestamp that is not older than the last record", field="timestamp")
    if known is not None and known.granted == request.granted:
        return
    if request.purpose is ConsentPurpose.CURFEW:
        record_consent(conn, vin, granted=request.granted, actor=actor, at=at, now=now)
        return
    curfew.add_consent(
        conn, vin=vin, purpose=request.purpose, granted=request.granted, effective_at=at, recorded_by=actor
    )
    if request.purpose is ConsentPurpose.LOCATION:
        vehicles.withhold_location(conn, vin, withheld=not request.granted)


def latest(conn: Connection, vin: str, purpose: ConsentPurpose) -> Consent | None:
    """Return what was recorded last for a purpose, or None where nothing ever was."""
    return max(curfew.consents(conn, vin, purpose), key=lambda consent: consent.effective_at, default=None)


def by_purpose(conn: Connection, vin: str) -> dict[ConsentPurpose, Consent | None]:
    """Return what was recorded last for each purpose."""
    return {purpose: latest(conn, vin, purpose) for purpose in ConsentPurpose}


def allows_recording(conn: Connection, incident: SosIncident) -> bool:
    """Tell whether calls of this emergency may be recorded: as was said with the press, else as is on record."""
    said = (incident.customer_consent or {}).get("voiceRecording")
    purpose = ConsentPurpose.VOICE_RECORDING
    return allows(purpose, latest(conn, incident.vin, purpose)) if said is None else bool(said)


def allows(purpose: ConsentPurpose, consent: Consent | None) -> bool:
    """Tell whether this may be done, given what was recorded last (decision 0017).

    A vehicle is located unless its driver has withdrawn that; a curfew and recordings need a consent.
    """
    return purpose is ConsentPurpose.LOCATION if consent is None else consent.granted
