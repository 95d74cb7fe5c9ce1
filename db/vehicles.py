"""Vehicles and their latest state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("vehicles")


@dataclass(frozen=True, slots=True)
class Vehicle:
    """What is known of a vehicle and its customer."""

    vin: str
    make: str | None
    model: str | None
    model_year: int | None
    color: str | None
    license_plate: str | None
    customer_name: str | None
    customer_phone: str | None
    membership_id: str | None


@dataclass(frozen=True, slots=True)
class VehicleState:
    """The newest status, engine event and presence of a vehicle by event time; units as in `vehicle_status`."""

    vin: str
    online: bool | None
    presence_changed_at: datetime | None
    occurred_at: datetime | None
    received_at: datetime | None
    clock_suspect: bool | None
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
    engine_event: str | None
    engine_event_at: datetime | None


@dataclass(frozen=True, slots=True)
class FleetVehicle:
    """A vehicle with its latest state, as lists show it; units as in `vehicle_status`."""

    vin: str
    make: str | None
    model: str | None
    model_year: int | None
    license_plate: str | None
    online: bool | None
    presence_changed_at: datetime | None
    occurred_at: datetime | None
    received_at: datetime | None
    latitude: float | None
    longitude: float | None
    heading_deg: float | None
    speed_kph: float | None
    battery_voltage: float | None
    fuel_level: float | None
    engine_status: str | None


@dataclass(frozen=True, slots=True)
class TrackPoint:
    """Where a vehicle was; units as in `vehicle_status`."""

    occurred_at: datetime
    latitude: float
    longitude: float
    heading_deg: float | None
    speed_kph: float | None


def register(conn: Connection, vins: Iterable[str]) -> None:
    """Make these vehicles known; those known already stay as they are."""
    # Sorted, so that two writers registering the same vehicles take their locks in one order.
    conn.execute(_SQL["register"], {"vins": sorted(vins)})


def describe(
    conn: Connection,
    vin: str,
    *,
    make: str | None = None,
    model: str | None = None,
    model_year: int | None = None,
    customer_name: str | None = None,
    customer_phone: str | None = None,
) -> None:
    """Register a vehicle with what is known of it; what is not given stays as it was."""
    conn.execute(
        _SQL["describe"],
        {
            "vin": vin,
            "make": make,
            "model": model,
            "model_year": model_year,
            "customer_name": customer_name,
            "customer_phone": customer_phone,
        },
    )


def get(conn: Connection, vin: str) -> Vehicle | None:
    """Return the vehicle, or None where nobody has registered it."""
    with conn.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(_SQL["get"], {"vin": vin}).fetchone()


def list_all(conn: Connection, *, limit: int, offset: int) -> list[Vehicle]:
    """Return a page of vehicles by VIN."""
    with conn.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(_SQL["list_all"], {"limit": limit, "offset": offset}).fetchall()


def state(conn: Connection, vin: str) -> VehicleState | None:
    """Return the vehicle's latest state, or None for an unknown vehicle."""
    with conn.cursor(row_factory=class_row(VehicleState)) as cursor:
        return cursor.execute(_SQL["state"], {"vin": vin}).fetchone()


def set_presence(conn: Connection, vin: str, *, online: bool, changed_at: datetime) -> None:
    """Note that the vehicle connected or was lost, unless something that was received later is known."""
    conn.execute(_SQL["set_presence"], {"vin": vin, "online": online, "changed_at": changed_at})


def take_silent(conn: Connection, *, heard_before: datetime, at: datetime, limit: int) -> list[str]:
    """Take for offline those that say they are online and were last heard before an instant; return them."""
    values = {"heard_before": heard_before, "at": at, "limit": limit}
    return sorted(row[0] for row in conn.execute(_SQL["take_silent"], values))


def take_heard(conn: Connection, *, limit: int) -> list[str]:
    """Take for online again those that were silent and have spoken since; return them."""
    return sorted(row[0] for row in conn.execute(_SQL["take_heard"], {"limit": limit}))


def withhold_location(conn: Connection, vin: str, *, withheld: bool) -> None:
    """Say whether this vehicle's places may be stored and shown; in an SOS they always are."""
    conn.execute(_SQL["withhold_location"], {"vin": vin, "withheld": withheld})


def withholds_location(conn: Connection, vin: str) -> bool:
    """Tell whether the driver has withdrawn the consent to be located."""
    row = conn.execute(_SQL["withholds_location"], {"vin": vin}).fetchone()
    return row is not None and bool(row[0])


def without_location(conn: Connection) -> set[str]:
    """Return the vehicles whose places are neither stored nor shown now; none with an open SOS."""
    return {row[0] for row in conn.execute(_SQL["without_location"])}


def lock(conn: Connection, vins: Iterable[str]) -> None:
    """Keep other writers from issuing commands to these vehicles until the caller's commit."""
    conn.execute(_SQL["lock"], {"vins": sorted(vins)})


def fleet(
    conn: Connection, *, vins: Sequence[str] | None, online: bool | None, limit: int, offset: int
) -> tuple[list[FleetVehicle], int]:
    """Return a page of vehicles by VIN with their latest state, and how many there are; None: whichever."""
    values = {"vins": None if vins is None else list(vins), "online": online, "limit": limit, "offset": offset}
    with conn.cursor(row_factory=class_row(FleetVehicle)) as cursor:
        page = cursor.execute(_SQL["fleet"], values).fetchall()
    row = conn.execute(_SQL["count_fleet"], values).fetchone()
    return page, int(row[0]) if row else 0


def track(conn: Connection, vin: str, *, since: datetime, limit: int) -> list[TrackPoint]:
    """Return where the vehicle was since an instant, oldest first; of more than the limit the newest."""
    with conn.cursor(row_factory=class_row(TrackPoint)) as cursor:
        return cursor.execute(_SQL["track"], {"vin": vin, "since": since, "limit": limit}).fetchall()
