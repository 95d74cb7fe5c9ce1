"""A vehicle's time series: samples, figures by the bucket, trips, and the latest state with its age."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.base import Instant, Wire
from schemas.sos import KnownLocation


class Bucket(StrEnum):
    """How long a bucket is; a day is UTC's."""

    SECONDS_10 = "10s"
    MINUTE = "1m"
    MINUTES_5 = "5m"
    MINUTES_15 = "15m"
    HOUR = "1h"
    HOURS_6 = "6h"
    DAY = "1d"

    @property
    def width(self) -> timedelta:
        """The same as a duration."""
        number, unit = int(self[:-1]), self[-1]
        return number * {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}.get(
            unit, timedelta(days=1)
        )


class TelemetryField(StrEnum):
    """What can be asked for; `location` is latitude, longitude, accuracy and heading."""

    LOCATION = "location"
    SPEED = "speedKph"
    ODOMETER = "odometerKm"
    BATTERY = "batteryVoltage"
    FUEL = "fuelLevel"
    ENGINE = "engineStatus"
    TRANSMISSION = "transmissionStatus"
    DRIVABLE = "drivable"
    CODES = "dtcCodes"


class TelemetrySample(Wire):
    """One status message: degrees, metres, km/h, km, volts, per cent; null where it did not say.

    `timestamp` is by the vehicle's clock; where that was unusable (`clockSuspect`), when the message was received.
    """

    timestamp: Instant
    received_at: Instant
    clock_suspect: bool
    latitude: float | None = None
    longitude: float | None = None
    accuracy: float | None = None
    heading: float | None = None
    speed_kph: float | None = None
    odometer_km: float | None = None
    battery_voltage: float | None = None
    fuel_level: float | None = None
    engine_status: str | None = None
    transmission_status: str | None = None
    drivable: bool | None = None
    dtc_codes: tuple[str, ...] | None = None


class TelemetryBucket(Wire):
    """What the samples of a bucket say; all but their number is null where there are none.

    `timestamp` is the bucket's begin. Of what has no mean, the last that was said.
    """

    timestamp: Instant
    samples: int
    latitude_last: float | None = None
    longitude_last: float | None = None
    accuracy_last: float | None = None
    heading_last: float | None = None
    speed_kph_min: float | None = None
    speed_kph_max: float | None = None
    speed_kph_average: float | None = None
    speed_kph_last: float | None = None
    odometer_km_min: float | None = None
    odometer_km_max: float | None = None
    odometer_km_average: float | None = None
    odometer_km_last: float | None = None
    battery_voltage_min: float | None = None
    battery_voltage_max: float | None = None
    battery_voltage_average: float | None = None
    battery_voltage_last: float | None = None
    fuel_level_min: float | None = None
    fuel_level_max: float | None = None
    fuel_level_average: float | None = None
    fuel_level_last: float | None = None
    engine_status_last: str | None = None
    transmission_status_last: str | None = None
    drivable_last: bool | None = None
    dtc_codes_last: tuple[str, ...] | None = None


class Telemetry(Wire):
    """A vehicle's samples or buckets of [from, to), oldest first. CSV and Parquet hold the rows only."""

    vin: str
    from_: Annotated[Instant, Field(alias="from")]
    to: Instant
    bucket: Bucket | None
    rows: tuple[TelemetryBucket | TelemetrySample, ...]


class Trip(Wire):
    """From the first sight of the running engine to its stop: seconds, km, km/h, per cent of the tank, degrees.

    `endedBy` is ENGINE_OFF; or SILENCE, where the last that was heard is the end; or null while it is under way. Null
    is also what the vehicle did not report: a distance needs two figures of the odometer, fuel two of its level, and
    less than nothing is not told (refuelled on the way).
    """

    started_at: Instant
    ended_at: Instant | None
    ended_by: str | None
    duration_seconds: float
    distance_km: float | None
    maximum_speed_kph: float | None
    fuel_used_percent: float | None
    start_latitude: float | None
    start_longitude: float | None
    end_latitude: float | None
    end_longitude: float | None
    clock_suspect: bool


class Trips(Wire):
    """The trips of a vehicle that began in [from, to), oldest first. CSV and Parquet hold the rows only."""

    vin: str
    from_: Annotated[Instant, Field(alias="from")]
    to: Instant
    rows: tuple[Trip, ...]


class LatestState(Wire):
    """The newest that a vehicle has said, by its own clock, whatever came last; null where it never said.

    `ageSeconds` is how long ago that was; `online` whether it is connected, which it may be and be silent.
    """

    vin: str
    online: bool | None
    online_since: Instant | None
    as_of: Instant | None
    age_seconds: float | None
    received_at: Instant | None
    clock_suspect: bool | None
    location: KnownLocation | None
    accuracy: float | None
    heading: float | None
    speed_kph: float | None
    odometer_km: float | None
    battery_voltage: float | None
    fuel_level: float | None
    engine_status: str | None
    transmission_status: str | None
    drivable: bool | None
    dtc_codes: tuple[str, ...] | None
    engine_event: str | None
    engine_event_at: Instant | None
    engine_event_age_seconds: float | None
