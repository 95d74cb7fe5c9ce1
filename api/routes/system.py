"""System health, as the call center sees it."""

import time
from datetime import UTC, datetime

from fastapi import APIRouter

from api.answers import health as answers
from api.answers.health import Measured
from api.deps import Caller, Database, Parts
from api.errors import documented
from api.examples import told
from api.readiness import hindrances
from api.routes import BASE
from api.routes.sos import PACE_OVER
from db import agents, calls, processes, rsa, sos
from schemas.health import SystemHealthResponse
from schemas.sos import Availability

router = APIRouter(prefix=BASE, tags=["System"])


@router.get(
    "/sos/system/health",
    responses=told("sos_system_health_status_response") | documented(401, 503),
    summary="SOS System Health Status Query",
)
def get_health(_caller: Caller, pool: Database, parts: Parts) -> SystemHealthResponse:
    """What was measured just now; it names no vehicle and no person, so every key may ask."""
    now = datetime.now(UTC)
    ready = not hindrances(parts)
    with pool.connection() as conn:
        # The pool has checked the connection, so this is one round trip and no connecting.
        asked_at_s = time.perf_counter()
        connections = processes.count_connections(conn)
        database_s = time.perf_counter() - asked_at_s
        measured = Measured(
            database_s=database_s,
            connections=connections,
            processes=processes.list_all(conn),
            load=sos.load_of_center(conn, day_start=now.replace(hour=0, minute=0, second=0, microsecond=0)),
            pace=sos.pace(conn, since=now - PACE_OVER),
            active_calls=calls.count_active(conn),
            rsa_dispatches=rsa.count_dispatched(conn),
            available_agents=sum(a.availability == Availability.AVAILABLE for a in agents.list_all(conn)),
            api_latency_s=parts.metrics.mean_latency_s(),
            api_uptime_s=parts.metrics.uptime_s(),
            api_ready=ready,
        )
    return answers.health_response(measured, now=now)
