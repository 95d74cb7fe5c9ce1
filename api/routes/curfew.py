"""The curfew of the app: policy, exceptions, consent and violations."""

import re
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from api.access import Action
from api.answers import curfew as answers
from api.answers.curfew import Counts
from api.deps import (
    Caller,
    CurfewReadableVin,
    CurfewSettableVin,
    Database,
    OfVehicle,
    ReadableVin,
    known_vehicle,
)
from api.errors import documented
from api.examples import asked, told
from api.idempotency import OncePerKey
from api.routes import CHILDCARE
from api.routes.paging import CURFEW_LIMIT, Limit, Offset
from db import curfew
from db.curfew import Policy
from db.pool import Connection
from rules.apply import consents
from rules.apply import curfew as apply
from rules.errors import NotFoundError, UnprocessableError
from schemas import curfew as wire
from schemas.base import Instant

router = APIRouter(prefix=CHILDCARE, tags=["Curfew"], route_class=OncePerKey)

IfMatch = Annotated[
    str | None,
    Header(description="the `ETag` that was read; with another policy stored by now, 412. `*`: any policy"),
]
ConsentableVin = Annotated[str, Depends(OfVehicle(Action.RECORD_CONSENT))]
"""The path's VIN, for whose driver the caller may record consent."""
ExceptionId = Annotated[str, Path(alias="exceptionId", examples=["exc_001"])]
_EXCEPTION_ID = re.compile(r"exc_(\d{3,18})", re.ASCII)
_ETAG = re.compile(r'(W/)?"([^"]*)"')
_NONE = 0
"""No policy has this id."""


@router.get(
    "/vehicles/{vin}/curfew/policy",
    responses=told("curfew_policy_response") | documented(401, 403, 404, 422, 503),
    summary="Curfew Policy Query",
)
def get_policy(vin: CurfewReadableVin, pool: Database, response: Response) -> wire.CurfewPolicyResponse:
    """The policy in force, with its exceptions and how often it was broken."""
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        return _policy(conn, vin, response, now=datetime.now(UTC))


@router.put(
    "/vehicles/{vin}/curfew/policy",
    responses=told("curfew_policy_response") | documented(400, 401, 403, 404, 412, 413, 415, 422, 503),
    openapi_extra=asked("curfew_policy_setting"),
    summary="Curfew Policy Setting",
)
def put_policy(
    *,
    vin: CurfewSettableVin,
    request: wire.CurfewPolicyRequest,
    caller: Caller,
    pool: Database,
    response: Response,
    if_match: IfMatch = None,
) -> wire.CurfewPolicyResponse:
    """Replace the policy from now on; what happened before is judged by the one before."""
    now = datetime.now(UTC)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        expected = _expected(if_match, curfew.policies(conn, vin))
        apply.set_policy(conn, vin, request, actor=caller.actor, if_match=expected, now=now)
        return _policy(conn, vin, response, now=now)


@router.post(
    "/vehicles/{vin}/curfew/exception",
    status_code=201,
    responses=documented(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=asked("curfew_exception_setting"),
    summary="Curfew Exception Setting",
)
def post_exception(
    vin: CurfewSettableVin, request: wire.CurfewExceptionRequest, caller: Caller, pool: Database
) -> wire.ExceptionEntry:
    """Release the vehicle for at most 7 days; the same request again answers the same exception."""
    now = datetime.now(UTC)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        granted = apply.grant_exception(conn, vin, request, actor=caller.actor, now=now)
        return answers.exception_entry(granted, now=now)


@router.get(
    "/vehicles/{vin}/curfew/exceptions",
    responses=told("curfew_exception_list") | documented(401, 403, 404, 422, 503),
    summary="Curfew Exception List Query",
)
def get_exceptions(
    vin: CurfewReadableVin,
    pool: Database,
    status: Annotated[wire.ExceptionStatus | None, Query(description="only those that stand so now")] = None,
    limit: Limit = CURFEW_LIMIT,
    offset: Offset = 0,
) -> wire.ExceptionList:
    """The vehicle's exceptions, latest start first."""
    now = datetime.now(UTC)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        found = [e for e in curfew.exceptions(conn, vin) if status in {None, apply.status_of(e, now)}]
        return answers.exception_list(found, limit=limit, offset=offset, now=now)


@router.delete(
    "/vehicles/{vin}/curfew/exceptions/{exceptionId}",
    responses=documented(401, 403, 404, 422, 503),
    summary="Curfew exception cancelled",
)
def delete_exception(vin: CurfewSettableVin, exception_id: ExceptionId, pool: Database) -> wire.ExceptionEntry:
    """End an exception early; it stays in the list as cancelled. 404 for one that has ended already."""
    now = datetime.now(UTC)
    number = _EXCEPTION_ID.fullmatch(exception_id)
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        if number is None:
            raise NotFoundError("this vehicle has no such exception")
        cancelled = apply.cancel_exception(conn, vin, int(number[1]), now=now)
        return answers.exception_entry(cancelled, now=now)


@router.get(
    "/vehicles/{vin}/curfew/violations",
    responses=told("curfew_violation_list") | documented(401, 404, 422, 503),
    summary="Curfew Violation History Query",
)
def get_violations(
    *,
    vin: ReadableVin,
    pool: Database,
    severity: wire.Severity | None = None,
    resolved: Annotated[bool | None, Query(description="whether it has ended")] = None,
    since: Annotated[Instant | None, Query(alias="from", description="begun at this instant or later")] = None,
    until: Annotated[Instant | None, Query(alias="to", description="begun before this instant")] = None,
    limit: Limit = CURFEW_LIMIT,
    offset: Offset = 0,
) -> wire.ViolationList:
    """The vehicle's violations, newest first; those that were taken back are left out."""
    if since is not None and until is not None and since >= until:
        raise UnprocessableError("expected to after from", field="to")
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        found, total = curfew.violations_page(
            conn, vin, limit=limit, offset=offset, severity=severity, resolved=resolved, since=since, until=until
        )
        return answers.violation_list(found, total, limit=limit, offset=offset, now=datetime.now(UTC))


@router.get(
    "/vehicles/{vin}/consents", responses=documented(401, 403, 404, 422, 503), summary="What the driver consents to"
)
def get_consents(vin: CurfewReadableVin, pool: Database) -> wire.ConsentList:
    """The driver's consent by purpose, as it was recorded last."""
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        return answers.consent_list(vin, consents.by_purpose(conn, vin))


@router.put(
    "/vehicles/{vin}/consents",
    responses=documented(400, 401, 403, 404, 413, 415, 422, 503),
    openapi_extra=asked("curfew_consent_request"),
    summary="The driver consents, or withdraws consent",
)
def put_consent(vin: ConsentableVin, request: wire.ConsentRequest, caller: Caller, pool: Database) -> wire.ConsentList:
    """Record the driver's consent to a purpose.

    Without that to CURFEW a curfew is stored and not evaluated. Once that to LOCATION is withdrawn, places are neither
    stored nor shown, but for an SOS. Without that to VOICE_RECORDING no call is recorded.
    """
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        consents.record(conn, vin, request, actor=caller.actor, now=datetime.now(UTC))
        return answers.consent_list(vin, consents.by_purpose(conn, vin))


def _policy(conn: Connection, vin: str, response: Response, *, now: datetime) -> wire.CurfewPolicyResponse:
    """Return the policy and set its ETag. Raises NotFoundError where the vehicle has none."""
    versions = curfew.policies(conn, vin)
    if not versions:
        raise NotFoundError("this vehicle has no curfew policy")
    response.headers["ETag"] = f'"{versions[-1].policy_id}"'
    counts = _counts(conn, vin, ZoneInfo(versions[-1].timezone), now=now)
    return answers.policy_response(
        versions, curfew.exceptions(conn, vin), consents.latest(conn, vin, wire.ConsentPurpose.CURFEW), counts, now=now
    )


def _counts(conn: Connection, vin: str, zone: ZoneInfo, *, now: datetime) -> Counts:
    month = now.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    last_month = month.replace(year=month.year - (month.month == 1), month=(month.month - 2) % 12 + 1)
    return Counts(
        total=curfew.count_violations(conn, vin),
        this_month=curfew.count_violations(conn, vin, since=month.astimezone(UTC)),
        last_month=curfew.count_violations(conn, vin, since=last_month.astimezone(UTC), until=month.astimezone(UTC)),
    )


def _expected(if_match: str | None, versions: list[Policy]) -> int | None:
    """Return the version that the caller expects to replace: None for any, one that never was where nothing matches.

    `*` matches whatever there is, a weak ETag nothing (RFC 9110 §13.1.1).
    """
    if if_match is None:
        return None
    if not versions:
        return _NONE
    if if_match.strip() == "*":
        return None
    present = versions[-1].policy_id
    given = {tag for weak, tag in _ETAG.findall(if_match) if not weak}
    return present if str(present) in given else _NONE
