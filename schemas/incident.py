"""`down/incident`: what the vehicle shows its driver of an incident."""

from enum import StrEnum

from schemas.base import Instant, Wire


class Service(StrEnum):
    """The services that make incidents and events."""

    SOS = "SOS"
    RSA = "RSA"


class ContactCenterInfo(Wire):
    """How the driver reaches the call center; `agentId` is null while the incident waits in the queue."""

    phone: str | None = None
    agent_id: str | None = None


class IncidentMessage(Wire):
    """The incident's present state, sent at each of its changes.

    `sequence` grows with each change. A broker that was killed may deliver an older state after a newer one: ignore it.
    """

    cid: str
    service: Service
    status: str
    sequence: int
    contact_center: ContactCenterInfo | None = None
    partner: str | None = None
    estimated_arrival: Instant | None = None
