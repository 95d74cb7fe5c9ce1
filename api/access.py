"""The one place that decides who may do what. A vehicle that is not the caller's does not exist for the caller."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from db.events import Event
from db.keys import ApiKey
from rules.errors import DomainError, NotFoundError
from schemas.access import Role


class Action(StrEnum):
    """What can be done with a vehicle's incidents, and with its curfew."""

    READ = "READ"
    REQUEST = "REQUEST"
    HANDLE = "HANDLE"
    READ_CURFEW = "READ_CURFEW"
    SET_CURFEW = "SET_CURFEW"
    CONSENT = "CONSENT"


class UnauthenticatedError(DomainError):
    """The request brings no key that is valid; `code` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ForbiddenError(DomainError):
    """The caller is known, may know that the thing exists, and may not do this."""

    code = "FORBIDDEN"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the role, and the vehicles, counselor or partner the key speaks for."""

    key_id: int
    role: Role
    vins: frozenset[str]
    every_vehicle: bool
    agent_id: str | None
    partner: str | None
    expires_at: datetime | None

    @property
    def actor(self) -> str:
        """How timelines name the caller."""
        return self.agent_id or self.partner or self.role.upper()


CENTER = frozenset({Role.AGENT, Role.OPERATOR})
_HOLDERS = frozenset({Role.OWNER, Role.GUARDIAN, Role.DRIVER})
_MAY = {
    Action.READ: CENTER | _HOLDERS,
    Action.REQUEST: CENTER | _HOLDERS,
    Action.HANDLE: CENTER,
    # A counselor sees violations as incidents; the rule behind them is the family's.
    Action.READ_CURFEW: _HOLDERS | {Role.OPERATOR},
    Action.SET_CURFEW: {Role.OWNER, Role.GUARDIAN, Role.OPERATOR},
    Action.CONSENT: _HOLDERS | {Role.OPERATOR},
}


def authenticate(key: ApiKey | None, *, now: datetime) -> Principal:
    """Return who holds the key. Raises UnauthenticatedError for one that is unknown, revoked or expired."""
    if key is None:
        raise UnauthenticatedError("KEY_UNKNOWN", "no such key")
    if key.revoked_at is not None:
        raise UnauthenticatedError("KEY_REVOKED", "the key was revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise UnauthenticatedError("KEY_EXPIRED", "the key has expired")
    return Principal(
        key_id=key.key_id,
        role=Role(key.role),
        vins=frozenset(key.vins),
        every_vehicle=key.every_vehicle,
        agent_id=key.agent_id,
        partner=key.partner,
        expires_at=key.expires_at,
    )


def no_vehicle() -> NotFoundError:
    """Return the answer about a vehicle that is unknown or not the caller's: the same for both."""
    return NotFoundError("there is no such vehicle")


def check_vehicle(principal: Principal, vin: str, action: Action) -> None:
    """Raise NotFoundError where the vehicle is not the caller's, ForbiddenError where the action is not."""
    if principal.role not in CENTER | _HOLDERS or not _has(principal, vin):
        raise no_vehicle()
    if principal.role not in _MAY[action]:
        raise ForbiddenError(f"{principal.role} may not do this")


def check_center(principal: Principal) -> None:
    """Raise ForbiddenError unless the caller works in the call center."""
    if principal.role not in CENTER:
        raise ForbiddenError("this is for the call center")


def check_operator(principal: Principal) -> None:
    """Raise ForbiddenError unless the caller operates the system."""
    if principal.role is not Role.OPERATOR:
        raise ForbiddenError("this is for the operator")


def visible_vins(principal: Principal) -> list[str] | None:
    """Return the vehicles that lists may show to the caller, None for every one.

    Raises ForbiddenError for those who see no vehicles: partners see dispatches, analysts figures.
    """
    if principal.role not in CENTER | _HOLDERS:
        raise ForbiddenError("this is for those who have vehicles, and for the call center")
    return None if principal.every_vehicle else sorted(principal.vins)


def check_agent(principal: Principal, agent_id: str) -> None:
    """Raise NotFoundError where a counselor asks for another counselor, ForbiddenError for all but the center."""
    check_center(principal)
    if principal.role is Role.AGENT and principal.agent_id not in {None, agent_id}:
        raise NotFoundError(f"there is no agent {agent_id}")


def check_speaks_for(principal: Principal, agent_id: str | None) -> None:
    """Raise ForbiddenError where a counselor's key names another counselor as the one who acts."""
    if agent_id is not None and principal.role is Role.AGENT and principal.agent_id not in {None, agent_id}:
        raise ForbiddenError("the key speaks for another agent")


def check_partner(principal: Principal, partner: str) -> None:
    """Raise NotFoundError unless the caller is this partner, or the operator who may speak for any."""
    if principal.role is Role.OPERATOR or (principal.role is Role.PARTNER and principal.partner == partner):
        return
    raise NotFoundError("there is no such partner")


def check_stream(principal: Principal) -> None:
    """Raise ForbiddenError for those who may see no personal data."""
    if principal.role is Role.ANALYST:
        raise ForbiddenError("analysts see no personal data")


def sees_dispatches_of(principal: Principal, vin: str) -> bool:
    """Tell whether one who may speak for a partner may do so of this vehicle: a partner has none, an operator may."""
    return principal.role is Role.PARTNER or _has(principal, vin)


def sees_incidents_of(principal: Principal, vin: str) -> bool:
    """Tell whether lists over several vehicles may show this one's incidents to the caller."""
    return principal.role in CENTER | _HOLDERS and _has(principal, vin)


def sees(principal: Principal, event: Event) -> bool:
    """Tell whether the caller's streams show this event: own vehicles, own dispatches; test calls to operators only."""
    if event.data.get("testCall") is True and principal.role is not Role.OPERATOR:
        return False
    if principal.role is Role.PARTNER:
        return principal.partner is not None and event.partner == principal.partner
    return sees_incidents_of(principal, event.vin)


def _has(principal: Principal, vin: str) -> bool:
    return principal.every_vehicle or vin in principal.vins
