"""Traces of what vehicles have said: JSON Lines or CSV files as `tcu-sim record` writes them, and tracks of GPX."""

import base64
import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TextIO
from uuid import UUID, uuid5

import gpxpy
from gpxpy.gpx import GPXException, GPXTrackPoint
from pydantic import TypeAdapter, ValidationError

from schemas.base import Vin, format_instant, parse_instant
from schemas.topics import Uplink
from schemas.vehicle import (
    EngineEvent,
    EngineMessage,
    EngineStatus,
    Location,
    StatusMessage,
    TransmissionStatus,
    Uplinked,
)
from simulator.messages import payload_of

GPX_VIN = "GPXTRACK000000001"
"""Whose a track is until somebody says so."""
_COLUMNS = ("at", "vin", "kind", "payload", "payloadBase64")
_STANDS_KPH = 1.0
_IDS = UUID("8b0f1d7e-5a55-4c0e-9a1c-0c9b3c1a7f10")
_vin = TypeAdapter(Vin)


class BadTrace(Exception):
    """A file is no trace; the message names the line, the field and what was expected."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message as the broker had it from a vehicle, and when."""

    at: datetime
    vin: str
    kind: Uplink
    payload: bytes


class Recorder:
    """Writes what was said, line by line, to a file that ends in .jsonl or .csv. Raises BadTrace for any other.

    It is opened, and what was in it is lost, when the context is entered, which raises BadTrace where it can't be.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in {".jsonl", ".csv"}:
            raise BadTrace(f"{path}: expected a name that ends in .jsonl or .csv")
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise BadTrace(f"{self._path}: {error.strerror}") from error
        self._csv = csv.DictWriter(self._file, _COLUMNS) if self._path.suffix == ".csv" else None
        if self._csv is not None:
            self._csv.writeheader()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, said: Said) -> None:
        """Add one message; it is on its way to the disk when this returns."""
        head = {"at": format_instant(said.at), "vin": said.vin, "kind": said.kind}
        body = _object(said.payload)
        if self._csv is not None:
            text = said.payload.decode() if body is not None else ""
            self._csv.writerow(head | ({"payload": text} if text else {"payloadBase64": _encoded(said.payload)}))
        else:
            tail = {"payload": body} if body is not None else {"payloadBase64": _encoded(said.payload)}
            self._file.write(json.dumps(head | tail, ensure_ascii=False) + "\n")
        self._file.flush()


def read_trace(path: Path) -> list[Said]:
    """Return what a .jsonl, .csv or .gpx file tells, in the file's order. Raises BadTrace."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            match path.suffix:
                case ".jsonl":
                    lines = ((line, f"{path} line {number}") for number, line in enumerate(file, start=1))
                    return [_said(_parsed(line, where), where) for line, where in lines if line.strip()]
                case ".csv":
                    return [_said(row, f"{path} row {number}") for number, row in _rows(file)]
                case ".gpx":
                    return list(_of_gpx(file, path))
                case _:
                    raise BadTrace(f"{path}: expected a file that ends in .jsonl, .csv or .gpx")
    except (OSError, ValueError, GPXException) as error:
        raise BadTrace(f"{path}: {error}") from error


def _parsed(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise BadTrace(f"{where} column {error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number too long, an object too deep
        raise BadTrace(f"{where}: {error}") from error


def _rows(file: TextIO) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV file with their numbers. Raises ValueError where it is none."""
    number = 0
    try:
        for number, row in enumerate(csv.DictReader(file), start=1):
            yield number, row
    except csv.Error as error:
        raise ValueError(f"row {number + 1}: {error}") from error


def _said(row: Any, where: str) -> Said:
    if not isinstance(row, dict):
        raise BadTrace(f"{where}: expected an object with at, vin, kind and payload")
    try:
        payload = _written(row.get("payload"), row.get("payloadBase64"))
        return Said(
            parse_instant(row.get("at")), _vin.validate_python(row.get("vin")), Uplink(str(row.get("kind"))), payload
        )
    except ValidationError as error:
        raise BadTrace(f"{where}: vin: {error.errors()[0]['msg']}") from error
    except ValueError as error:
        raise BadTrace(f"{where}: {error}") from error


def _written(payload: object, encoded: object) -> bytes:
    if isinstance(payload, dict):
        return json.dumps(payload, ensure_ascii=False).encode()
    if isinstance(payload, str) and payload:
        return payload.encode()
    if isinstance(encoded, str):
        return base64.b64decode(encoded, validate=True)
    raise ValueError("expected payload or payloadBase64")


def _object(payload: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a payload, None where it would not come back as it is."""
    try:
        body = json.loads(payload.decode(), parse_constant=_no_constant)
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _encoded(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


def _of_gpx(file: TextIO, path: Path) -> Iterator[Said]:
    """Yield the messages of a drive along each segment of each track: engine START, points as status, engine STOP."""
    found = False
    odometer_km = 0.0
    for segment in (segment for track in gpxpy.parse(file).tracks for segment in track.segments):
        points = [point for point in segment.points if point.time is not None]
        if len(points) < 2:  # noqa: PLR2004 - one point is no drive
            continue
        found = True
        for message, kind in _drive(points, odometer_km):
            if isinstance(message, StatusMessage):
                odometer_km = message.odometer_km or odometer_km
            yield Said(message.timestamp, GPX_VIN, kind, payload_of(message))
    if not found:
        raise BadTrace(f"{path}: expected a track of at least two points with times")


def _drive(points: Sequence[GPXTrackPoint], odometer_km: float) -> Iterator[tuple[Uplinked, Uplink]]:
    def engine(event: EngineEvent, point: GPXTrackPoint) -> tuple[Uplinked, Uplink]:
        status = _status(point, 0.0, None, odometer_km)
        return (
            EngineMessage(
                message_id=_id(point, event), timestamp=status.timestamp, event=event, location=status.location,
                odometer_km=status.odometer_km,
            ),
            Uplink.ENGINE,
        )  # fmt: skip

    yield engine(EngineEvent.START, points[0])
    before = points[0]
    for point in points:
        metres = point.distance_2d(before) or 0.0
        odometer_km += metres / 1000
        seconds = (_time(point) - _time(before)).total_seconds()
        speed_mps = _told(point, "speed")
        if speed_mps is None:
            speed_mps = metres / seconds if seconds > 0 else 0.0
        heading = _told(point, "course")
        if heading is None and metres:
            heading = _bearing(before, point)
        yield _status(point, min(500.0, speed_mps * 3.6), heading, odometer_km), Uplink.STATUS
        before = point
    yield engine(EngineEvent.STOP, points[-1])


def _status(point: GPXTrackPoint, speed_kph: float, heading: float | None, odometer_km: float) -> StatusMessage:
    """Return a sample with what a track tells; what it does not tell is left out. Raises ValueError for no place."""
    try:
        location = Location(latitude=point.latitude, longitude=point.longitude, heading=heading)
    except ValidationError as error:
        first = error.errors()[0]
        place = f"the point of {format_instant(_time(point))}: {first['loc'][0]}"
        raise ValueError(f"{place}: {first['msg']}, not {first['input']}") from error
    return StatusMessage(
        message_id=_id(point, "status"),
        timestamp=_time(point),
        location=location,
        speed_kph=round(speed_kph, 1),
        odometer_km=round(odometer_km, 3),
        engine_status=EngineStatus.ON,
        transmission_status=TransmissionStatus.DRIVE if speed_kph > _STANDS_KPH else None,
    )


def _told(point: GPXTrackPoint, name: str) -> float | None:
    """Return what GPX 1.0 tells of a point beyond its place, None where it is -1 or NaN, as devices say "unknown".

    The library has no types for it.
    """
    value = getattr(point, name)
    return float(value) if value is not None and 0 <= value < math.inf else None


def _time(point: GPXTrackPoint) -> datetime:
    assert point.time is not None  # noqa: S101 - points without times were left out
    return point.time.astimezone(UTC)


def _bearing(before: GPXTrackPoint, after: GPXTrackPoint) -> float:
    north = after.latitude - before.latitude
    east = (after.longitude - before.longitude) * math.cos(math.radians(before.latitude))
    return math.degrees(math.atan2(east, north)) % 360


def _id(point: GPXTrackPoint, what: str) -> str:
    """Return the same message id for the same point each time."""
    return str(uuid5(_IDS, f"{what}:{point.time}:{point.latitude}:{point.longitude}"))
