"""Every error as RFC 9457 `application/problem+json`: the one place where domain errors become HTTP statuses."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api import logs
from api.access import ForbiddenError, UnauthenticatedError
from api.limits import LimitedError
from api.tables import NotAcceptableError
from db.errors import Unavailable
from rules.errors import (
    BusyError,
    ConflictError,
    DomainError,
    IllegalMoveError,
    NotFoundError,
    StaleError,
    UnprocessableError,
)
from schemas.problem import FieldProblem, Problem

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

_STATUS: dict[type[DomainError], HTTPStatus] = {
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    LimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    NotFoundError: HTTPStatus.NOT_FOUND,
    NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    ConflictError: HTTPStatus.CONFLICT,
    StaleError: HTTPStatus.PRECONDITION_FAILED,
    UnprocessableError: HTTPStatus.UNPROCESSABLE_ENTITY,
}
_CODES = {
    HTTPStatus.BAD_REQUEST: "MALFORMED_JSON",
    HTTPStatus.NOT_FOUND: "NO_SUCH_ROUTE",
    HTTPStatus.METHOD_NOT_ALLOWED: "METHOD_NOT_ALLOWED",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "BODY_TOO_LARGE",
}
_EXPECTED = {
    "model_attributes_type": "expected a JSON object",
    "string_pattern_mismatch": "expected text that matches {pattern}",
    "string_too_short": "expected {min_length} or more characters",
    "string_too_long": "expected no more than {max_length} characters",
    "too_short": "expected {min_length} or more entries",
    "too_long": "expected no more than {max_length} entries",
}
"""What was expected, by pydantic's type of error, where its own message speaks of Python."""


class UnavailableError(Exception):
    """This process cannot serve the request now; the same again may succeed."""


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldProblem] | None = None,
    current_status: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem as a response; the request id is that of the present request."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        request_id=logs.request_id(),
        current_status=current_status,
        errors=tuple(errors) if errors is not None else None,
    )
    absent = {name for name in ("errors", "current_status") if getattr(body, name) is None}
    text = body.model_dump_json(by_alias=True, exclude=absent)
    return Response(text, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def unexpected() -> Response:
    """Return what a caller is told of a fault of ours: nothing but the request id that finds it in the logs."""
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "something went wrong here; the request id finds it in the logs"
    )


def install(app: FastAPI) -> None:
    """Make the app answer every error as a problem."""
    app.add_exception_handler(DomainError, _domain)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for unavailable in (*Unavailable, UnavailableError):
        app.add_exception_handler(unavailable, _unavailable)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of these error answers."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    everywhere = {429} if 401 in statuses else set()  # noqa: PLR2004 - who has to say who it is, is counted
    slow = {408} if 413 in statuses else set()  # noqa: PLR2004 - a body may be too large, and too slow
    told = sorted({*statuses, *everywhere, *slow})
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in told}


def of_domain(error: DomainError) -> Response:
    """Return what a caller is told of what can't be done."""
    status = next(found for type_, found in _STATUS.items() if isinstance(error, type_))
    if isinstance(error, UnauthenticatedError):
        challenge = 'Bearer realm="tcu"' + ("" if error.code == "KEY_MISSING" else ', error="invalid_token"')
        return problem(status, error.code, str(error), headers={"WWW-Authenticate": challenge})
    if isinstance(error, UnprocessableError):
        return problem(status, error.code, str(error), errors=[_field(error.place, error.field, str(error))])
    current = error.status if isinstance(error, IllegalMoveError) else None
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, BusyError | LimitedError) else None
    return problem(status, error.code, str(error), current_status=current, headers=headers)


def _domain(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError)  # noqa: S101 - registered for this type only
    return of_domain(error)


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem(HTTPStatus.BAD_REQUEST, "MALFORMED_JSON", "expected a JSON object")
    if isinstance(error.body, bytes) and error.body:  # it was not even read as JSON
        return problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", "expected Content-Type: application/json"
        )
    # A list whose entries can't be taken is not also too short.
    found = [one for one in found if one["type"] != "too_short" or not _holds_another(one["loc"], found)]
    fields = [_field(str(one["loc"][0]), ".".join(map(_wire_name, one["loc"][1:])), _expected(one)) for one in found]
    named = ", ".join(dict.fromkeys(field.field or field.place for field in fields))
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "INVALID", f"cannot take {named}", errors=fields)


def _holds_another(loc: tuple[Any, ...], found: Sequence[Mapping[str, Any]]) -> bool:
    return any(len(one["loc"]) > len(loc) and one["loc"][: len(loc)] == loc for one in found)


def _expected(one: Mapping[str, Any]) -> str:
    known = _EXPECTED.get(one["type"])
    return known.format_map(one.get("ctx", {})) if known else str(one["msg"])


def _wire_name(part: object) -> str:
    """Return a part of an error's location as the wire spells it: of a default, pydantic gives the field's own name."""
    return to_camel(part) if isinstance(part, str) and "_" in part else str(part)


def _field(place: str, field: str, message: str) -> FieldProblem:
    message = message.removeprefix("Value error, ").replace("Input should be", "expected").replace("Field r", "r")
    return FieldProblem(field=field, place=place, message=message)


def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    status = HTTPStatus(error.status_code)
    detail = "expected a JSON object" if status is HTTPStatus.BAD_REQUEST else str(error.detail)
    return problem(status, _CODES.get(status, status.name), detail, headers=error.headers)


def _unavailable(_request: Request, error: Exception) -> Response:
    logs.warn_unavailable(error)
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "UNAVAILABLE",
        "the service is not available at the moment; try again",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
