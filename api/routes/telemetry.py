"""A vehicle's time series: samples or figures by the bucket, trips, and the latest state with its age."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from api.answers import telemetry as answers
from api.deps import Database, ReadableVin, known_vehicle
from api.errors import documented
from api.tables import Format, Rows, Written, accepted, turn
from db import telemetry, vehicles
from rules.errors import UnprocessableError
from schemas import telemetry as wire
from schemas.curfew import NearInstant
from schemas.telemetry import Bucket, TelemetryField

router = APIRouter(prefix="/api/v1/vehicles/{vin}", tags=["Telemetry"])

_ROWS_MOST = 100_000
_BUCKETS_MOST = 10_000
_SAMPLES_SPAN = timedelta(days=31)
_LONGEST = timedelta(days=366)
_BY_DEFAULT = timedelta(days=1)
_FIELDS = "|".join(TelemetryField)


class _QueryError(UnprocessableError):
    place = "query"


Wanted = Annotated[Format, Depends(accepted)]
From = Annotated[NearInstant | None, Query(alias="from", description="included; a day before `to` without it")]
To = Annotated[NearInstant | None, Query(description="not included; now without it")]
Fields = Annotated[
    str | None,
    Query(
        pattern=rf"^({_FIELDS})(,({_FIELDS}))*$",
        description="some of " + ", ".join(f"`{field}`" for field in TelemetryField) + ", by commas; all without it",
        examples=["speedKph,fuelLevel"],
    ),
]


def _documents(model: type[Any]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of an answer in each format."""
    bytes_ = {"schema": {"type": "string", "format": "binary"}}
    return {
        200: {"model": model, "content": {Format.CSV: {"schema": {"type": "string"}}, Format.PARQUET: bytes_}},
        **documented(401, 404, 406, 422, 503),
    }


@router.get("/telemetry", responses=_documents(wire.Telemetry), response_class=Response, summary="What it reported")
def get_telemetry(
    *,
    vin: ReadableVin,
    pool: Database,
    wanted: Wanted,
    from_: From = None,
    to: To = None,
    bucket: Annotated[Bucket | None, Query(description="figures by the bucket instead of the samples")] = None,
    fields: Fields = None,
) -> Response:
    """Its samples of [from, to) by its clock, at most 31 days and 100,000; or at most 10,000 buckets of a year."""
    since, until = _period(from_, to, most=_LONGEST if bucket else _SAMPLES_SPAN)
    if bucket and (until - since) / bucket.width > _BUCKETS_MOST:
        raise _QueryError(f"expected at most {_BUCKETS_MOST:,} buckets: ask for a shorter period", field="bucket")
    chosen = answers.chosen(fields, by_bucket=bucket is not None)
    with turn(), pool.connection() as conn:
        known_vehicle(conn, vin)
        found = (
            telemetry.buckets(conn, vin, since=since, until=until, width=bucket.width)
            if bucket
            else _at_most(telemetry.samples(conn, vin, since=since, until=until))
        )
        rows = Rows(chosen.columns, map(chosen.of, found))
        written = Written(rows, wanted, {"vin": vin, "from": since, "to": until, "bucket": bucket})
    return written.answer()


@router.get("/trips", responses=_documents(wire.Trips), response_class=Response, summary="Its trips")
def get_trips(vin: ReadableVin, pool: Database, wanted: Wanted, from_: From = None, to: To = None) -> Response:
    """The trips that began in [from, to), at most 366 days, as engine events and motion show them."""
    since, until = _period(from_, to, most=_LONGEST)
    with turn(), pool.connection() as conn:
        known_vehicle(conn, vin)
        found = telemetry.trips(conn, vin, since=since, until=until)
        written = Written(Rows(answers.TRIP_COLUMNS, found), wanted, {"vin": vin, "from": since, "to": until})
    return written.answer()


@router.get("/latest", responses=documented(401, 404, 422, 503), summary="Its latest state, and how old that is")
def get_latest(vin: ReadableVin, pool: Database) -> wire.LatestState:
    """The newest status and engine event by the vehicle's clock, and whether it is connected."""
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        state = vehicles.state(conn, vin)
    if state is None:
        raise ValueError("a vehicle that is known has a state")
    return answers.latest_state(state, now=datetime.now(UTC))


def _period(from_: datetime | None, to: datetime | None, *, most: timedelta) -> tuple[datetime, datetime]:
    """Return [since, until). Raises UnprocessableError where it is empty or too long."""
    until = to or datetime.now(UTC)
    since = from_ or until - _BY_DEFAULT
    if since >= until:
        raise _QueryError("expected a from before to", field="from")
    if until - since > most:
        raise _QueryError(f"expected at most {most.days} days from from to to", field="from")
    return since, until


def _at_most(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Give the rows. Raises UnprocessableError where there are too many: never a part that looks like the whole."""
    for number, row in enumerate(rows):
        if number == _ROWS_MOST:
            raise _QueryError(
                f"expected a period with at most {_ROWS_MOST:,} samples: ask for a shorter one, or for buckets",
                field="from",
            )
        yield row
