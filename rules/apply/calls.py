"""Voice calls, as the vehicle reports them, and what they do to their incident."""

from datetime import datetime
from uuid import UUID, uuid4

from db import calls, incidents, messages, rsa, sos
from db.calls import VoiceCall
from db.pool import Connection
from db.sos import SosIncident
from rules import call as rule
from rules.apply import rsa as apply_rsa
from rules.apply import sos as apply_sos
from rules.errors import IllegalMoveError
from schemas.call import CallMessage, CallStatus
from schemas.sos import SosCallRequest

_WORDS = {
    CallStatus.CONNECTING: "Voice call is being set up",
    CallStatus.CONNECTED: "Connected to emergency agent",
    CallStatus.ENDED: "Voice call ended",
    CallStatus.FAILED: "Voice call failed",
}


def record(
    conn: Connection, vin: str, message: CallMessage, *, occurred_at: datetime, now: datetime, actor: str = "TCU"
) -> str | None:
    """Apply what the vehicle, or the counselor as `actor`, tells of a call and return the incident's cid.

    None where the vehicle has no such incident.
    """
    incidents.lock(conn)
    cid = message.cid
    if cid is None:
        cid = messages.get_cid(conn, vin=vin, message_id=UUID(message.request_message_id))
    if cid is None:
        return None
    emergency = sos.get(conn, cid)
    if emergency is not None and emergency.vin == vin:
        first_time = emergency.connected_at is None
        call = _progress(conn, cid, message, occurred_at=occurred_at, now=now)
        type_ = "SOS_UPDATED"
        if message.status is CallStatus.CONNECTED:
            emergency = apply_sos.connected(conn, emergency, connected_at=occurred_at, now=now)
            type_ = "SOS_CONNECTED" if first_time else type_
        apply_sos.note(conn, emergency, at=occurred_at, actor=actor, description=_words(message))
        apply_sos.announce(conn, emergency, type_, at=occurred_at, call=call)
        return cid
    request = rsa.get(conn, cid)
    if request is not None and request.vin == vin:
        _progress(conn, cid, message, occurred_at=occurred_at, now=now)
        apply_rsa.note(conn, request, at=occurred_at, actor=actor, description=_words(message))
        apply_rsa.announce(conn, request, "RSA_UPDATED", at=occurred_at)
        return cid
    return None


def tell(
    conn: Connection, vin: str, request: SosCallRequest, *, actor: str, now: datetime
) -> tuple[SosIncident, VoiceCall]:
    """Apply what the counselor tells of the call; return the incident and its latest call.

    Raises NotFoundError, and IllegalMoveError where the incident is closed or cancelled.
    """
    incidents.lock(conn)
    incident = apply_sos.of_vehicle(conn, vin, request.cid)
    if incident.closed_at is not None:
        raise IllegalMoveError(status=incident.status, action="CALL")
    said = CallMessage(
        message_id=str(uuid4()),
        timestamp=now,
        status=request.status,
        cid=request.cid,
        session_id=request.session_id,
        duration=request.duration,
    )
    record(conn, vin, said, occurred_at=now, now=now, actor=actor)
    return apply_sos.of_vehicle(conn, vin, request.cid), calls.of_incident(conn, request.cid)[-1]


def _progress(conn: Connection, cid: str, message: CallMessage, *, occurred_at: datetime, now: datetime) -> VoiceCall:
    attempts = calls.of_incident(conn, cid)
    for known in reversed(attempts):
        if rule.belongs(known, message, occurred_at=occurred_at):
            call = rule.progress(known, message, occurred_at=occurred_at)
            calls.update(conn, call)
            return call
    started_at = rule.start(attempts, occurred_at=occurred_at)
    session_id = message.session_id or apply_sos.mint_session(conn, now=now)
    while True:
        call = VoiceCall(session_id, cid, CallStatus.CONNECTING, started_at=started_at)
        call = rule.progress(call, message, occurred_at=occurred_at)
        if calls.insert(conn, call):
            return call
        session_id = apply_sos.mint_session(conn, now=now)  # the vehicle named a session that another incident has


def _words(message: CallMessage) -> str:
    words = _WORDS[message.status]
    return words if message.duration is None else f"{words} after {message.duration} s"
