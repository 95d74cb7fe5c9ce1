"""The one place that decides who may do what. A vehicle that is not the caller's does not exist for the caller.

Every route and every stream asks `check` by its rule (`api/deps.py`); lists and streams of several vehicles ask
`sees…`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from db.events import Event
from rules.errors import DomainError, NotFoundError
from schemas.access import Role


class Action(StrEnum):
    """What can be done; each route has one."""

    READ_VEHICLE = "READ_VEHICLE"
    PRESS_SOS = "PRESS_SOS"
    HANDLE_SOS = "HANDLE_SOS"
    PRESS_TEST_SOS = "PRESS_TEST_SOS"
    REQUEST_RSA = "REQUEST_RSA"
    HANDLE_RSA = "HANDLE_RSA"
    READ_CURFEW = "READ_CURFEW"
    SET_CURFEW = "SET_CURFEW"
    RECORD_CONSENT = "RECORD_CONSENT"
    WATCH = "WATCH"
    READ_AGENTS = "READ_AGENTS"
    SET_AVAILABILITY = "SET_AVAILABILITY"
    READ_PARTNERS = "READ_PARTNERS"
    SERVE_DISPATCH = "SERVE_DISPATCH"
    READ_STATISTICS = "READ_STATISTICS"
    TEST_SYSTEM = "TEST_SYSTEM"
    READ_HEALTH = "READ_HEALTH"
    READ_TEMPLATES = "READ_TEMPLATES"
    READ_SELF = "READ_SELF"
    OPERATE = "OPERATE"


CENTER = frozenset({Role.AGENT, Role.OPERATOR})
HOLDERS = frozenset({Role.OWNER, Role.GUARDIAN, Role.DRIVER})
EVERYONE = frozenset(Role)
_WIDEST_FIRST = (Role.OPERATOR, Role.AGENT, Role.PARTNER, Role.OWNER, Role.GUARDIAN, Role.DRIVER, Role.ANALYST)

MAY: Mapping[Action, frozenset[Role]] = {
    # A counselor sees violations as incidents; the rule behind them is the family's.
    Action.READ_VEHICLE: CENTER | HOLDERS,
    Action.PRESS_SOS: CENTER | HOLDERS,
    # Only the center ends an emergency: a customer under threat could be made to.
    Action.HANDLE_SOS: CENTER,
    Action.PRESS_TEST_SOS: CENTER,
    Action.REQUEST_RSA: CENTER | HOLDERS,
    Action.HANDLE_RSA: CENTER,
    Action.READ_CURFEW: HOLDERS | {Role.OPERATOR},
    Action.SET_CURFEW: frozenset({Role.OWNER, Role.GUARDIAN, Role.OPERATOR}),
    # It is the driver's to give; whoever sets the curfew can't give it in the driver's place.
    Action.RECORD_CONSENT: frozenset({Role.DRIVER, Role.OPERATOR}),
    Action.WATCH: EVERYONE - {Role.ANALYST},
    Action.READ_AGENTS: CENTER,
    Action.SET_AVAILABILITY: CENTER,
    Action.READ_PARTNERS: CENTER,
    Action.SERVE_DISPATCH: frozenset({Role.PARTNER, Role.OPERATOR}),
    Action.READ_STATISTICS: CENTER,
    Action.TEST_SYSTEM: CENTER,
    # They name no vehicle and no person.
    Action.READ_HEALTH: EVERYONE,
    Action.READ_TEMPLATES: EVERYONE,
    Action.READ_SELF: EVERYONE,
    Action.OPERATE: frozenset({Role.OPERATOR}),
}
"""Which role may do what, with the vehicles, the counselor or the partner that the caller has (docs/access.md)."""

READS = frozenset(
    {
        Action.READ_VEHICLE,
        Action.READ_CURFEW,
        Action.WATCH,
        Action.READ_AGENTS,
        Action.READ_PARTNERS,
        Action.READ_STATISTICS,
        Action.READ_HEALTH,
        Action.READ_TEMPLATES,
        Action.READ_SELF,
    }
)
URGENT = frozenset({Action.PRESS_SOS, Action.HANDLE_SOS})
"""What an emergency needs."""

MANY_REQUESTS, FEW_REQUESTS = 600, 60
"""Requests a minute: of those who work with it all day, and of everybody else."""
STREAMS = 5
_BUSY = frozenset({Role.AGENT, Role.PARTNER, Role.OPERATOR})

SCOPE_READ = "tcu:read"
SCOPE_WRITE = "tcu:write"
"""A token needs the one for READS and the other for everything else; a key has both."""


class UnauthenticatedError(DomainError):
    """The request brings nothing that proves who calls; `code` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ForbiddenError(DomainError):
    """The caller is known, may know that the thing exists, and may not do this."""

    code = "FORBIDDEN"


class ScopeError(ForbiddenError):
    """The token was not made for this."""

    code = "INSUFFICIENT_SCOPE"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller has proven to be: whoever holds the key of this number, or the subject of a token."""

    key_id: int | None = None
    subject: str | None = None
    kid: str | None = None
    """Which key of the issuer has signed the token."""
    roles: frozenset[Role] = frozenset()
    """Those that the token names: the subject acts in no other, whatever was granted."""
    scopes: frozenset[str] = frozenset()
    expires_at: datetime | None = None

    @property
    def who(self) -> str:
        """The caller by name, for records: nothing that lets anybody in."""
        return f"key:{self.key_id}" if self.key_id is not None else f"sub:{self.subject}"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what for: roles, each with the vehicles, counselor or partner it is held for."""

    credential: Credential
    roles: frozenset[Role]
    vehicles: Mapping[str, frozenset[Role]] = field(default_factory=dict)
    """What the caller is to each vehicle, by VIN."""
    of_every_vehicle: frozenset[Role] = frozenset()
    agent_id: str | None = None
    partner: str | None = None
    expires_at: datetime | None = None
    own_requests_per_minute: int | None = None
    own_streams: int | None = None

    @property
    def requests_per_minute(self) -> int:
        """How much the caller may ask for: what its key says, or its roles."""
        return self.own_requests_per_minute or (MANY_REQUESTS if self.roles & _BUSY else FEW_REQUESTS)

    @property
    def streams(self) -> int:
        """How many streams the caller may have open."""
        return self.own_streams or STREAMS

    @property
    def role(self) -> Role | None:
        """The widest of the caller's roles."""
        return next((role for role in _WIDEST_FIRST if role in self.roles), None)

    @property
    def actor(self) -> str:
        """How timelines name the caller."""
        return self.agent_id or self.partner or (self.role or "nobody").upper()

    def roles_for(self, vin: str) -> frozenset[Role]:
        """Return what the caller is to this vehicle; nothing where it is not the caller's."""
        return self.of_every_vehicle | self.vehicles.get(vin, frozenset())


def no_vehicle() -> NotFoundError:
    """Return the answer about a vehicle that is unknown or not the caller's: the same for both."""
    return NotFoundError("there is no such vehicle")


def check(
    principal: Principal,
    action: Action,
    *,
    vin: str | None = None,
    agent_id: str | None = None,
    partner: str | None = None,
) -> None:
    """Raise NotFoundError for what is not the caller's, ForbiddenError for what is and is not the caller's to do."""
    _check_scope(principal.credential, action)
    if partner is not None:
        _check_partner(principal, partner)
    roles = principal.roles
    if vin is not None:
        roles = principal.roles_for(vin)
        if not roles & (CENTER | HOLDERS):
            raise no_vehicle()
    if not roles & MAY[action]:
        raise ForbiddenError(f"this is not for {_named(roles)}")
    if agent_id is not None and not _is_agent(principal, agent_id):
        raise NotFoundError(f"there is no agent {agent_id}")


def check_speaks_for(principal: Principal, agent_id: str | None) -> None:
    """Raise ForbiddenError where a counselor's key names another counselor as the one who acts."""
    if agent_id is not None and not _is_agent(principal, agent_id):
        raise ForbiddenError("the key speaks for another agent")


def sees_dispatches_of(principal: Principal, vin: str) -> bool:
    """Tell whether one who may speak for a partner may do so of this vehicle: a partner has none, an operator may."""
    return Role.PARTNER in principal.roles or bool(principal.roles_for(vin))


def sees_incidents_of(principal: Principal, vin: str) -> bool:
    """Tell whether lists over several vehicles may show this one's incidents to the caller."""
    return bool(principal.roles_for(vin) & MAY[Action.READ_VEHICLE])


def visible_vins(principal: Principal) -> list[str] | None:
    """Return the vehicles that lists may show to the caller, None for every one."""
    seeing = MAY[Action.READ_VEHICLE]
    if principal.of_every_vehicle & seeing:
        return None
    return sorted(vin for vin, roles in principal.vehicles.items() if roles & seeing)


def sees_tests(principal: Principal) -> bool:
    """Tell whether lists and streams show test calls to the caller."""
    return Role.OPERATOR in principal.roles


def sees(principal: Principal, event: Event) -> bool:
    """Tell whether the caller's streams show this event: own vehicles, own dispatches; test calls to operators only."""
    if event.data.get("testCall") is True and not sees_tests(principal):
        return False
    if sees_incidents_of(principal, event.vin):
        return True
    return Role.PARTNER in principal.roles and principal.partner is not None and event.partner == principal.partner


def _check_scope(credential: Credential, action: Action) -> None:
    needed = SCOPE_READ if action in READS else SCOPE_WRITE
    if credential.subject is not None and needed not in credential.scopes:
        raise ScopeError(f"expected a token with the scope {needed}")


def _check_partner(principal: Principal, partner: str) -> None:
    if Role.OPERATOR in principal.roles or (Role.PARTNER in principal.roles and principal.partner == partner):
        return
    raise NotFoundError("there is no such partner")


def _is_agent(principal: Principal, agent_id: str) -> bool:
    """Tell whether the caller may act as this counselor: an agent's key without a name is the whole center's."""
    if Role.OPERATOR in principal.roles or Role.AGENT not in principal.roles:
        return True
    return principal.agent_id in {None, agent_id}


def _named(roles: frozenset[Role]) -> str:
    return " or ".join(sorted(roles)) or "a caller without a role"
