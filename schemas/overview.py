"""Lists over several vehicles: incidents in one line each, vehicles with their latest state, where one was lately."""

from schemas.base import Instant, Wire
from schemas.incident import Service
from schemas.problem import Pagination
from schemas.sos import KnownLocation, Urgency


class IncidentEntry(Wire):
    """An incident of either service.

    `kind` is an SOS's emergency type or an RSA's service type; an SOS has an `urgency`, an RSA a `priority`.
    `assignedAt` and `connectedAt` say when an SOS got its counselor and the counselor's voice; `promisedArrival` is the
    first time of arrival that an RSA's partner gave, `estimatedArrival` the latest of either service.
    """

    service: Service
    cid: str
    vin: str
    status: str
    kind: str | None
    urgency: Urgency | None
    priority: str | None
    timestamp: Instant
    received_at: Instant
    location: KnownLocation | None
    customer_name: str | None
    agent_id: str | None
    assigned_at: Instant | None
    connected_at: Instant | None
    dispatched_at: Instant | None
    partner: str | None
    estimated_arrival: Instant | None
    promised_arrival: Instant | None
    anomalies: tuple[str, ...]
    updated_at: Instant


class IncidentList(Wire):
    """A page by cid; `next` is the `after` of the following page, null on the last.

    A page begins behind a cid and not at a number, so that an incident that is closed meanwhile hides no other.
    """

    incidents: tuple[IncidentEntry, ...]
    next: str | None


class VehicleEntry(Wire):
    """A vehicle and its latest state: km/h, volts, per cent; null where it never said.

    `online` says whether it is connected, `asOf` when the state was so by the vehicle's clock.
    """

    vin: str
    make: str | None
    model: str | None
    model_year: int | None
    license_plate: str | None
    online: bool | None
    online_since: Instant | None
    as_of: Instant | None
    location: KnownLocation | None
    heading: float | None
    speed_kph: float | None
    battery_voltage: float | None
    fuel_level: float | None
    engine_status: str | None


class VehicleList(Wire):
    """A page of the vehicles that the key may see, by VIN."""

    vehicles: tuple[VehicleEntry, ...]
    pagination: Pagination


class TrackPoint(Wire):
    """Where the vehicle was; degrees and km/h."""

    timestamp: Instant
    latitude: float
    longitude: float
    heading: float | None
    speed_kph: float | None


class Track(Wire):
    """Where the vehicle was in the last minutes, oldest first; of more than 500 positions the newest."""

    vin: str
    minutes: int
    points: tuple[TrackPoint, ...]
