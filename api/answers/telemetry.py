"""Time series as answers: which columns, and the latest state."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from api.tables import COUNT, INSTANT, NUMBER, TEXT, TEXTS, TRUTH, Column
from db.vehicles import VehicleState
from schemas import telemetry as wire
from schemas.sos import KnownLocation
from schemas.telemetry import TelemetryField

_PLACE = ("latitude", "longitude", "accuracy", "heading")
_FIGURES = ("Min", "Max", "Average", "Last")
_TYPES = {
    TelemetryField.ENGINE: TEXT,
    TelemetryField.TRANSMISSION: TEXT,
    TelemetryField.DRIVABLE: TRUTH,
    TelemetryField.CODES: TEXTS,
}
"""Of what is no number."""

TRIP_COLUMNS = (
    Column("startedAt", INSTANT),
    Column("endedAt", INSTANT),
    Column("endedBy", TEXT),
    Column("durationSeconds", NUMBER),
    Column("distanceKm", NUMBER),
    Column("maximumSpeedKph", NUMBER),
    Column("fuelUsedPercent", NUMBER),
    Column("startLatitude", NUMBER),
    Column("startLongitude", NUMBER),
    Column("endLatitude", NUMBER),
    Column("endLongitude", NUMBER),
    Column("clockSuspect", TRUTH),
)
"""In the order of the statement `trips`."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some columns of a statement."""

    columns: Sequence[Column]
    places: Sequence[int]

    def of(self, row: Sequence[Any]) -> Sequence[Any]:
        """Return these columns of a row."""
        picked: Sequence[Any] = itemgetter(*self.places)(row)
        return picked


def chosen(fields: str | None, *, by_bucket: bool) -> Chosen:
    """Return the columns of `samples` or `buckets` that these fields, by commas, stand for; None: all."""
    asked = set(TelemetryField) if fields is None else {TelemetryField(name) for name in fields.split(",")}
    head = (
        (Column("timestamp", INSTANT), Column("samples", COUNT))
        if by_bucket
        else (Column("timestamp", INSTANT), Column("receivedAt", INSTANT), Column("clockSuspect", TRUTH))
    )
    every = [(column, True) for column in head]
    for field in TelemetryField:
        every += [(column, field in asked) for column in (_figures(field) if by_bucket else _plain(field))]
    places = [place for place, (_, wanted) in enumerate(every) if wanted]
    return Chosen([every[place][0] for place in places], places)


def _plain(field: TelemetryField) -> list[Column]:
    if field is TelemetryField.LOCATION:
        return [Column(name, NUMBER) for name in _PLACE]
    return [Column(field, _TYPES.get(field, NUMBER))]


def _figures(field: TelemetryField) -> list[Column]:
    if field is TelemetryField.LOCATION or field in _TYPES:
        return [Column(f"{column.name}Last", column.type) for column in _plain(field)]
    return [Column(f"{field}{figure}", NUMBER) for figure in _FIGURES]


def latest_state(state: VehicleState, *, now: datetime) -> wire.LatestState:
    """Return the newest that a vehicle has said, and how old that is."""
    located = state.latitude is not None and state.longitude is not None
    return wire.LatestState(
        vin=state.vin,
        online=state.online,
        online_since=state.presence_changed_at,
        as_of=state.occurred_at,
        age_seconds=_age_s(state.occurred_at, now),
        received_at=state.received_at,
        clock_suspect=state.clock_suspect,
        location=KnownLocation(latitude=state.latitude, longitude=state.longitude, address=None) if located else None,
        accuracy=state.accuracy_m,
        heading=state.heading_deg,
        speed_kph=state.speed_kph,
        odometer_km=state.odometer_km,
        battery_voltage=state.battery_voltage,
        fuel_level=state.fuel_level,
        engine_status=state.engine_status,
        transmission_status=state.transmission_status,
        drivable=state.drivable,
        dtc_codes=None if state.dtc_codes is None else tuple(state.dtc_codes),
        engine_event=state.engine_event,
        engine_event_at=state.engine_event_at,
        engine_event_age_seconds=_age_s(state.engine_event_at, now),
    )


def _age_s(at: datetime | None, now: datetime) -> float | None:
    # A clock that is up to 60 s ahead is believed.
    return None if at is None else max(0.0, round((now - at).total_seconds(), 3))
