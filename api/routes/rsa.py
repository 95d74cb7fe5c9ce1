"""The RSA service of the call center and the app."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api import access, logs
from api.access import Action
from api.answers import rsa as answers
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
from db import rsa, webhooks
from db.pool import Connection
from db.rsa import RsaIncident
from rules.apply import rsa as apply
from rules.errors import NotFoundError
from rules.webhooks import Topic
from schemas import rsa as wire

router = APIRouter(prefix=BASE, tags=["RSA"], route_class=OncePerKey)

RequestableVin = Annotated[str, Depends(OfVehicle(Action.REQUEST_RSA))]
"""The path's VIN, for which the caller may ask for help, and say that none is needed any more."""
HandledVin = Annotated[str, Depends(OfVehicle(Action.HANDLE_RSA))]
"""The path's VIN, whose requests the caller works on in the call center."""

Cid = Annotated[wire.RsaCid | None, Query(description="the incident; the vehicle's latest without it")]


@router.get(
    "/vehicles/{vin}/rsa/status",
    responses=told("rsa_status_response") | documented(401, 404, 422, 503),
    summary="RSA Incident Status Query",
)
def get_status(vin: ReadableVin, pool: Database, response: Response, cid: Cid = None) -> wire.RsaStatusResponse:
    """Everything about one request of the vehicle."""
    with pool.connection() as conn:
        vehicle = known_vehicle(conn, vin)
        incident = _of_vehicle(conn, vin, cid)
        logs.about(incident.cid)
        response.headers["ETag"] = etag(incident)
        delivery = (
            webhooks.latest_of_incident(conn, incident.cid, partner=incident.partner, topic=Topic.DISPATCH)
            if incident.partner
            else None
        )
        return answers.status_response(incident, rsa.timeline(conn, incident.cid), vehicle, delivery)


@router.get(
    "/vehicles/{vin}/rsa/history",
    responses=told("rsa_history_response") | documented(401, 404, 422, 503),
    summary="RSA Incident History Query",
)
def get_history(
    vin: ReadableVin,
    pool: Database,
    status: Annotated[
        wire.RsaStatus | None, Query(description="those with it as `status` or as `incidentStatus`")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
) -> wire.RsaHistoryResponse:
    """The vehicle's requests, newest first; `summary` is of all of them, whatever `status` is asked for."""
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        incidents = rsa.history(conn, vin, limit=limit, offset=offset, status=status)
        summary = rsa.history_summary(conn, vin, status=status)
        return answers.history_response(vin, incidents, summary, limit=limit, offset=offset)


@router.post(
    "/vehicles/{vin}/rsa/request",
    status_code=201,
    responses=documented(400, 401, 404, 409, 413, 415, 422, 503),
    openapi_extra=asked("rsa_incident_request"),
    summary="Roadside assistance requested in the app",
)
def press(
    vin: RequestableVin, request: wire.RsaIncidentRequest, pool: Database, parts: Parts
) -> wire.RsaIncidentResponse:
    """Open a request, or join the vehicle's open one."""
    expect_same(request.vin, vin, field="vin")
    now = datetime.now(UTC)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        pressed = apply.Press(
            vin, "APP", request, occurred_at=now, received_at=now, priority=request.priority, cid=request.cid
        )
        cid = apply.press(conn, pressed, now=now)
        logs.about(cid)
        incident = apply.of_vehicle(conn, vin, cid)
        return answers.incident_response(incident, phone=parts.settings.contact_center_phone)


@router.post(
    "/vehicles/{vin}/rsa/dispatch",
    responses=told("rsa_dispatch_response") | documented(400, 401, 403, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=asked("rsa_dispatch_request"),
    summary="RSA Dispatch Request",
)
def dispatch(
    *, vin: HandledVin, request: wire.RsaDispatchRequest, caller: Caller, pool: Database, if_match: IfMatch = None
) -> wire.RsaDispatchResponse:
    """Send a partner to the vehicle."""
    expect_same(request.vin, vin, field="vin")
    access.check_speaks_for(caller, request.agent_id)
    logs.about(request.cid)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expect_unchanged(conn, if_match, lambda: apply.of_vehicle(conn, vin, request.cid))
        return answers.dispatch_response(apply.dispatch(conn, vin, request, actor=caller.actor, now=datetime.now(UTC)))


@router.post(
    "/vehicles/{vin}/rsa/cancel",
    responses=documented(400, 401, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=asked("rsa_cancel_request"),
    summary="RSA request cancelled by the customer or the call center",
)
def cancel(
    *, vin: RequestableVin, request: wire.RsaCancelRequest, caller: Caller, pool: Database, if_match: IfMatch = None
) -> wire.RsaCancelResponse:
    """End the request because nobody needs help any more; a partner that is under way is told."""
    expect_same(request.vin, vin, field="vin")
    logs.about(request.cid)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expect_unchanged(conn, if_match, lambda: apply.of_vehicle(conn, vin, request.cid))
        return answers.cancel_response(apply.cancel(conn, vin, request, actor=caller.actor, now=datetime.now(UTC)))


@router.post(
    "/vehicles/{vin}/rsa/close",
    responses=told("rsa_closure_response") | documented(400, 401, 403, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=asked("rsa_closure_request"),
    summary="RSA Incident Closure",
)
def close(
    *, vin: HandledVin, request: wire.RsaCloseRequest, caller: Caller, pool: Database, if_match: IfMatch = None
) -> wire.RsaClosureResponse:
    """End the request with what it came to."""
    expect_same(request.vin, vin, field="vin")
    access.check_speaks_for(caller, request.agent_id)
    logs.about(request.cid)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expect_unchanged(conn, if_match, lambda: apply.of_vehicle(conn, vin, request.cid))
        return answers.closure_response(apply.close(conn, vin, request, actor=caller.actor, now=datetime.now(UTC)))


def _of_vehicle(conn: Connection, vin: str, cid: str | None) -> RsaIncident:
    """Return the vehicle's incident, the latest where none is named. Raises NotFoundError."""
    if cid is not None:
        return apply.of_vehicle(conn, vin, cid)
    latest = rsa.history(conn, vin, limit=1, offset=0)
    if not latest:
        raise NotFoundError("this vehicle has no RSA incident")
    return latest[0]
