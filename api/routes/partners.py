"""The partners' side of roadside assistance: each sees and changes only what was dispatched to it."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from api import access, logs
from api.answers import rsa as answers
from api.deps import Caller, Database, expect_same
from api.errors import documented
from api.examples import asked, told
from api.idempotency import OncePerKey
from api.routes import BASE
from db import rsa
from rules.apply import partners as apply
from schemas import rsa as wire

router = APIRouter(prefix=BASE, tags=["Partners"], route_class=OncePerKey)

_PartnerPath = Annotated[str, Path(json_schema_extra={"pattern": r"^[A-Z][A-Z0-9_]{1,63}$"}, examples=["SAMSUNG_FIRE"])]


async def _own(partner: _PartnerPath, caller: Caller) -> str:
    access.check_partner(caller, partner)
    return partner


OwnPartner = Annotated[str, Depends(_own)]
"""The path's partner, for which the caller speaks."""


@router.post(
    "/partners/{partner}/dispatch/confirm",
    responses=told("rsa_partner_dispatch_confirmation_response") | documented(400, 401, 404, 409, 413, 415, 422, 503),
    openapi_extra=asked("rsa_partner_dispatch_confirmation_request"),
    summary="Partner Dispatch Confirmation",
)
def confirm(
    partner: OwnPartner, request: wire.DispatchConfirmRequest, caller: Caller, pool: Database
) -> wire.DispatchConfirmResponse:
    """Take the partner's yes or no to its dispatch; the same word again changes nothing."""
    expect_same(request.partner, partner, field="partner")
    logs.about(request.cid)
    with pool.connection() as conn:
        answered = apply.answer(conn, partner, request, actor=caller.actor, now=datetime.now(UTC))
        return answers.confirm_response(answered, rsa.timeline(conn, answered.cid))


@router.post(
    "/partners/{partner}/dispatch/location",
    responses=documented(400, 401, 404, 409, 413, 415, 422, 503),
    summary="Partner position and estimated arrival",
)
def locate(
    partner: OwnPartner, request: wire.DispatchLocationRequest, caller: Caller, pool: Database
) -> wire.DispatchLocationResponse:
    """Take where the partner is and when it will be there; `status` says that it has left or arrived."""
    expect_same(request.partner, partner, field="partner")
    logs.about(request.cid)
    with pool.connection() as conn:
        return answers.location_response(
            apply.locate(conn, partner, request, actor=caller.actor, now=datetime.now(UTC))
        )


@router.post(
    "/partners/{partner}/service/complete",
    responses=told("rsa_partner_dispatch_completion_response") | documented(400, 401, 404, 409, 413, 415, 422, 503),
    openapi_extra=asked("rsa_partner_dispatch_completion_request"),
    summary="Partner Service Completion",
)
def complete(
    partner: OwnPartner, request: wire.ServiceCompleteRequest, caller: Caller, pool: Database
) -> wire.ServiceCompleteResponse:
    """Take the partner's word that the service is done; the same word again changes nothing."""
    expect_same(request.partner, partner, field="partner")
    logs.about(request.cid)
    with pool.connection() as conn:
        return answers.complete_response(
            apply.complete(conn, partner, request, actor=caller.actor, now=datetime.now(UTC))
        )
