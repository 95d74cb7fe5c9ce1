"""Counselors: what they work on, and whether they are free."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends

from api import access
from api.access import Action
from api.answers import sos as answers
from api.deps import Caller, Database, OfAgent, ReadableAgent, expect_same
from api.errors import documented
from api.examples import asked, told
from api.routes import BASE
from api.routes.paging import DEFAULT_LIMIT, Limit, Offset
from api.routes.sos import PACE_OVER
from db import agents, calls, sos, vehicles
from rules.apply import sos as apply
from rules.errors import NotFoundError
from schemas import sos as wire

router = APIRouter(prefix=BASE, tags=["SOS"])


@router.get(
    "/sos/agents/{agentId}/incidents",
    responses=told("sos_agent_active_incidents_response") | documented(401, 403, 404, 422, 503),
    summary="Agent Active SOS Incidents Query",
)
def get_incidents(
    agent_id: ReadableAgent, caller: Caller, pool: Database, limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> wire.AgentIncidentsResponse:
    """The counselor's open incidents, oldest first."""
    now = datetime.now(UTC)
    with pool.connection() as conn:
        if agents.get(conn, agent_id) is None:
            raise NotFoundError(f"there is no agent {agent_id}")
        incidents = [i for i in sos.of_agent(conn, agent_id) if access.sees_incidents_of(caller, i.vin)]
        known = {vin: vehicle for vin in {i.vin for i in incidents} if (vehicle := vehicles.get(conn, vin))}
        return answers.agent_incidents_response(
            agent_id,
            incidents,
            calls.of_incidents(conn, [i.cid for i in incidents]),
            known,
            sos.handling_of_agent(conn, agent_id, since=now - PACE_OVER),
            limit=limit,
            offset=offset,
            now=now,
        )


@router.put(
    "/sos/agents/{agentId}/availability",
    responses=documented(400, 401, 403, 404, 413, 415, 422, 503),
    openapi_extra=asked("sos_agent_availability_request"),
    summary="Counselor starts, pauses or ends work",
)
def put_availability(
    agent_id: Annotated[str, Depends(OfAgent(Action.SET_AVAILABILITY))],
    request: wire.AgentAvailabilityRequest,
    pool: Database,
) -> wire.AgentAvailabilityResponse:
    """Note whether the counselor is free; a free one is given the head of the queue, and is BUSY then."""
    expect_same(request.agent_id, agent_id, field="agentId")
    with pool.connection() as conn:
        apply.set_availability(conn, agent_id, request.availability, now=datetime.now(UTC))
        agent = agents.get(conn, agent_id)
        if agent is None:
            raise NotFoundError(f"there is no agent {agent_id}")
        return wire.AgentAvailabilityResponse(
            agent_id=agent.agent_id,
            name=agent.name,
            availability=wire.Availability(agent.availability),
            timestamp=agent.changed_at,
        )
