"""Lists over the vehicles that a key may see, and who the key is: what a live screen begins with."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api import access
from api.access import Action, Principal
from api.answers import overview as answers
from api.deps import Database, ReadableVin, Rule, known_vehicle
from api.errors import documented
from api.routes import BASE
from api.routes.paging import DEFAULT_LIMIT, Limit, Offset
from db import agents, incidents, partners, vehicles
from schemas import overview as wire
from schemas.access import WhoAmI
from schemas.problem import Pagination
from schemas.rsa import PartnerEntry, PartnerList
from schemas.sos import AgentList

router = APIRouter()
_TRACK_MOST = 500
_CIDS_MOST = 100

Cids = Annotated[
    list[Annotated[str, Query(max_length=32)]] | None,
    Query(alias="cid", max_length=_CIDS_MOST, description="these, whatever their status; repeatable"),
]
Reader = Annotated[Principal, Depends(Rule(Action.READ_VEHICLE))]
"""The caller, who may see what goes on with vehicles: with which, `access.visible_vins` tells."""
After = Annotated[str, Query(max_length=32, pattern=r"^[A-Z0-9_]*$", description="`next` of the page before")]


@router.get("/api/v1/me", tags=["Access"], responses=documented(401, 403, 503), summary="Who the key is")
def get_me(caller: Annotated[Principal, Depends(Rule(Action.READ_SELF))]) -> WhoAmI:
    """The role of the key and what it speaks for."""
    return WhoAmI(
        role=caller.role,
        vins=tuple(sorted(caller.vehicles)),
        every_vehicle=bool(caller.of_every_vehicle),
        agent_id=caller.agent_id,
        partner=caller.partner,
        expires_at=caller.expires_at,
    )


@router.get(
    f"{BASE}/incidents", tags=["Overview"], responses=documented(401, 403, 422, 503), summary="Incidents not yet closed"
)
def get_incidents(
    caller: Reader,
    pool: Database,
    cids: Cids = None,
    after: After = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="most entries of a page")] = 200,
) -> wire.IncidentList:
    """SOS and RSA of the vehicles that the key may see, until closed or cancelled; test calls to operators only."""
    vins = access.visible_vins(caller)
    with_tests = access.sees_tests(caller)
    with pool.connection() as conn:
        if cids:
            found = incidents.named(conn, cids, vins=vins, with_tests=with_tests)
            return wire.IncidentList(incidents=tuple(map(answers.incident_entry, found)), next=None)
        found = incidents.unclosed(conn, vins=vins, with_tests=with_tests, after=after, limit=limit)
    following = found[-1].cid if len(found) == limit else None
    return wire.IncidentList(incidents=tuple(map(answers.incident_entry, found)), next=following)


@router.get("/api/v1/vehicles", tags=["Overview"], responses=documented(401, 403, 422, 503), summary="Vehicles")
def get_vehicles(
    *,
    caller: Reader,
    pool: Database,
    vin: Annotated[str | None, Query(max_length=17, description="only this one")] = None,
    online: Annotated[bool | None, Query(description="only those that are connected, or are not")] = None,
    limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
) -> wire.VehicleList:
    """The vehicles that the key may see, with their latest state."""
    vins = access.visible_vins(caller)
    if vin is not None:
        vins = [vin] if vins is None or vin in vins else []
    with pool.connection() as conn:
        page, total = vehicles.fleet(conn, vins=vins, online=online, limit=limit, offset=offset)
    pagination = Pagination(total=total, limit=limit, offset=offset, has_more=offset + len(page) < total)
    return wire.VehicleList(vehicles=tuple(map(answers.vehicle_entry, page)), pagination=pagination)


@router.get(
    "/api/v1/vehicles/{vin}/track",
    tags=["Overview"],
    responses=documented(401, 404, 422, 503),
    summary="Where the vehicle was in the last minutes",
)
def get_track(
    vin: ReadableVin, pool: Database, minutes: Annotated[int, Query(ge=1, le=60, description="by its clock")] = 15
) -> wire.Track:
    """Its reported positions, oldest first."""
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        points = vehicles.track(conn, vin, since=since, limit=_TRACK_MOST)
    return wire.Track(vin=vin, minutes=minutes, points=tuple(map(answers.track_point, points)))


@router.get(
    f"{BASE}/sos/agents",
    tags=["SOS"],
    dependencies=[Depends(Rule(Action.READ_AGENTS))],
    responses=documented(401, 403, 503),
    summary="Counselors",
)
def get_agents(pool: Database) -> AgentList:
    """All counselors of the call center and whether they are free."""
    with pool.connection() as conn:
        return AgentList(agents=tuple(map(answers.agent_entry, agents.list_all(conn))))


@router.get(
    f"{BASE}/partners",
    tags=["Partners"],
    dependencies=[Depends(Rule(Action.READ_PARTNERS))],
    responses=documented(401, 403, 503),
    summary="Dispatch companies",
)
def get_partners(pool: Database) -> PartnerList:
    """All partners that a request can be dispatched to."""
    with pool.connection() as conn:
        found = partners.list_all(conn)
    return PartnerList(partners=tuple(PartnerEntry(partner=p.partner, name=p.name, phone=p.phone) for p in found))
