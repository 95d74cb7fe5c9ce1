"""System health and system test, as the call center sees them."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends

from api import access
from api import system_test as tester
from api.access import Action, Principal
from api.answers import health as answers
from api.answers import system_test as test_answers
from api.answers.health import Measured
from api.deps import Database, Parts, Rule, known_vehicle
from api.errors import documented
from api.examples import asked, told
from api.idempotency import OncePerKey
from api.readiness import hindrances
from api.resources import Resources
from api.routes import BASE
from api.routes.sos import PACE_OVER
from api.system_test import Watch
from db import agents, calls, incidents, processes, rsa, sos, system_tests, webhooks
from db.pool import Connection
from rules.errors import BusyError
from schemas import system_test as wire
from schemas.health import SystemHealthResponse
from schemas.sos import Availability
from schemas.system_test import Scenario

router = APIRouter(prefix=BASE, tags=["System"], route_class=OncePerKey)
DELIVERIES_OVER = timedelta(days=1)


@router.get(
    "/sos/system/health",
    dependencies=[Depends(Rule(Action.READ_HEALTH))],
    responses=told("sos_system_health_status_response") | documented(401, 403, 503),
    summary="SOS System Health Status Query",
)
def get_health(pool: Database, parts: Parts) -> SystemHealthResponse:
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
            webhooks=webhooks.load(conn, since=now - DELIVERIES_OVER),
            rsa_dispatches=rsa.count_dispatched(conn),
            available_agents=sum(a.availability == Availability.AVAILABLE for a in agents.list_all(conn)),
            api_latency_s=parts.metrics.mean_latency_s(),
            api_uptime_s=parts.metrics.uptime_s(),
            api_ready=ready,
        )
    return answers.health_response(measured, now=now)


async def _watch(parts: Parts) -> AsyncIterator[Watch]:
    """Give a view of the events of this process, from before the press on."""
    watch = Watch()
    subscription = parts.hub.subscribe(watch.wants)
    try:
        yield watch
    finally:
        parts.hub.unsubscribe(subscription)


@router.post(
    "/sos/system/test",
    responses=told("sos_test_response") | documented(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=asked("sos_test_request"),
    summary="SOS System Test",
)
def post_test(
    request: wire.SystemTestRequest,
    caller: Annotated[Principal, Depends(Rule(Action.TEST_SYSTEM))],
    pool: Database,
    parts: Parts,
    watch: Annotated[Watch, Depends(_watch)],
) -> wire.SystemTestResponse:
    """Send a marked SOS of a reserved vehicle the whole way and measure it; one test at a time."""
    vin = request.test_vehicle.vin
    access.check(caller, Action.TEST_SYSTEM, vin=vin)
    started_at = datetime.now(UTC)
    used = wire.UsedParameters(
        timeout=min(request.test_parameters.timeout, tester.MOST_S),
        retry_attempts=min(request.test_parameters.retry_attempts, tester.MOST_RETRIES),
    )
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        if not system_tests.try_begin(conn):
            raise BusyError("another system test is running")
        pressed = _press(conn, parts, watch, used) if Scenario.DATA_TRANSFER in request.test_scenarios else None
        finished_at = datetime.now(UTC)
        tester.end_test_incident(conn, now=finished_at)
        answer = test_answers.response(
            request,
            test_answers.results(request.test_scenarios, pressed),
            used,
            test_id=incidents.mint(conn, prefix="TEST", separator="-", now=finished_at),
            started_at=started_at,
            finished_at=finished_at,
        )
        system_tests.store(
            conn,
            test_id=answer.test_id,
            test_type=answer.test_type,
            requested_by=caller.actor,
            cid=pressed.cid if pressed else None,
            started_at=started_at,
            finished_at=finished_at,
            result=answer.overall.status,
            answer=answer.model_dump(mode="json", by_alias=True),
        )
        return answer


def _press(conn: Connection, parts: Resources, watch: Watch, used: wire.UsedParameters) -> wire.DataTransferResult:
    broker = tester.link(parts.settings)
    if broker is None:
        return test_answers.transfer_skipped("this process was given no identity at the broker")
    with parts.pool.connection() as first:  # committed before the press, which would join what is open
        tester.end_test_incident(first, now=datetime.now(UTC))
    return test_answers.transfer_result(
        tester.transfer(conn, broker, watch, timeout_s=used.timeout, retries=used.retry_attempts)
    )
