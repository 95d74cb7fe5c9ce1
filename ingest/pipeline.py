"""THE path: a batch of messages becomes rows, incidents and events in one transaction."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeGuard
from uuid import UUID

import structlog

from db import curfew, incidents, messages, sos, telemetry, vehicles
from db.errors import DatabaseError, Refused
from db.messages import Claim
from db.pool import Connection
from db.telemetry import EngineRow, StatusRow
from ingest import metrics
from ingest.decode import Decoded, DecodedSos, Rejected, Step, decode
from ingest.inbox import Received
from ingest.recent import RecentIds
from ingest.sights import EngineSeen, Sight, judge_curfews, note_status
from rules import sos as sos_rule
from rules.apply import calls as apply_calls
from rules.apply import commands as apply_commands
from rules.apply import rsa as apply_rsa
from rules.apply import sos as apply_sos
from rules.errors import NotFoundError
from schemas.call import CallMessage
from schemas.command import CommandAckMessage
from schemas.receipt import ReceiptResult
from schemas.rsa import RsaMessage
from schemas.sos import SosReport
from schemas.system_test import TEST_VIN
from schemas.topics import Uplink
from schemas.vehicle import EngineEvent, EngineMessage, PresenceMessage

log = structlog.get_logger()

_TAKES_INCIDENT_LOCK = frozenset({Uplink.SOS, Uplink.RSA, Uplink.CALL})
_TOUCHES_COMMANDS = frozenset({Uplink.SOS, Uplink.COMMAND_ACK})
_AS_A_CAR_STARTS = frozenset({Uplink.ENGINE, Uplink.PRESENCE})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message, for its receipt and the metrics."""

    vin: str | None
    kind: Uplink | None
    message_id_text: str | None
    result: ReceiptResult
    cid: str | None = None


_STATUS_STORED = Outcome(None, Uplink.STATUS, None, ReceiptResult.STORED)
"""Of a status nobody is told, so thousands share one outcome."""


def store(
    conn: Connection,
    batch: Sequence[Received],
    *,
    known_vins: set[str],
    engines: dict[str, EngineSeen] | None = None,
    recent: RecentIds | None = None,
    now: datetime,
) -> list[Outcome]:
    """Store a batch in one transaction and return what became of each message, in the order given.

    Needs an autocommit connection. `known_vins` remembers which vehicles are registered, `engines` what their last
    status showed, `recent` which status came of late; forget all three when a batch failed. Raises what the database
    raises, with nothing of the batch stored.
    """
    steps = [decode(received) if received.step is None else received.step for received in batch]
    _register(conn, steps, known_vins)
    steps = _without_withheld_places(conn, steps)
    # Status with a time of its own, nearly all there is, goes in one COPY; everything else step by step.
    rows = [step for step in steps if isinstance(step, StatusRow) and not step.clock_suspect]
    others = [
        (step, received)
        for step, received in zip(steps, batch, strict=True)
        if not isinstance(step, StatusRow) or step.clock_suspect
    ]
    with conn.transaction():
        done = _store_others(conn, others, now) if others else []
        rows += [step for step, outcome in done if isinstance(step, StatusRow) and outcome is _STATUS_STORED]
        if rows:
            new, again = recent.split(rows) if recent is not None else (rows, [])
            telemetry.store_status(conn, new, again=again)
            note_status(conn, rows, engines if engines is not None else {}, now=now)
        if done:
            _note_second(conn, [outcome for _, outcome in done], now=now)
            judge_curfews(conn, _sights(done), now=now)
            _sync_clocks(conn, [step for step, _ in done], now=now)
    if not done:
        return [_STATUS_STORED] * len(steps)
    rest = iter(done)
    return [
        _STATUS_STORED if isinstance(step, StatusRow) and not step.clock_suspect else next(rest)[1] for step in steps
    ]


def _store_others(
    conn: Connection, others: Sequence[tuple[Step, Received]], now: datetime
) -> list[tuple[Step, Outcome]]:
    kinds = {_kind(step) for step, _ in others}
    if kinds & _TAKES_INCIDENT_LOCK:
        incidents.lock(conn)  # first, before any other lock: see db/queries/incidents.sql
    ids = _claim(conn, others)  # before any vehicle's lock: another lane may hold an id that was used twice
    if kinds & _TOUCHES_COMMANDS:
        curfew.lock_watches(conn, {step.vin for step, _ in others if step.vin is not None})
    elif kinds >= _AS_A_CAR_STARTS:
        driven, heard = (_vins(others, kind) for kind in (Uplink.ENGINE, Uplink.PRESENCE))
        if driven & heard:  # a judgement locks a vehicle's watch, and whoever erases it has that before its presence
            curfew.lock_watches(conn, driven)
    return [(step, _apply(conn, step, received, ids, now)) for step, received in others]


def _vins(others: Sequence[tuple[Step, Received]], kind: Uplink) -> set[str]:
    return {step.vin for step, _ in others if step.vin is not None and _kind(step) is kind}


def store_refused(conn: Connection, received: Received, error: Exception, *, now: datetime) -> Outcome:
    """Keep one message that could not be stored although it decoded; an SOS is raised without its details.

    Of an SOS that cannot be raised like that either the bytes are kept, and nobody is told: its vehicle sends it again,
    and is tried again, while what comes behind it does not wait. Raises what the database raises where it is away.
    """
    step = decode(received)
    detail = (str(error) or type(error).__name__).splitlines()[0]
    if not isinstance(step, DecodedSos):
        message_id = None if isinstance(step, StatusRow) else step.message_id_text
        return _quarantine(conn, Rejected(step.vin, _kind(step), message_id, "REFUSED_BY_DATABASE", detail), received)
    try:
        with conn.transaction():
            vehicles.register(conn, [step.vin])
            report = SosReport(test_call=step.report.test_call or step.vin == TEST_VIN)
            press = apply_sos.Press(
                step.vin, "TCU", report, received.received_at, received.received_at, ("UNSTORABLE_DETAILS",)
            )
            cid = apply_sos.press(conn, press, now=now)
            _keep_bytes(conn, received, step.vin, Uplink.SOS, reason="REFUSED_BY_DATABASE", detail=detail, cid=cid)
    except Exception as worse:
        if isinstance(worse, DatabaseError) and not isinstance(worse, Refused):
            raise
        metrics.NOT_RAISED.inc()
        # PostgreSQL's text may quote the row, and stays in the quarantine table.
        log.critical(
            "sos_not_raised", error=type(worse).__name__, exc_info=None if isinstance(worse, Refused) else worse
        )
        _keep_bytes(conn, received, step.vin, Uplink.SOS, reason="NOT_RAISED", detail=detail, cid=None)
        return Outcome(None, Uplink.SOS, None, ReceiptResult.QUARANTINED)
    return Outcome(step.vin, Uplink.SOS, step.message_id_text, ReceiptResult.STORED, cid)


def _register(conn: Connection, steps: Sequence[Step], known_vins: set[str]) -> None:
    # Outside the transaction: two lanes that meet the same new vehicle must not wait for each other's batch.
    # What presses or connects is looked at each time: a vehicle that was erased meanwhile begins anew.
    urgent = {step.vin for step in steps if step.vin is not None and _kind(step) is not Uplink.STATUS}
    new = {step.vin for step in steps if step.vin is not None} - known_vins | urgent
    if new:
        vehicles.register(conn, new)
        known_vins |= new


def _without_withheld_places(conn: Connection, steps: list[Step]) -> list[Step]:
    """Return the steps, telemetry without its place where the driver does not consent to be located."""
    withheld = vehicles.without_location(conn)
    return [_unplaced(step) if step.vin in withheld else step for step in steps] if withheld else steps


def _unplaced(step: Step) -> Step:
    if isinstance(step, StatusRow):
        return step._replace(latitude=None, longitude=None, accuracy_m=None, heading_deg=None)
    if isinstance(step, Decoded) and isinstance(step.message, EngineMessage):
        return replace(step, message=step.message.model_copy(update={"location": None}))
    return step


@dataclass(frozen=True, slots=True)
class _Ids:
    """The (VIN, messageId) of a batch: which are its own, and what (kind, cid) the others stand for already."""

    fresh: set[tuple[str, UUID]]
    taken: dict[tuple[str, UUID], tuple[str, str | None]]


def _claim(conn: Connection, others: Sequence[tuple[Step, Received]]) -> _Ids:
    claims = [
        Claim(step.vin, step.message_id, str(_kind(step)), received.received_at)
        for step, received in others
        if not isinstance(step, Rejected) and _needs_claim(step)
    ]
    fresh = messages.claim(conn, claims) if claims else set()
    # At once for the whole batch: after an outage most of what waits is what vehicles have sent again.
    again = {(claim.vin, claim.message_id) for claim in claims} - fresh
    return _Ids(fresh, messages.taken(conn, again) if again else {})


def _needs_claim(step: StatusRow | Decoded | DecodedSos) -> bool:
    """Status is deduplicated by its own unique key, which holds the event time; not where that time is ours."""
    if isinstance(step, StatusRow):
        return step.clock_suspect
    return isinstance(step, DecodedSos) or step.kind is not Uplink.PRESENCE


def _apply(conn: Connection, step: Step, received: Received, ids: _Ids, now: datetime) -> Outcome:
    if isinstance(step, Rejected):
        return _quarantine(conn, step, received)
    key = step.vin, step.message_id
    if _needs_claim(step):
        if key not in ids.fresh:
            kind, known_as = ids.taken.get(key, (None, None))
            if not (isinstance(step, DecodedSos) and _is_new_press(conn, step, kind, known_as)):
                return Outcome(step.vin, _kind(step), _id_text(step), ReceiptResult.DUPLICATE, known_as)
        ids.fresh.discard(key)  # the same id again in this batch is a second delivery
    if isinstance(step, StatusRow):
        return _STATUS_STORED  # with the whole batch
    effect = _raise_sos(conn, step, received, now) if isinstance(step, DecodedSos) else _act(conn, step, received, now)
    if isinstance(effect, Rejected):
        messages.give_back(conn, vin=step.vin, message_id=step.message_id)
        return _quarantine(conn, effect, received)
    if effect is not None:
        messages.set_cid(conn, vin=step.vin, message_id=step.message_id, kind=str(_kind(step)), cid=effect)
    if _needs_claim(step):
        ids.taken[key] = str(_kind(step)), effect
    return Outcome(step.vin, _kind(step), step.message_id_text, ReceiptResult.STORED, effect)


def _act(conn: Connection, step: Decoded, received: Received, now: datetime) -> str | Rejected | None:
    """Do what the message asks; return the incident it belongs to, or why it belongs nowhere."""
    match step.message:
        case EngineMessage() as message:
            telemetry.store_engine_event(conn, _engine_row(step, message, received))
            return None
        case PresenceMessage(online=online):
            vehicles.set_presence(conn, step.vin, online=online, changed_at=received.received_at)
            return None
        case RsaMessage() as message:
            return _request_rsa(conn, step, message, received, now)
        case CallMessage() as message:
            cid = apply_calls.record(conn, step.vin, message, occurred_at=step.time.occurred_at, now=now)
            return cid or _reject(step, "UNKNOWN_INCIDENT", "expected the cid or requestMessageId of an incident")
        case CommandAckMessage() as message:
            return _acknowledge(conn, step, message, now)
        case _:
            raise TypeError(f"no step for {type(step.message).__name__}")


def _note_second(conn: Connection, outcomes: Sequence[Outcome], *, now: datetime) -> None:
    """Count the second deliveries for the analysts; of status with a time of its own, its storing does."""
    again = Counter(
        (one.vin, str(one.kind)) for one in outcomes if one.result is ReceiptResult.DUPLICATE and one.vin is not None
    )
    if again:
        messages.note_second(conn, again, received_at=now)


def _is_new_press(conn: Connection, step: DecodedSos, kind: str | None, cid: str | None) -> bool:
    """Tell whether an SOS with a known id is a new emergency: the id was another kind's, or that emergency is over."""
    if kind != Uplink.SOS or cid is None:
        return True  # no press had this id: a unit that uses ids twice must not lose its SOS for it
    if step.message_id_text is not None:
        return False
    incident = sos.get(conn, cid)
    return incident is not None and not sos_rule.is_open(incident.status)


def _raise_sos(conn: Connection, step: DecodedSos, received: Received, now: datetime) -> str:
    report = _as_test(step.report) if step.vin == TEST_VIN else step.report
    press = apply_sos.Press(step.vin, "TCU", report, step.time.occurred_at, received.received_at, step.anomalies)
    cid = apply_sos.press(conn, press, now=now)
    if step.damaged:
        detail = "; ".join(step.anomalies)
        _keep_bytes(conn, received, step.vin, Uplink.SOS, reason="RAISED_INCOMPLETE", detail=detail, cid=cid)
    return cid


def _as_test(report: SosReport) -> SosReport:
    """Return the press as a test call: nobody sits in the reserved vehicle, whatever it says."""
    return report.model_copy(update={"test_call": True})


def _request_rsa(conn: Connection, step: Decoded, message: RsaMessage, received: Received, now: datetime) -> str:
    notes = (
        *(["CLOCK_SUSPECT"] if step.time.clock_suspect else []),
        *(["DETECTED_LATE"] if step.time.detected_late else []),
        *(["NO_LOCATION"] if message.location is None else []),
    )
    press = apply_rsa.Press(step.vin, "TCU", message, step.time.occurred_at, received.received_at, notes)
    return apply_rsa.press(conn, press, now=now)


def _acknowledge(conn: Connection, step: Decoded, ack: CommandAckMessage, now: datetime) -> Rejected | None:
    try:
        apply_commands.acknowledge(
            conn,
            step.vin,
            UUID(ack.command_id),
            status=ack.status,
            reason=ack.reason,
            acked_at=step.time.occurred_at,
            now=now,
        )
    except NotFoundError:
        return _reject(step, "UNKNOWN_COMMAND", "expected the commandId of a command to this vehicle")
    return None


def _reject(step: Decoded, reason: str, detail: str) -> Rejected:
    return Rejected(step.vin, step.kind, step.message_id_text, reason, detail)


def _sights(done: Sequence[tuple[Step, Outcome]]) -> Iterator[Sight]:
    for step, outcome in done:
        if outcome.result is not ReceiptResult.STORED:
            continue
        if isinstance(step, DecodedSos):
            yield step.vin, step.time.occurred_at, None
        elif isinstance(step, Decoded) and isinstance(step.message, EngineMessage):
            yield step.vin, step.time.occurred_at, step.message.event is EngineEvent.START


def _sync_clocks(conn: Connection, steps: Sequence[Step], *, now: datetime) -> None:
    astray = {step.vin for step in steps if _is_astray(step)}
    if astray:
        vehicles.lock(conn, astray)
        for vin in sorted(astray):
            apply_commands.sync_time(conn, vin, now=now)


def _is_astray(step: Step) -> TypeGuard[StatusRow | Decoded | DecodedSos]:
    if isinstance(step, StatusRow):
        return step.clock_suspect
    return not isinstance(step, Rejected) and step.time.clock_suspect


def _quarantine(conn: Connection, rejected: Rejected, received: Received) -> Outcome:
    _keep_bytes(conn, received, rejected.vin, rejected.kind, reason=rejected.reason, detail=rejected.detail, cid=None)
    return Outcome(rejected.vin, rejected.kind, rejected.message_id_text, ReceiptResult.QUARANTINED)


def _keep_bytes(
    conn: Connection,
    received: Received,
    vin: str | None,
    kind: Uplink | None,
    *,
    reason: str,
    detail: str,
    cid: str | None,
) -> None:
    messages.quarantine(
        conn,
        topic=received.topic,
        payload=received.payload,
        vin=vin,
        kind=kind,
        reason=reason,
        detail=detail[:2000].replace("\x00", "\ufffd"),
        cid=cid,
        received_at=received.received_at,
    )


def _kind(step: Step) -> Uplink | None:
    if isinstance(step, StatusRow):
        return Uplink.STATUS
    return Uplink.SOS if isinstance(step, DecodedSos) else step.kind


def _id_text(step: StatusRow | Decoded | DecodedSos) -> str | None:
    return None if isinstance(step, StatusRow) else step.message_id_text


def _engine_row(step: Decoded, message: EngineMessage, received: Received) -> EngineRow:
    place = message.location
    return EngineRow(
        vin=step.vin,
        message_id=step.message_id,
        occurred_at=step.time.occurred_at,
        received_at=received.received_at,
        clock_suspect=step.time.clock_suspect,
        event=message.event,
        latitude=place.latitude if place else None,
        longitude=place.longitude if place else None,
        odometer_km=message.odometer_km,
    )
