"""Errors as RFC 9457 `application/problem+json`, and the page of a list: what every REST answer shares."""

from schemas.base import Wire


class FieldProblem(Wire):
    """One value that cannot be taken: where it stands (`body`, `query`, `path`, `header`) and what was expected."""

    field: str
    place: str
    message: str


class Problem(Wire):
    """An RFC 9457 problem. `code` is stable, for programs; `detail` is for people; `requestId` finds the log lines."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    current_status: str | None = None
    errors: tuple[FieldProblem, ...] | None = None


class Pagination(Wire):
    """Where a page lies in its list (curfew guide, Violation History Response)."""

    total: int
    limit: int
    offset: int
    has_more: bool
