"""How the system is: only what was measured, UNKNOWN with a reason where nothing is attached to measure."""

from enum import StrEnum

from schemas.base import Instant, Wire


class Health(StrEnum):
    """The whole system."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    DOWN = "DOWN"


class PartHealth(StrEnum):
    """One part of the system."""

    OPERATIONAL = "OPERATIONAL"
    DEGRADED = "DEGRADED"
    DOWN = "DOWN"
    UNKNOWN = "UNKNOWN"


class ApiHealth(Wire):
    """This process: mean time to answer and time since its start; the share of time up is not measured."""

    status: PartHealth
    response_time: str | None
    response_time_seconds: float | None
    uptime: str | None
    uptime_seconds: int


class DatabaseHealth(Wire):
    """One round trip to the database, and how many clients it has."""

    status: PartHealth
    response_time: str
    response_time_seconds: float
    connections: int


class ProcessHealth(Wire):
    """One kind of process by its heartbeats: how many are alive and ready, and the latest beat."""

    status: PartHealth
    alive: int
    ready: int
    last_beat: Instant | None


class BrokerHealth(Wire):
    """The slowest worker's last round trip to the broker: a publication and its PUBACK."""

    status: PartHealth
    reason: str | None
    response_time: str | None
    response_time_seconds: float | None


class WorkerHealth(ProcessHealth):
    """The workers; the lag is the age of the oldest message that was received and is not stored, in seconds."""

    lag_seconds: float | None
    waiting: int | None


class VoiceHealth(Wire):
    """Calls and queue from the database; the voice system itself is another company's."""

    status: PartHealth
    reason: str | None
    active_calls: int
    queue_length: int
    average_wait_time: str | None
    average_wait_seconds: int | None


class DispatchHealth(Wire):
    """Dispatches under way from the database; the dispatch systems are other companies'."""

    status: PartHealth
    reason: str | None
    active_dispatches: int
    average_response_time: str | None


class NotificationHealth(Wire):
    """Receipts of the workers that live, webhooks of the last day, and event streams; push is another company's.

    The rate counts what was confirmed, by the broker or the receiver, among what was sent; null before anything was.
    """

    status: PartHealth
    reason: str | None
    delivery_rate: str | None
    pending_notifications: int
    receipts_sent: int
    receipts_confirmed: int
    webhooks_delivered: int
    webhooks_failed: int
    webhooks_pending: int
    open_streams: int


class Systems(Wire):
    """The parts, as the SOS guide names them, and the processes behind them."""

    api: ApiHealth
    database: DatabaseHealth
    broker: BrokerHealth
    ingest: WorkerHealth
    rules: ProcessHealth
    voice_system: VoiceHealth
    dispatch_system: DispatchHealth
    notification_system: NotificationHealth


class HealthMetrics(Wire):
    """What there is to do; `systemLoad` is the load of this machine per core."""

    total_incidents_today: int
    active_incidents: int
    available_agents: int
    system_load: str


class Alert(Wire):
    """Something measured that somebody should look at."""

    level: str
    message: str
    timestamp: Instant


class SystemHealthResponse(Wire):
    """The SOS guide's System Health Status Response."""

    status: Health
    timestamp: Instant
    systems: Systems
    metrics: HealthMetrics
    alerts: tuple[Alert, ...]
