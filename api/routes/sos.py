"""The SOS service of the call center and the app."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api import access, logs
from api.access import Action
from api.answers import sos as answers
from api.answers.sos import Center
from api.conditional import IfMatch, etag, expect_unchanged
from api.deps import (
    Caller,
    Database,
    OfVehicle,
    Parts,
    ReadableVin,
    expect_same,
    known_vehicle,
)
from api.errors import documented
from api.examples import asked, told
from api.idempotency import OncePerKey
from api.routes import BASE
from api.routes.paging import DEFAULT_LIMIT, Limit, Offset
from db import agents, calls, sos, vehicles
from db.pool import Connection
from db.sos import SosIncident
from rules.apply import calls as apply_calls
from rules.apply import consents
from rules.apply import sos as apply
from rules.errors import NotFoundError, UnprocessableError
from schemas import sos as wire

router = APIRouter(prefix=BASE, tags=["SOS"], route_class=OncePerKey)
PACE_OVER = timedelta(days=30)

HandledVin = Annotated[str, Depends(OfVehicle(Action.HANDLE_SOS))]
"""The path's VIN, whose emergency the caller works on in the call center."""

Cid = Annotated[wire.SosCid | None, Query(description="the incident; the vehicle's latest without it")]


@router.get(
    "/vehicles/{vin}/sos/status",
    responses=told("sos_status_response") | documented(401, 404, 422, 503),
    summary="SOS Incident Status Query",
)
def get_status(
    vin: ReadableVin, pool: Database, parts: Parts, response: Response, cid: Cid = None
) -> wire.SosStatusResponse:
    """Everything about one incident of the vehicle."""
    now = datetime.now(UTC)
    with pool.connection() as conn:
        vehicle = known_vehicle(conn, vin)
        incident = _of_vehicle(conn, vin, cid)
        logs.about(incident.cid)
        response.headers["ETag"] = etag(incident)
        return answers.status_response(
            incident,
            calls.of_incident(conn, incident.cid),
            sos.timeline(conn, incident.cid),
            _center(conn, incident, phone=parts.settings.contact_center_phone, now=now),
            vehicles.state(conn, vin),
            vehicle=vehicle,
            recordable=consents.allows_recording(conn, incident),
            now=now,
        )


@router.get(
    "/vehicles/{vin}/sos/history",
    responses=told("sos_history_response") | documented(401, 404, 422, 503),
    summary="SOS Incident History Query",
)
def get_history(
    vin: ReadableVin, pool: Database, limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> wire.SosHistoryResponse:
    """The vehicle's incidents, newest first, without test calls."""
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        return answers.history_response(
            vin,
            sos.history(conn, vin, limit=limit, offset=offset),
            sos.history_summary(conn, vin),
            sos.history_types(conn, vin),
            limit=limit,
            offset=offset,
        )


@router.post(
    "/vehicles/{vin}/sos",
    status_code=201,
    responses=told("sos_incident_response", status=201) | documented(400, 401, 404, 409, 413, 415, 422, 503),
    openapi_extra=asked("sos_incident_request"),
    summary="SOS pressed in the app",
)
def press(
    vin: Annotated[str, Depends(OfVehicle(Action.PRESS_SOS))],
    request: wire.SosIncidentRequest,
    caller: Caller,
    pool: Database,
    parts: Parts,
) -> wire.SosIncidentResponse:
    """Open an incident, or join the vehicle's open one."""
    expect_same(request.vin, vin, field="vin")
    now = datetime.now(UTC)
    if request.test_call:
        access.check(caller, Action.PRESS_TEST_SOS, vin=vin)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        pressed = apply.Press(vin, "APP", request, occurred_at=now, received_at=now, cid=request.cid)
        cid = apply.press_in_app(conn, pressed, now=now)
        logs.about(cid)
        incident = apply.of_vehicle(conn, vin, cid)
        center = _center(conn, incident, phone=parts.settings.contact_center_phone, now=now)
        return answers.incident_response(incident, calls.of_incident(conn, cid), center)


@router.post(
    "/vehicles/{vin}/sos/take",
    responses=documented(400, 401, 403, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=asked("sos_take_request"),
    summary="Counselor takes the incident",
)
def take(
    *, vin: HandledVin, request: wire.SosTakeRequest, caller: Caller, pool: Database, if_match: IfMatch = None
) -> wire.SosMoveResponse:
    """Give the incident to the counselor, from the queue or from another; to whom has it already, nothing changes."""
    expect_same(request.vin, vin, field="vin")
    access.check_speaks_for(caller, request.agent_id)
    agent_id = request.agent_id or caller.agent_id
    if agent_id is None:
        raise UnprocessableError("expected who takes it: the key is no counselor's own", field="agentId")
    logs.about(request.cid)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expect_unchanged(conn, if_match, lambda: apply.of_vehicle(conn, vin, request.cid))
        now = datetime.now(UTC)
        return answers.move_response(apply.take(conn, vin, request.cid, agent_id=agent_id, actor=caller.actor, now=now))


@router.post(
    "/vehicles/{vin}/sos/call",
    responses=documented(400, 401, 403, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=asked("sos_call_request"),
    summary="Counselor tells how the voice call goes",
)
def tell_call(
    *,
    vin: HandledVin,
    request: wire.SosCallRequest,
    caller: Caller,
    pool: Database,
    parts: Parts,
    if_match: IfMatch = None,
) -> wire.SosCallResponse:
    """Note what the counselor knows of the call: the same as the vehicle's own word by `up/call`."""
    expect_same(request.vin, vin, field="vin")
    logs.about(request.cid)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expect_unchanged(conn, if_match, lambda: apply.of_vehicle(conn, vin, request.cid))
        now = datetime.now(UTC)
        incident, call = apply_calls.tell(conn, vin, request, actor=caller.actor, now=now)
        center = _center(conn, incident, phone=parts.settings.contact_center_phone, now=now)
        recordable = consents.allows_recording(conn, incident)
        return answers.call_response(incident, call, center, recordable=recordable, now=now)


@router.post(
    "/vehicles/{vin}/sos/dispatch",
    responses=documented(400, 401, 403, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=asked("sos_dispatch_request"),
    summary="Emergency service sent to the vehicle",
)
def dispatch(
    *, vin: HandledVin, request: wire.SosDispatchRequest, caller: Caller, pool: Database, if_match: IfMatch = None
) -> wire.SosDispatchResponse:
    """Note which service the counselor sent; the same service again tells how far it has come."""
    expect_same(request.vin, vin, field="vin")
    logs.about(request.cid)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expect_unchanged(conn, if_match, lambda: apply.of_vehicle(conn, vin, request.cid))
        return answers.dispatch_response(apply.dispatch(conn, vin, request, actor=caller.actor, now=datetime.now(UTC)))


@router.post(
    "/vehicles/{vin}/sos/resolve",
    responses=documented(400, 401, 403, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=asked("sos_resolve_request"),
    summary="Emergency is over",
)
def resolve(
    *, vin: HandledVin, request: wire.SosResolveRequest, caller: Caller, pool: Database, if_match: IfMatch = None
) -> wire.SosMoveResponse:
    """Free the counselor; the incident is still to be closed."""
    expect_same(request.vin, vin, field="vin")
    logs.about(request.cid)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expect_unchanged(conn, if_match, lambda: apply.of_vehicle(conn, vin, request.cid))
        return answers.move_response(apply.resolve(conn, vin, request, actor=caller.actor, now=datetime.now(UTC)))


@router.post(
    "/vehicles/{vin}/sos/cancel",
    responses=documented(400, 401, 403, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=asked("sos_cancel_request"),
    summary="No emergency",
)
def cancel(
    *, vin: HandledVin, request: wire.SosCancelRequest, caller: Caller, pool: Database, if_match: IfMatch = None
) -> wire.SosMoveResponse:
    """End the incident and free the counselor. Only the center may: a customer under threat could be made to cancel."""
    expect_same(request.vin, vin, field="vin")
    logs.about(request.cid)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expect_unchanged(conn, if_match, lambda: apply.of_vehicle(conn, vin, request.cid))
        return answers.move_response(apply.cancel(conn, vin, request, actor=caller.actor, now=datetime.now(UTC)))


@router.post(
    "/vehicles/{vin}/sos/close",
    responses=told("sos_closure_response") | documented(400, 401, 403, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=asked("sos_closure_request"),
    summary="SOS Incident Closure",
)
def close(
    *, vin: HandledVin, request: wire.SosCloseRequest, caller: Caller, pool: Database, if_match: IfMatch = None
) -> wire.SosClosureResponse:
    """End the incident with what the counselor found."""
    expect_same(request.vin, vin, field="vin")
    access.check_speaks_for(caller, request.agent_id)
    logs.about(request.cid)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expect_unchanged(conn, if_match, lambda: apply.of_vehicle(conn, vin, request.cid))
        closed = apply.close(conn, vin, request, actor=caller.actor, now=datetime.now(UTC))
        agent = agents.get(conn, closed.agent_id) if closed.agent_id else None
        return answers.closure_response(closed, agent)


def _of_vehicle(conn: Connection, vin: str, cid: str | None) -> SosIncident:
    """Return the vehicle's incident, the latest where none is named. Raises NotFoundError."""
    if cid is not None:
        return apply.of_vehicle(conn, vin, cid)
    latest = sos.history(conn, vin, limit=1, offset=0)
    if not latest:
        raise NotFoundError("this vehicle has no SOS incident")
    return latest[0]


def _center(conn: Connection, incident: SosIncident, *, phone: str | None, now: datetime) -> Center:
    return Center(
        phone=phone,
        agent=agents.get(conn, incident.agent_id) if incident.agent_id else None,
        place=None if incident.agent_id else sos.place_in_queue(conn, incident.cid),
        on_duty=agents.count_on_duty(conn),
        pace=sos.pace(conn, since=now - PACE_OVER),
    )
