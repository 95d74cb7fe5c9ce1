"""The event streams of SOS, RSA and curfew."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse

from api.access import Action, Principal
from api.audit import noted
from api.deps import TICKET_COOKIE, Parts, Rule, VinPath, Watcher, known_vehicle
from api.errors import documented
from api.examples import streamed
from api.key_ring import TICKET_LASTS
from api.resources import Resources
from api.routes import BASE, CHILDCARE
from api.stream import open_stream
from schemas import curfew
from schemas.access import StreamTicket
from schemas.incident import Service
from schemas.production import Environment

router = APIRouter()


class _OfAny(Rule):
    """The rule of a stream of all that the caller may see, narrowed to one vehicle or not."""

    async def __call__(  # type: ignore[override]
        self,
        request: Request,
        caller: Watcher,
        vin: Annotated[str | None, Query(description="only this vehicle's events")] = None,
    ) -> tuple[Principal, str | None]:
        """Return the caller and the vehicle. Raises ForbiddenError and NotFoundError."""
        await self.decide(request, caller, vin=vin)
        return caller, vin


class _OfOne(Rule):
    """The rule of a stream of the vehicle of its path."""

    async def __call__(  # type: ignore[override]
        self, request: Request, caller: Watcher, vin: VinPath
    ) -> tuple[Principal, str]:
        """Return the caller and the vehicle. Raises NotFoundError and ForbiddenError."""
        await self.decide(request, caller, vin=vin)
        return caller, vin


AnyWatcher = Annotated[tuple[Principal, str | None], Depends(_OfAny(Action.WATCH))]


async def _resume_after(
    last_event_id: Annotated[str | None, Header(description="resume behind this event")] = None,
    in_query: Annotated[str | None, Query(alias="lastEventId", description="the same without a header")] = None,
) -> str | None:
    return last_event_id or in_query


@router.post(
    "/api/v1/stream-tickets",
    tags=["Access"],
    status_code=HTTPStatus.CREATED,
    responses=documented(401, 403, 503),
    summary="Ticket for one stream",
)
def post_ticket(
    caller: Annotated[Principal, Depends(Rule(Action.WATCH))], parts: Parts, response: Response
) -> StreamTicket:
    """Give a browser what opens one stream within 30 seconds: as `?ticket=`, or by the cookie that comes with it."""
    ticket, expires_at = parts.key_ring.issue(caller)
    response.headers["Cache-Control"] = "no-store"
    response.set_cookie(
        TICKET_COOKIE,
        ticket,
        max_age=round(TICKET_LASTS.total_seconds()),
        path="/api/v1",
        httponly=True,
        samesite="strict",
        # The demo speaks plain HTTP on loopback, where not every browser keeps a cookie that is for HTTPS only.
        secure=parts.settings.environment is Environment.PRODUCTION,
    )
    return StreamTicket(ticket=ticket, expires_at=expires_at)


ResumeAfter = Annotated[str | None, Depends(_resume_after)]

_RESPONSES = documented(401, 403, 404, 422, 503)


@router.get(
    f"{BASE}/sos/events",
    tags=["SOS"],
    response_class=EventSourceResponse,
    responses=streamed("sos_real_time_event") | _RESPONSES,
    summary="SOS Real-time Event Reception (SSE)",
)
async def sos_events(
    parts: Parts, watcher: AnyWatcher, resume_after: ResumeAfter, request: Request
) -> EventSourceResponse:
    """Changes of SOS incidents as they happen, as far as the key may see them."""
    caller, vin = watcher
    await run_in_threadpool(_check_known, parts, vin)
    return await open_stream(
        parts, caller=caller, service=Service.SOS, vin=vin, last_event_id=resume_after, noted=noted(request)
    )


@router.get(
    f"{BASE}/rsa/events",
    tags=["RSA"],
    response_class=EventSourceResponse,
    responses=streamed("rsa_real_time_event") | _RESPONSES,
    summary="RSA Processing Status Real-time Query (SSE)",
)
async def rsa_events(
    parts: Parts, watcher: AnyWatcher, resume_after: ResumeAfter, request: Request
) -> EventSourceResponse:
    """Changes of RSA requests as they happen, as far as the key may see them."""
    caller, vin = watcher
    await run_in_threadpool(_check_known, parts, vin)
    return await open_stream(
        parts, caller=caller, service=Service.RSA, vin=vin, last_event_id=resume_after, noted=noted(request)
    )


@router.get(
    f"{CHILDCARE}/vehicles/{{vin}}/curfew/events",
    tags=["Curfew"],
    response_class=EventSourceResponse,
    responses=streamed("curfew_real_time_event") | _RESPONSES,
    summary="Curfew Real-time Event Reception (SSE)",
)
async def vehicle_curfew_events(
    parts: Parts,
    watched: Annotated[tuple[Principal, str], Depends(_OfOne(Action.WATCH))],
    resume_after: ResumeAfter,
    request: Request,
) -> EventSourceResponse:
    """Violations and exceptions of one vehicle as they begin, change and end."""
    caller, vin = watched
    await run_in_threadpool(_check_known, parts, vin)
    return await open_stream(
        parts, caller=caller, service=curfew.SERVICE, vin=vin, last_event_id=resume_after, noted=noted(request)
    )


@router.get(
    f"{CHILDCARE}/curfew/events",
    tags=["Curfew"],
    response_class=EventSourceResponse,
    responses=streamed("curfew_real_time_event") | _RESPONSES,
    summary="Curfew events of all vehicles, for the call center (SSE)",
)
async def curfew_events(
    parts: Parts, watcher: AnyWatcher, resume_after: ResumeAfter, request: Request
) -> EventSourceResponse:
    """Violations and exceptions of every vehicle that the key may see."""
    caller, vin = watcher
    await run_in_threadpool(_check_known, parts, vin)
    return await open_stream(
        parts, caller=caller, service=curfew.SERVICE, vin=vin, last_event_id=resume_after, noted=noted(request)
    )


def _check_known(parts: Resources, vin: str | None) -> None:
    if vin is None:
        return
    with parts.pool.connection() as conn:
        known_vehicle(conn, vin)
