"""What supervisors and monitoring ask: does it live, can it serve, how much does it do."""

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.deps import Parts
from api.readiness import hindrances

router = APIRouter(tags=["Operations"])


@router.get("/livez", summary="The process lives")
async def livez() -> dict[str, str]:
    """Answer without asking anything else."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Not ready, and why"}}, summary="The process can serve")
def readyz(parts: Parts) -> JSONResponse:
    """Ask the database, the migrations and the event reader; 503 with the reasons."""
    reasons = hindrances(parts)
    if reasons:
        return JSONResponse({"status": "not ready", "reasons": reasons}, status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    return JSONResponse({"status": "ready", "reasons": []})


@router.get("/metrics", response_class=Response, summary="Figures for Prometheus")
async def metrics(parts: Parts) -> Response:
    """All figures of this process; no label names a vehicle or a person."""
    lag_s = parts.reader.lag_s()
    parts.metrics.lag.set(float("nan") if lag_s is None else lag_s)
    return Response(parts.metrics.text(), media_type=CONTENT_TYPE_LATEST)
