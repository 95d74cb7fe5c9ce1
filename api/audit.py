"""What the audit notes of a request: in the transaction of what it did, so that there is no effect without its row."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import Request

from api import logs
from api.access import Action, Principal
from db import audit
from db.audit import Entry
from db.pool import Connection, Pool

UNNOTED = frozenset(
    {Action.READ_HEALTH, Action.READ_TEMPLATES, Action.READ_SELF, Action.READ_STATISTICS, Action.READ_PARTNERS}
)
"""What tells of no vehicle and no person but the caller."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a request was allowed to do, and with what."""

    caller: Principal
    action: Action
    vin: str | None = None
    agent_id: str | None = None
    partner: str | None = None

    def entry(self, request: str) -> Entry:
        """Return the audit's row; the incident is the one that the log lines of the request are about."""
        return Entry(
            who=self.caller.credential.who,
            role=self.caller.role,
            action=self.action,
            request=request,
            request_id=logs.request_id(),
            vin=self.vin,
            cid=logs.incident(),
            agent_id=self.agent_id,
            partner=self.partner,
        )


class Recorded:
    """Stands for the pool in an endpoint: a transaction that ends well ends with its row in the audit."""

    def __init__(self, pool: Pool, request: Request) -> None:
        self._pool = pool
        self._request = request
        self._replayed = False
        self._without_effect = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give a connection; its transaction is committed at the end."""
        with self._pool.connection() as conn:
            yield conn
            decided: Decided | None = getattr(self._request.state, "decided", None)
            if decided is not None and decided.action not in UNNOTED and not self._without_effect:
                audit.append(conn, decided.entry(self._said()), only_reads=self._request.method == "GET")

    def replays(self) -> None:
        """Say that the transaction only hands out again what was answered before."""
        self._replayed = True

    def has_no_effect(self) -> None:
        """Say that the transaction does nothing but keep a refusal."""
        self._without_effect = True

    def _said(self) -> str:
        return _line(self._request) + (" (replayed)" if self._replayed else "")


def noted(request: Request) -> Entry:
    """Return the audit's row of a request that opens no transaction of its own."""
    decided: Decided = request.state.decided
    return decided.entry(_line(request))


def _line(request: Request) -> str:
    """Return method and route, without what the path's parameters are."""
    return f"{request.method} {request.scope['route'].path}"
