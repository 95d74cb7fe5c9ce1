"""What endpoints ask for: who calls, may they, and where the database is.

An endpoint opens its one transaction itself (`with pool.connection() as conn`) and ends it before it returns: a
connection held from one threadpool job to the next would let waiting requests starve those that hold one.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Cookie, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api import access, limits
from api.access import URGENT, Action, Principal, UnauthenticatedError
from api.audit import Decided, Recorded
from api.resources import Resources
from db import vehicles
from db.pool import Connection
from rules.errors import UnprocessableError
from schemas.base import VIN_PATTERN

TICKET_COOKIE = "tcu_stream_ticket"
_bearer = HTTPBearer(scheme_name="bearer", description="An API key, as `sk_…`, or a token (JWT)", auto_error=False)


async def resources(request: Request) -> Resources:
    """Return the parts of this process."""
    found: Resources = request.app.state.resources
    return found


Parts = Annotated[Resources, Depends(resources)]


Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def principal(parts: Parts, request: Request, credentials: Bearer) -> Principal:
    """Return who calls. Raises UnauthenticatedError, and LimitedError where the address did so too often."""
    with _counting_strangers(parts, request):
        return await _holder(parts, credentials)


async def _holder(parts: Resources, credentials: HTTPAuthorizationCredentials | None) -> Principal:
    if credentials is None or not credentials.credentials:
        raise UnauthenticatedError("KEY_MISSING", "expected `Authorization: Bearer` with a key or token")
    key = credentials.credentials
    seen = parts.key_ring.seen_lately(key)
    return await run_in_threadpool(parts.key_ring.ask, key) if seen is None else seen


@contextmanager
def _counting_strangers(parts: Resources, request: Request) -> Iterator[None]:
    """Count who proves nothing by the address. Who does is never refused for what others of the address did.

    Nor is anybody who asks for what an emergency needs: there a missing credential is told, however often.
    """
    try:
        yield
    except UnauthenticatedError:
        urgent = any(rule.action in URGENT for rule in rules_of(request.scope["route"].dependant))
        if not urgent:
            address = request.client.host if request.client is not None else "unknown"
            quota = parts.strangers.take(address, now_s=time.monotonic())
            request.state.quota = quota
            limits.check(quota)
        raise


async def pool(parts: Parts, request: Request) -> Recorded:
    """Return the way to the database; what a request does there is noted in the audit."""
    return Recorded(parts.pool, request)


async def watcher(
    parts: Parts,
    request: Request,
    credentials: Bearer,
    in_query: Annotated[str | None, Query(alias="ticket", description="from `POST /api/v1/stream-tickets`")] = None,
    in_cookie: Annotated[str | None, Cookie(alias=TICKET_COOKIE, include_in_schema=False)] = None,
) -> Principal:
    """Return who calls for a stream, by key or token, or by a ticket. Raises as `principal` does."""
    ticket = in_query or in_cookie
    with _counting_strangers(parts, request):
        if credentials is None and ticket is not None:
            return await run_in_threadpool(parts.key_ring.redeem, ticket)
        return await _holder(parts, credentials)


Watcher = Annotated[Principal, Depends(watcher)]
Caller = Annotated[Principal, Depends(principal)]
Database = Annotated[Recorded, Depends(pool)]


class Rule:
    """The access rule of a route: what its caller is about to do. Each route but the open ones has one."""

    def __init__(self, action: Action) -> None:
        self.action = action

    async def __call__(self, request: Request, caller: Caller) -> Principal:
        """Return the caller. Raises LimitedError and ForbiddenError."""
        await self.decide(request, caller)
        return caller

    async def decide(
        self,
        request: Request,
        caller: Principal,
        *,
        vin: str | None = None,
        agent_id: str | None = None,
        partner: str | None = None,
    ) -> None:
        """Count the request, then decide whether it may go on. Raises LimitedError, NotFoundError, ForbiddenError."""
        parts: Resources = request.app.state.resources
        quota = await run_in_threadpool(limits.take, parts.pool, caller, self.action)
        request.state.quota = quota
        limits.check(quota)
        access.check(caller, self.action, vin=vin, agent_id=agent_id, partner=partner)
        request.state.decided = Decided(caller, self.action, vin, agent_id, partner)


# A malformed VIN is answered as an unknown vehicle, so the pattern only documents.
VinPath = Annotated[str, Path(json_schema_extra={"pattern": VIN_PATTERN}, examples=["KMHSH81C7LU123456"])]


class OfVehicle(Rule):
    """The rule of a route about the vehicle of its path."""

    async def __call__(self, request: Request, caller: Caller, vin: VinPath) -> str:  # type: ignore[override]
        """Return the VIN. Raises NotFoundError and ForbiddenError."""
        await self.decide(request, caller, vin=vin)
        return vin


_AgentPath = Annotated[str, Path(alias="agentId", pattern=r"^[A-Za-z0-9_.\-]{1,128}$", examples=["AGENT_001"])]


class OfAgent(Rule):
    """The rule of a route about the counselor of its path."""

    async def __call__(self, request: Request, caller: Caller, agent_id: _AgentPath) -> str:  # type: ignore[override]
        """Return the counselor's id. Raises ForbiddenError and NotFoundError."""
        await self.decide(request, caller, agent_id=agent_id)
        return agent_id


def rules_of(dependant: Dependant) -> list[Rule]:
    """Return the access rules that a request of a route is held to, by what FastAPI knows of its dependencies."""
    own = [dependant.call] if isinstance(dependant.call, Rule) else []
    return own + [rule for one in dependant.dependencies for rule in rules_of(one)]


ReadableVin = Annotated[str, Depends(OfVehicle(Action.READ_VEHICLE))]
"""The path's VIN, whose incidents the caller may read."""
ReadableAgent = Annotated[str, Depends(OfAgent(Action.READ_AGENTS))]
"""The path's counselor, whose work the caller may see."""
CurfewReadableVin = Annotated[str, Depends(OfVehicle(Action.READ_CURFEW))]
"""The path's VIN, whose curfew the caller may know."""
CurfewSettableVin = Annotated[str, Depends(OfVehicle(Action.SET_CURFEW))]
"""The path's VIN, whose curfew the caller decides on."""


def known_vehicle(conn: Connection, vin: str) -> vehicles.Vehicle:
    """Return the vehicle. Raises the same NotFoundError as for one that is not the caller's."""
    vehicle = vehicles.get(conn, vin) if "\x00" not in vin else None
    if vehicle is None:
        raise access.no_vehicle()
    return vehicle


def expect_same(said: str | None, path: str, *, field: str) -> None:
    """Raise UnprocessableError where the body names another thing than the path; it need not name any."""
    if said not in {None, path}:
        raise UnprocessableError(f"expected the {field} of the path, or none", field=field)
