"""The time series: status samples in batches, engine events one by one; and what is read of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from db.pool import Connection
from db.statements import statements

_SQL = statements("telemetry")
_TYPES = (
    *("text", "uuid", "timestamptz", "timestamptz", "bool"),
    *("float8", "float8", "float4", "float4", "float4", "float8", "float4", "float4"),
    *("text", "text", "bool", "text[]"),
)


class StatusRow(NamedTuple):
    """One row of `vehicle_status`, in the order of its columns."""

    vin: str
    message_id: UUID
    occurred_at: datetime
    received_at: datetime
    clock_suspect: bool
    latitude: float | None
    longitude: float | None
    accuracy_m: float | None
    heading_deg: float | None
    speed_kph: float | None
    odometer_km: float | None
    battery_voltage: float | None
    fuel_level: float | None
    engine_status: str | None
    transmission_status: str | None
    drivable: bool | None
    dtc_codes: list[str] | None


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One row of `engine_events`."""

    vin: str
    message_id: UUID
    occurred_at: datetime
    received_at: datetime
    clock_suspect: bool
    event: str
    latitude: float | None
    longitude: float | None
    odometer_km: float | None


_engine_names = [field.name for field in fields(EngineRow)]


def store_status(conn: Connection, rows: Sequence[StatusRow], *, again: Sequence[StatusRow] = ()) -> int:
    """Store samples inside the caller's transaction and return how many were new.

    COPY straight into the hypertable; only where it meets a second delivery, the same rows once more through a staging
    table. What may be one is given apart in `again`, and costs the others nothing: it is staged behind them.
    Raises psycopg.DataError for a value that PostgreSQL refuses.
    """
    try:
        with conn.transaction():
            new = _copy(conn, _SQL["copy_status"], rows) if rows else 0
    except psycopg.errors.UniqueViolation:
        new, again = 0, [*rows, *again]
    return new + _merge(conn, again) if again else new


def _merge(conn: Connection, rows: Sequence[StatusRow]) -> int:
    conn.execute(_SQL["create_staging"])
    _copy(conn, _SQL["copy_staging"], rows)
    row = conn.execute(_SQL["merge_staging"]).fetchone()
    return int(row[0]) if row else 0


def _copy(conn: Connection, statement: bytes, rows: Sequence[StatusRow]) -> int:
    with conn.cursor() as cursor:
        with cursor.copy(statement) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)
        return cursor.rowcount


def store_engine_event(conn: Connection, row: EngineRow) -> None:
    """Store one engine event; a second delivery changes nothing."""
    conn.execute(_SQL["insert_engine_event"], {name: getattr(row, name) for name in _engine_names})


def samples(conn: Connection, vin: str, *, since: datetime, until: datetime) -> Iterator[tuple[Any, ...]]:
    """Give the vehicle's samples of [since, until) one by one, as the statement orders them and their columns."""
    return _rows(conn, "samples", {"vin": vin, "since": since, "until": until})


def buckets(
    conn: Connection, vin: str, *, since: datetime, until: datetime, width: timedelta
) -> Iterator[tuple[Any, ...]]:
    """Give every bucket that meets [since, until), empty ones too: begin, samples and figures of what lies within."""
    return _rows(conn, "buckets", {"vin": vin, "since": since, "until": until, "width": width})


def trips(conn: Connection, vin: str, *, since: datetime, until: datetime) -> Iterator[tuple[Any, ...]]:
    """Give the trips of the vehicle that began in [since, until), oldest first."""
    return _rows(conn, "trips", {"vin": vin, "since": since, "until": until})


def _rows(conn: Connection, name: str, values: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Read by one statement, which sees one state, without holding all its rows."""
    with conn.cursor(name=name) as cursor:
        cursor.itersize = 2000
        yield from cursor.execute(_SQL[name], values)
