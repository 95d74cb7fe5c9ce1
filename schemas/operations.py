"""What an operator sees: quarantine, processes and the figures of the last hours."""

from schemas.base import Instant, Wire
from schemas.problem import Pagination


class QuarantineEntry(Wire):
    """A message that could not be read or stored, and why.

    `payload` is the beginning of it as text, with `�` for what is no UTF-8; `cid` the incident that it raised anyway.
    """

    quarantine_id: int
    topic: str
    vin: str | None
    kind: str | None
    reason: str
    detail: str
    cid: str | None
    first_received_at: Instant
    received_at: Instant
    times_received: int
    replayed_at: Instant | None
    size: int
    payload: str


class QuarantineList(Wire):
    """A page of quarantined messages, newest first."""

    messages: tuple[QuarantineEntry, ...]
    pagination: Pagination


class ReplayResponse(Wire):
    """The worker will take the message once more; refused again, it is back in the list."""

    quarantine_id: int
    requested_at: Instant


class ProcessEntry(Wire):
    """A process by its last heartbeat; `figures` are its own measurements."""

    name: str
    kind: str
    alive: bool
    ready: bool
    started_at: Instant
    beat_at: Instant
    figures: dict[str, object]


class JobEntry(Wire):
    """A scheduled job of the leading rules process: when it last ran, and how long that took.

    `failures` counts since that process started; a job that has not run yet has no times.
    """

    name: str
    every_seconds: float
    last_run: Instant | None
    took_seconds: float | None
    failures: int


class ProcessList(Wire):
    """The processes of the last hour, by name, and the jobs of the one that leads."""

    processes: tuple[ProcessEntry, ...]
    jobs: tuple[JobEntry, ...]


class OperationsSample(Wire):
    """What was measured at an instant, over all living processes; null where there is nothing to compute it from.

    Rates are per second since the sample before. `lagSeconds` is the age of the oldest message received and not stored,
    `waiting` how many those are; `streamLagSeconds` how long ago the event streams were last known to be up to date.
    """

    at: Instant
    urgent_per_second: float | None
    engine_per_second: float | None
    bulk_per_second: float | None
    events_per_second: float | None
    lag_seconds: float | None
    waiting: int | None
    stream_lag_seconds: float | None
    open_streams: int | None
    connected_vehicles: int
    quarantined: int


class OperationsHistory(Wire):
    """The samples of the last minutes, oldest first."""

    minutes: int
    samples: tuple[OperationsSample, ...]
