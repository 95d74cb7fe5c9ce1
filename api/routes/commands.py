"""Commands to a vehicle: to see, not to send; what is sent follows from policies and clocks (design, section 7)."""

from fastapi import APIRouter

from api.deps import CurfewReadableVin, Database, known_vehicle
from api.errors import documented
from api.routes import CHILDCARE
from api.routes.paging import DEFAULT_LIMIT, Limit, Offset
from db import commands
from db.commands import Command
from schemas import command as wire
from schemas.problem import Pagination

router = APIRouter(prefix=CHILDCARE, tags=["Curfew"])


@router.get(
    "/vehicles/{vin}/commands", responses=documented(401, 403, 404, 422, 503), summary="Commands to the vehicle"
)
def get_commands(
    vin: CurfewReadableVin, pool: Database, limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> wire.CommandListResponse:
    """The vehicle's commands, newest first: warnings, start blocks and their releases, time corrections."""
    with pool.connection() as conn:
        known_vehicle(conn, vin)
        total = commands.count_of_vehicle(conn, vin)
        page = commands.of_vehicle(conn, vin, limit=limit, offset=offset)
    pagination = Pagination(total=total, limit=limit, offset=offset, has_more=offset + len(page) < total)
    return wire.CommandListResponse(vin=vin, commands=tuple(map(_entry, page)), pagination=pagination)


def _entry(command: Command) -> wire.CommandEntry:
    return wire.CommandEntry(
        command_id=str(command.command_id),
        type=wire.CommandType(command.type),
        parameters=command.parameters,
        issued_at=command.issued_at,
        expires_at=command.expires_at,
        sends=command.sends,
        ack_status=wire.AckStatus(command.ack_status) if command.ack_status else None,
        ack_reason=command.ack_reason,
        acked_at=command.acked_at,
        outcome=wire.CommandOutcome(command.outcome),
        reason=command.reason or None,
        closed_at=command.closed_at,
    )
