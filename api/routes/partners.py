"""The partners' side of roadside assistance: each sees and changes only what was dispatched to it."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from api import access, logs
from api.access import Action, Principal
from api.answers import rsa as answers
from api.deps import Caller, Database, Rule, expect_same
from api.errors import documented
from api.examples import asked, told
from api.idempotency import OncePerKey
from api.routes import BASE
from db import rsa
from db.pool import Connection
from rules.apply import partners as apply
from rules.errors import NotFoundError
from schemas import rsa as wire

router = APIRouter(prefix=BASE, tags=["Partners"], route_class=OncePerKey)

_PartnerPath = Annotated[str, Path(json_schema_extra={"pattern": r"^[A-Z][A-Z0-9_]{1,63}$"}, examples=["SAMSUNG_FIRE"])]


AS_PRINTED = ":partner"
"""How the RSA guide prints the path of Partner Service Completion: whoever has the dispatch."""


class _OfPartner(Rule):
    """The rule of a route about the partner of its path."""

    async def __call__(self, request: Request, caller: Caller, partner: _PartnerPath) -> str:  # type: ignore[override]
        """Return the partner. Raises NotFoundError."""
        if partner == AS_PRINTED and caller.partner is not None:
            partner = caller.partner
        await self.decide(request, caller, partner=partner)
        return partner


OwnPartner = Annotated[str, Depends(_OfPartner(Action.SERVE_DISPATCH))]
"""The path's partner, for which the caller speaks."""


def _holder(conn: Connection, partner: str, caller: Principal, cid: str) -> str:
    """Return who has the dispatch: the path's partner, or whoever it is where the path is as the guide prints it.

    Raises NotFoundError for another partner's dispatch, and for one of a vehicle that is not the caller's.
    """
    incident = rsa.get(conn, cid)
    holder = incident.partner if incident is not None and access.sees_dispatches_of(caller, incident.vin) else None
    if holder is None or partner not in {holder, AS_PRINTED}:
        raise NotFoundError(f"{partner} has no dispatch {cid}")
    return holder


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
    logs.about(request.cid)
    with pool.connection() as conn:
        holder = _holder(conn, partner, caller, request.cid)
        expect_same(request.partner, holder, field="partner")
        answered = apply.answer(conn, holder, request, actor=caller.actor, now=datetime.now(UTC))
        return answers.confirm_response(answered, rsa.timeline(conn, answered.cid))


@router.post(
    "/partners/{partner}/dispatch/location",
    responses=documented(400, 401, 404, 409, 413, 415, 422, 503),
    openapi_extra=asked("rsa_partner_location_request"),
    summary="Partner position and estimated arrival",
)
def locate(
    partner: OwnPartner, request: wire.DispatchLocationRequest, caller: Caller, pool: Database
) -> wire.DispatchLocationResponse:
    """Take where the partner is and when it will be there; `status` says that it has left or arrived."""
    logs.about(request.cid)
    with pool.connection() as conn:
        holder = _holder(conn, partner, caller, request.cid)
        expect_same(request.partner, holder, field="partner")
        return answers.location_response(apply.locate(conn, holder, request, actor=caller.actor, now=datetime.now(UTC)))


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
    logs.about(request.cid)
    with pool.connection() as conn:
        holder = _holder(conn, partner, caller, request.cid)
        expect_same(request.partner, holder, field="partner")
        return answers.complete_response(
            apply.complete(conn, holder, request, actor=caller.actor, now=datetime.now(UTC))
        )
