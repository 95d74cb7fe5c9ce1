"""Who may use the API."""

from enum import StrEnum

from schemas.base import Instant, Wire


class Role(StrEnum):
    """What the holder of a key is."""

    OWNER = "owner"
    GUARDIAN = "guardian"
    DRIVER = "driver"
    AGENT = "agent"
    PARTNER = "partner"
    ANALYST = "analyst"
    OPERATOR = "operator"


class WhoAmI(Wire):
    """The holder of the key that asks: `vins` are the vehicles, unless `everyVehicle` says that it is all of them."""

    role: Role | None
    vins: tuple[str, ...]
    every_vehicle: bool
    agent_id: str | None
    partner: str | None
    expires_at: Instant | None


class StreamTicket(Wire):
    """What opens one stream, until it is used or this instant has come."""

    ticket: str
    expires_at: Instant
