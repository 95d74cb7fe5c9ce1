"""`Idempotency-Key`: a POST that is repeated has one effect and one answer (design, section 5)."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from http import HTTPStatus
from inspect import Parameter, iscoroutinefunction, signature
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api import errors
from api.audit import Recorded
from api.deps import Caller, Database
from db import idempotency
from db.idempotency import KeptAnswer
from db.pool import Connection
from rules.errors import BusyError, DomainError, UnprocessableError

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

_Key = Annotated[
    str | None,
    Header(
        alias=HEADER,
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="Chosen by the client, for one request: the same again within 24 hours gets the first answer again",
        examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ),
]


class KeyReusedError(UnprocessableError):
    """The key was used for a request that said something else."""

    code = "IDEMPOTENCY_KEY_REUSED"
    place = "header"

    def __init__(self) -> None:
        super().__init__("expected a new key, or what was said with this one before", field=HEADER)


class StillRunningError(BusyError):
    """The first request with this key has not been answered yet."""

    code = "IDEMPOTENCY_KEY_RUNNING"
    retry_after_s = 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that brings a key: which one it is, and the hash of what it says."""

    pool: Recorded
    request_hash: bytes
    fingerprint: bytes


async def _attempt(request: Request, caller: Caller, pool: Database, key: _Key = None) -> Attempt | None:
    if key is None:
        return None
    named = "\0".join((caller.credential.who, request.method, key, request.url.path))
    said = b"\0".join((request.headers.get("if-match", "").encode("latin-1"), await request.body()))
    return Attempt(pool, hashlib.sha256(named.encode()).digest(), hashlib.sha256(said).digest())


class OncePerKey(APIRoute):
    """The route class of every router that has a POST: its POSTs take an `Idempotency-Key`."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **kwargs: Any) -> None:
        if "POST" in (kwargs.get("methods") or ()):
            endpoint = _once_per_key(endpoint, status=kwargs.get("status_code") or HTTPStatus.OK)
        super().__init__(path, endpoint, **kwargs)


def _once_per_key(endpoint: Callable[..., Any], *, status: int) -> Callable[..., Any]:
    if iscoroutinefunction(endpoint):
        raise TypeError(f"expected a plain function: the answer of {endpoint.__name__} is kept in its transaction")

    @wraps(endpoint)
    def answered(*, idempotency_attempt: Attempt | None, **kwargs: Any) -> Any:
        if idempotency_attempt is None:
            return endpoint(**kwargs)
        return _answer_once(idempotency_attempt, endpoint, kwargs, status=status)

    own = signature(endpoint)
    attempt = Parameter(
        "idempotency_attempt", Parameter.KEYWORD_ONLY, annotation=Annotated[Attempt | None, Depends(_attempt)]
    )
    given = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own.parameters.values()]
    answered.__signature__ = own.replace(parameters=[*given, attempt])  # type: ignore[attr-defined]
    return answered


def _answer_once(attempt: Attempt, endpoint: Callable[..., Any], kwargs: dict[str, Any], *, status: int) -> Response:
    """Return the kept answer, or the endpoint's, kept in the transaction of its effect: both or neither.

    What the caller did wrong is kept too, without any effect; a fault of ours, or of the database, undoes all.
    Raises StillRunningError and KeyReusedError.
    """
    now = datetime.now(UTC)
    with attempt.pool.connection() as conn:
        # First of all locks, and never waited for: it can't be part of a deadlock (decision 0001).
        if not idempotency.try_begin(conn, attempt.request_hash):
            raise StillRunningError("the first request with this key is still running")
        kept = idempotency.answer(conn, attempt.request_hash, now=now)
        if kept is not None:
            if kept.fingerprint != attempt.fingerprint:
                raise KeyReusedError
            attempt.pool.replays()
            return _response(kept, replayed=True)
        joined = _Joined(conn)
        given = {name: joined if value is attempt.pool else value for name, value in kwargs.items()}
        try:
            with conn.transaction():
                answer = _kept(attempt, endpoint(**given), status=status)
        except BusyError:
            raise  # the same again is meant to be tried
        except DomainError as error:
            attempt.pool.has_no_effect()
            answer = _kept(attempt, errors.of_domain(error), status=status)
        idempotency.keep(conn, attempt.request_hash, answer, now=now)
    return _response(answer, replayed=False)


class _Joined:
    """Stands for the pool while an endpoint runs: its connection is the transaction that keeps the answer as well."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give the connection; whoever opened it ends its transaction."""
        yield self._conn


def _kept(attempt: Attempt, answer: BaseModel | Response, *, status: int) -> KeptAnswer:
    if isinstance(answer, Response):
        text = bytes(answer.body).decode()
        return KeptAnswer(attempt.fingerprint, answer.status_code, answer.media_type or "application/json", text)
    return KeptAnswer(attempt.fingerprint, status, "application/json", answer.model_dump_json(by_alias=True))


def _response(answer: KeptAnswer, *, replayed: bool) -> Response:
    headers = {REPLAYED: "true"} if replayed else {}
    return Response(answer.body, status_code=answer.status, media_type=answer.media_type, headers=headers)
