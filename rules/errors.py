"""What a caller can be told: one root, so that the API turns them into answers in one place."""


class DomainError(Exception):
    """Something the caller asked for that can't be done; `code` is stable, the message is for people."""

    code = "DOMAIN_ERROR"


class NotFoundError(DomainError):
    """The thing does not exist, or not for this caller."""

    code = "NOT_FOUND"


class ConflictError(DomainError):
    """The thing is not in a state, or not this caller's, for what was asked."""

    code = "CONFLICT"


class BusyError(ConflictError):
    """Somebody else is at it; the same again after some seconds may succeed."""

    code = "BUSY"
    retry_after_s = 2


class IllegalMoveError(ConflictError):
    """The incident's present status does not allow the action."""

    code = "ILLEGAL_MOVE"

    def __init__(self, *, status: str, action: str) -> None:
        super().__init__(f"{action} is not possible while the incident is {status}")
        self.status = status
        self.action = action


class StaleError(DomainError):
    """Somebody else has changed the thing since the caller read it (RFC 9110 §13.1.1)."""

    code = "STALE"


class UnprocessableError(DomainError):
    """The request is well formed and contradicts itself; `field` names where."""

    code = "UNPROCESSABLE"
    place = "body"

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field
