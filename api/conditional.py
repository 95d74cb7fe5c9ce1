"""`ETag` and `If-Match` of incidents: nobody changes what somebody else has changed since it was read."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

from fastapi import Header

from db import incidents
from db.pool import Connection
from rules.errors import StaleError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ETAG = re.compile(r'(W/)?"([^"]*)"')

IfMatch = Annotated[
    str | None,
    Header(description="the `ETag` of the status that was read; where the incident has changed since, 412. `*`: any"),
]


class Versioned(Protocol):
    """An incident: each of its changes sets `updated_at`."""

    @property
    def updated_at(self) -> datetime:
        """When it last changed."""
        ...


def etag(incident: Versioned) -> str:
    """Return the ETag of an incident's version; a call that goes on, or the vehicle's state, is no part of it."""
    return f'"{_version(incident)}"'


def expect_unchanged(conn: Connection, if_match: str | None, load: Callable[[], Versioned]) -> None:
    """Raise StaleError where the incident is no longer what the caller read; nothing is expected without a header.

    Takes the incidents' lock, so that it stays so until the caller's commit. A weak ETag matches nothing
    (RFC 9110 §13.1.1).
    """
    if if_match is None or if_match.strip() == "*":
        return
    incidents.lock(conn)
    given = {tag for weak, tag in _ETAG.findall(if_match) if not weak}
    if _version(load()) not in given:
        raise StaleError("somebody else has changed the incident since it was read: read it again")


def _version(incident: Versioned) -> str:
    return f"{(incident.updated_at - _EPOCH) // timedelta(microseconds=1):x}"
