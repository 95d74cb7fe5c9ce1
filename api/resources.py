"""What lives as long as the process: pool, keys seen lately, events on their way, figures."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from anyio import CapacityLimiter

from api.hub import Hub
from api.key_ring import KeyRing
from api.limits import Strangers
from api.metrics import Metrics
from api.open_streams import OpenStreams
from api.reader import EventReader
from api.settings import ApiSettings
from db.pool import Pool


@dataclass(frozen=True, slots=True)
class Resources:
    """The parts of a running api process."""

    settings: ApiSettings
    name: str
    pool: Pool
    key_ring: KeyRing
    hub: Hub
    open_streams: OpenStreams
    reader: EventReader
    metrics: Metrics
    strangers: Strangers = field(default_factory=Strangers)
    probes: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(4))
    """Threads kept for those who ask how this process is."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
