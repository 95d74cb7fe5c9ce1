"""What endpoints ask for: who calls, may they, and where the database is.

An endpoint opens its one transaction itself (`with pool.connection() as conn`) and ends it before it returns: a
connection held from one threadpool job to the next would let waiting requests starve those that hold one.
"""

from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api import access
from api.access import Action, Principal, UnauthenticatedError
from api.resources import Resources
from db import vehicles
from db.pool import Connection, Pool
from rules.errors import UnprocessableError
from schemas.base import VIN_PATTERN

_bearer = HTTPBearer(scheme_name="bearer", description="An API key, as `sk_…`", auto_error=False)


async def resources(request: Request) -> Resources:
    """Return the parts of this process."""
    found: Resources = request.app.state.resources
    return found


Parts = Annotated[Resources, Depends(resources)]


async def token(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    """Return the bearer key. Raises UnauthenticatedError where there is none."""
    if credentials is None or not credentials.credentials:
        raise UnauthenticatedError("KEY_MISSING", "expected `Authorization: Bearer sk_…`")
    return credentials.credentials


async def principal(parts: Parts, key: Annotated[str, Depends(token)]) -> Principal:
    """Return who calls. Raises UnauthenticatedError."""
    seen = parts.key_ring.seen_lately(key)
    return await run_in_threadpool(parts.key_ring.ask, key) if seen is None else seen


async def pool(parts: Parts) -> Pool:
    """Return the database pool."""
    return parts.pool


Caller = Annotated[Principal, Depends(principal)]
Key = Annotated[str, Depends(token)]
Database = Annotated[Pool, Depends(pool)]

# A malformed VIN is answered as an unknown vehicle, so the pattern only documents.
_VinPath = Annotated[str, Path(json_schema_extra={"pattern": VIN_PATTERN}, examples=["KMHSH81C7LU123456"])]


async def _readable(vin: _VinPath, caller: Caller) -> str:
    access.check_vehicle(caller, vin, Action.READ)
    return vin


async def _requestable(vin: _VinPath, caller: Caller) -> str:
    access.check_vehicle(caller, vin, Action.REQUEST)
    return vin


async def _handled(vin: _VinPath, caller: Caller) -> str:
    access.check_vehicle(caller, vin, Action.HANDLE)
    return vin


async def _curfew_readable(vin: _VinPath, caller: Caller) -> str:
    access.check_vehicle(caller, vin, Action.READ_CURFEW)
    return vin


async def _curfew_settable(vin: _VinPath, caller: Caller) -> str:
    access.check_vehicle(caller, vin, Action.SET_CURFEW)
    return vin


async def _consentable(vin: _VinPath, caller: Caller) -> str:
    access.check_vehicle(caller, vin, Action.CONSENT)
    return vin


ReadableVin = Annotated[str, Depends(_readable)]
"""The path's VIN, whose incidents the caller may read."""
RequestableVin = Annotated[str, Depends(_requestable)]
"""The path's VIN, for which the caller may ask for help."""
HandledVin = Annotated[str, Depends(_handled)]
"""The path's VIN, whose incidents the caller works on in the call center."""
CurfewReadableVin = Annotated[str, Depends(_curfew_readable)]
"""The path's VIN, whose curfew the caller may know."""
CurfewSettableVin = Annotated[str, Depends(_curfew_settable)]
"""The path's VIN, whose curfew the caller decides on."""
ConsentableVin = Annotated[str, Depends(_consentable)]
"""The path's VIN, for whose driver the caller may record consent."""


def known_vehicle(conn: Connection, vin: str) -> vehicles.Vehicle:
    """Return the vehicle. Raises the same NotFoundError as for one that is not the caller's."""
    vehicle = vehicles.get(conn, vin) if "\x00" not in vin else None
    if vehicle is None:
        raise access.no_vehicle()
    return vehicle


def expect_same(said: str | None, path: str, *, field: str) -> None:
    """Raise UnprocessableError where the body names another thing than the path; it need not name any."""
    if said not in {None, path}:
        raise UnprocessableError(f"expected the {field} of the path, or none", field=field)
