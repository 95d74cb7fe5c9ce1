"""From bytes to a typed message, or to the reason why not. Pure: no I/O and no clock."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from db.telemetry import StatusRow
from ingest.inbox import Received
from ingest.status import read_status
from rules.clock import EventTime, event_time
from schemas.base import MessageId, parse_instant
from schemas.contract import UPLINKS
from schemas.sos import SosReport
from schemas.topics import MAX_PAYLOAD_BYTES, Uplink, parse_uplink
from schemas.vehicle import Uplinked

_message_id = TypeAdapter(MessageId)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message that can be stored. `message_id_text` is the id as the vehicle spelled it, for its receipt."""

    vin: str
    kind: Uplink
    message: Uplinked
    message_id: UUID
    message_id_text: str
    time: EventTime


@dataclass(frozen=True, slots=True)
class DecodedSos:
    """A press: always raised, whatever was wrong with it.

    `message_id_text` is None where none could be read; `message_id` is then made from the payload. `anomalies` says
    what was wrong; `damaged`, that the raw bytes hold more than was understood, so they are to be kept.
    """

    vin: str
    report: SosReport
    message_id: UUID
    message_id_text: str | None
    time: EventTime
    anomalies: tuple[str, ...]
    damaged: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that goes to quarantine, with what is known of it."""

    vin: str | None
    kind: Uplink | None
    message_id_text: str | None
    reason: str
    detail: str


Step = StatusRow | Decoded | DecodedSos | Rejected
"""What a message turned out to be."""


def decode(received: Received) -> Step:
    """Return the message, or why it can't be stored. Never raises: nothing behind a bad message waits.

    A status message, by far the most frequent, becomes its row at once.
    """
    try:
        vin, kind = parse_uplink(received.topic)
    except ValueError as error:
        return Rejected(None, None, None, "UNKNOWN_TOPIC", str(error))
    if kind is Uplink.SOS:
        return _decode_sos(vin, received)
    if len(received.payload) > MAX_PAYLOAD_BYTES:
        detail = f"expected at most {MAX_PAYLOAD_BYTES} bytes, got {len(received.payload)}"
        return Rejected(vin, kind, None, "TOO_LARGE", detail)
    try:
        if kind is Uplink.STATUS:
            return read_status(vin, received)
        message = UPLINKS[kind].model_validate_json(received.payload, strict=True)
    except ValidationError as error:
        return _reject(vin, kind, received.payload, error)
    return Decoded(
        vin,
        kind,
        message,
        UUID(message.message_id),
        message.message_id,
        event_time(message.timestamp, received.received_at),
    )


def describe(error: ValidationError) -> str:
    """Return the fields that are wrong and what was expected, as `location.latitude: Input should be …`."""
    return "; ".join(f"{_path(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False, include_url=False))


def _reject(vin: str, kind: Uplink, payload: bytes, error: ValidationError) -> Rejected:
    unreadable = any(e["type"] == "json_invalid" for e in error.errors(include_input=False))
    raw = _read_object(payload)
    message_id = _read_message_id(raw) if raw is not None else None
    return Rejected(vin, kind, message_id, "NOT_JSON" if unreadable else "INVALID_FIELD", describe(error))


def _decode_sos(vin: str, received: Received) -> DecodedSos:
    raw = _read_object(received.payload)
    if raw is None:
        raw, faults = {}, ["UNREADABLE_PAYLOAD"]
        report = SosReport()
    else:
        report, faults = _salvage(raw)
    message_id_text = _read_message_id(raw)
    reported_at = _read_timestamp(raw.get("timestamp"))
    if faults != ["UNREADABLE_PAYLOAD"]:
        faults += [] if message_id_text else ["INVALID_FIELD messageId: expected a UUID"]
        faults += [] if reported_at else ["INVALID_FIELD timestamp: expected an RFC 3339 date-time with an offset"]
    time = event_time(reported_at, received.received_at)
    notes = [
        *faults,
        *(["CLOCK_SUSPECT"] if time.clock_suspect else []),
        *(["DETECTED_LATE"] if time.detected_late else []),
        *(["NO_LOCATION"] if report.location is None else []),
    ]
    made = UUID(bytes=hashlib.sha256(received.payload).digest()[:16])
    return DecodedSos(
        vin,
        report,
        UUID(message_id_text) if message_id_text else made,
        message_id_text,
        time,
        tuple(notes),
        damaged=bool(faults),
    )


def _read_object(payload: bytes) -> dict[str, Any] | None:
    # Python's reader takes more than PostgreSQL does (NaN, lone surrogates); the models refuse those field by field.
    try:
        raw = json.loads(payload.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


def _read_message_id(raw: dict[str, Any]) -> str | None:
    try:
        return _message_id.validate_python(raw.get("messageId"))
    except ValidationError:
        return None


def _read_timestamp(value: object) -> datetime | None:
    try:
        return parse_instant(value)
    except ValueError:
        return None


def _salvage(raw: dict[str, Any]) -> tuple[SosReport, list[str]]:
    """Return what can be understood of a press, and what was taken out of `raw` for it; of a list, the first bad item.

    All complaints of a round go at once: a press costs a few readings, however much in it is wrong.
    """
    faults: dict[str, str] = {}
    while True:
        try:
            return SosReport.model_validate(raw), list(faults.values())
        except ValidationError as error:
            complaints = error.errors(include_input=False, include_url=False, include_context=False)
            for complaint in complaints:
                # A field that was left out for its value may then be missing: the first complaint is the telling one.
                field = _path(tuple(part for part in complaint["loc"] if isinstance(part, str)))
                faults.setdefault(field, f"INVALID_FIELD {_path(complaint['loc'])}: {complaint['msg']}")
            for complaint in reversed(complaints):  # the last items of a list first: the others keep their places
                # A required field that is missing makes its object useless; anything else goes alone.
                path = complaint["loc"][:-1] if complaint["type"] == "missing" else complaint["loc"]
                _remove(raw, path)


def _remove(value: Any, path: tuple[int | str, ...]) -> None:
    *above, last = path
    for key in above:
        if isinstance(value, dict) and key not in value:
            return  # gone with what held it
        value = value[key]
    if isinstance(value, list):
        del value[int(last)]
    else:
        value.pop(last, None)


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "message"
