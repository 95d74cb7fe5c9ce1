"""What supervisors and monitoring ask: does it live, can it serve, how much does it do; and what the operator sees."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.access import Action
from api.answers import operations as answers
from api.deps import Database, Parts, Rule
from api.errors import documented
from api.idempotency import OncePerKey
from api.readiness import ask_for, hindrances
from api.routes import OPERATIONS
from api.routes.paging import DEFAULT_LIMIT, Limit, Offset
from db import messages, operations, processes
from db.pool import use_of
from rules.errors import ConflictError, NotFoundError
from schemas import operations as wire
from schemas.problem import Pagination

router = APIRouter(tags=["Operations"], route_class=OncePerKey)
_OPERATORS = [Depends(Rule(Action.OPERATE))]


@router.get("/livez", summary="The process lives")
async def livez() -> dict[str, str]:
    """Answer without asking anything else."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Not ready, and why"}}, summary="The process can serve")
async def readyz(parts: Parts) -> JSONResponse:
    """Ask the database, the migrations and the event reader; 503 with the reasons."""
    reasons = await ask_for(parts, hindrances)
    if reasons:
        return JSONResponse({"status": "not ready", "reasons": reasons}, status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    return JSONResponse({"status": "ready", "reasons": []})


@router.get("/metrics", response_class=Response, summary="Figures for Prometheus")
async def metrics(parts: Parts) -> Response:
    """All figures of this process; no label names a vehicle or a person."""
    lag_s = parts.reader.lag_s()
    parts.metrics.lag.set(float("nan") if lag_s is None else lag_s)
    use = use_of(parts.pool)
    parts.metrics.connections.labels("in use").set(use.in_use)
    parts.metrics.connections.labels("most").set(use.most)
    parts.metrics.waiting.set(use.waiting)
    return Response(parts.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    f"{OPERATIONS}/quarantine",
    dependencies=_OPERATORS,
    responses=documented(401, 403, 422, 503),
    summary="Messages in quarantine",
)
def get_quarantine(
    *,
    pool: Database,
    with_replayed: Annotated[bool, Query(alias="withReplayed", description="also those handed in again")] = False,
    limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
) -> wire.QuarantineList:
    """What could not be read or stored, newest first."""
    with pool.connection() as conn:
        page = messages.list_quarantine(conn, limit=limit, offset=offset, with_replayed=with_replayed)
        total = messages.count_quarantine(conn, with_replayed=with_replayed)
    pagination = Pagination(total=total, limit=limit, offset=offset, has_more=offset + len(page) < total)
    return wire.QuarantineList(messages=tuple(map(answers.quarantine_entry, page)), pagination=pagination)


@router.post(
    f"{OPERATIONS}/quarantine/{{quarantineId}}/replay",
    dependencies=_OPERATORS,
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(401, 403, 404, 409, 422, 503),
    summary="Hand a quarantined message in again",
)
def post_replay(
    quarantine_id: Annotated[int, Path(alias="quarantineId", ge=1, le=2**63 - 1)], pool: Database
) -> wire.ReplayResponse:
    """Ask the worker to take it once more, as a fresh one; 409 for what has raised an SOS all the same."""
    now = datetime.now(UTC)
    with pool.connection() as conn:
        item = messages.get_quarantined(conn, quarantine_id)
        if item is None:
            raise NotFoundError("there is no such message")
        if item.cid is not None:
            raise ConflictError(f"it has raised {item.cid} already: handed in again, it would raise another")
        messages.request_replay(conn, quarantine_id, at=now)
    return wire.ReplayResponse(quarantine_id=quarantine_id, requested_at=now)


@router.get(
    f"{OPERATIONS}/processes",
    dependencies=_OPERATORS,
    responses=documented(401, 403, 503),
    summary="Processes and their figures",
)
def get_processes(pool: Database) -> wire.ProcessList:
    """Every process that gave a sign of life within the last hour."""
    now = datetime.now(UTC)
    with pool.connection() as conn:
        found = processes.list_all(conn)
    return answers.process_list(found, now=now)


@router.get(
    f"{OPERATIONS}/history",
    dependencies=_OPERATORS,
    responses=documented(401, 403, 422, 503),
    summary="Figures of the last minutes",
)
def get_history(pool: Database, minutes: Annotated[int, Query(ge=1, le=1440)] = 60) -> wire.OperationsHistory:
    """Rates, lag and backlog, every ten seconds."""
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    with pool.connection() as conn:
        found = operations.samples(conn, since=since)
    return wire.OperationsHistory(minutes=minutes, samples=answers.samples(found))
