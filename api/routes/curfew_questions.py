"""Questions about a curfew: why, what if, how often; and templates to start from."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.access import Action
from api.answers import curfew as answers
from api.deps import CurfewReadableVin, CurfewSettableVin, Database, ReadableVin, Rule, known_vehicle
from api.errors import documented
from api.examples import asked
from api.idempotency import OncePerKey
from api.routes import CHILDCARE
from api.routes.statistics import PeriodQuery
from db import curfew
from rules.apply import curfew_questions as questions
from rules.curfew_templates import NOTE, TEMPLATES
from rules.errors import UnprocessableError
from schemas import curfew_questions as wire
from schemas.curfew import NearInstant
from schemas.statistics import Period

router = APIRouter(prefix=CHILDCARE, tags=["Curfew"], route_class=OncePerKey)
_TRIES = timedelta(days=7)


@router.get(
    "/vehicles/{vin}/curfew/statistics", responses=documented(401, 404, 422, 503), summary="Curfew Statistics Query"
)
def get_statistics(
    vin: ReadableVin, pool: Database, period: PeriodQuery = Period.MONTH
) -> wire.CurfewStatisticsResponse:
    """The violations that began in the period: how many, how long, how severe, and when."""
    now = datetime.now(UTC)
    since = now - timedelta(days=period.days)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        versions = curfew.policies(conn, vin)
        return answers.statistics_response(
            versions[-1] if versions else None,
            curfew.violations_begun(conn, vin, since, now),
            sum(since <= exception.created_at for exception in curfew.exceptions(conn, vin)),
            period=period,
            now=now,
        )


@router.get(
    "/vehicles/{vin}/curfew/explain",
    responses=documented(401, 403, 404, 422, 503),
    summary="Why an instant is inside the curfew, or is not",
)
def get_explanation(
    vin: CurfewReadableVin,
    pool: Database,
    at: Annotated[NearInstant | None, Query(description="now without it")] = None,
) -> wire.ExplainResponse:
    """The policy, consent, exceptions and SOS in force at an instant, and what follows from them."""
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        return answers.explain_response(questions.explain(conn, vin, at=at or datetime.now(UTC)))


@router.post(
    "/vehicles/{vin}/curfew/dry-run",
    responses=documented(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=asked("curfew_policy_setting"),
    summary="What a draft of a policy would have flagged",
)
def post_dry_run(vin: CurfewSettableVin, request: wire.DryRunRequest, pool: Database) -> wire.DryRunResponse:
    """Try a draft on past trips; nothing is stored."""
    now = datetime.now(UTC)
    latest = min(now, request.from_ + wire.DRY_RUN_LONGEST) if request.from_ else now
    until = min(request.to or latest, latest)
    since = request.from_ or until - _TRIES
    if since >= until:
        raise UnprocessableError("expected a from in the past", field="from")
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        return answers.dry_run_response(questions.dry_run(conn, vin, request, since=since, until=until))


@router.get(
    "/curfew/templates",
    dependencies=[Depends(Rule(Action.READ_TEMPLATES))],
    responses=documented(401, 403, 503),
    summary="Night limits of US states as policies",
)
def get_templates() -> wire.TemplateList:
    """Graduated-licence night limits with their sources; `policy` of each is a body for the policy's PUT."""
    return wire.TemplateList(note=NOTE, templates=TEMPLATES)
