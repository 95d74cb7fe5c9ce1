"""Whether this process can serve, and the heartbeat that tells the others."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from anyio import to_thread

from api.resources import Resources
from db import migrate, processes
from db.errors import DatabaseError
from db.pool import PROMPT_WITHIN_S, connect
from db.processes import Process

BEAT_S = 5.0
_WAIT_S = 2.0
_Answer = TypeVar("_Answer")
_log = structlog.get_logger()


def hindrances(parts: Resources) -> list[str]:
    """Return why this process cannot serve now; empty when it can. Asks the database."""
    lag_s = parts.reader.lag_s()
    found = [] if parts.reader.is_running() else ["the event reader is not up to date"]
    try:
        with parts.pool.connection(timeout=_WAIT_S) as conn:
            waiting = migrate.pending(conn)
    except migrate.MigrationChangedError as error:
        return [*found, str(error)]
    except DatabaseError:
        if lag_s is not None and lag_s < _WAIT_S:  # the reader has a connection of its own, and that one is answered
            return [*found, f"all {parts.settings.api_connections} database connections are in use"]
        return [*found, "the database does not answer"]
    return [*found, *(f"migration {path.stem} is missing" for path in waiting)]


async def keep_beating(parts: Resources) -> None:
    """Report to `processes` every five seconds, until cancelled; a beat that fails is logged and missed."""
    while True:
        try:
            await ask_for(parts, _beat)
        except DatabaseError as error:
            _log.warning("heartbeat missed", exc_info=error)
        await asyncio.sleep(BEAT_S)


async def ask_for(parts: Resources, question: Callable[[Resources], _Answer]) -> _Answer:
    """Return the answer from a thread that no request can hold: what says that all are busy must not wait for one."""
    return await to_thread.run_sync(question, parts, limiter=parts.probes)


def _beat(parts: Resources) -> None:
    ready = not hindrances(parts)
    lag_s = parts.reader.lag_s()
    figures = {
        "openStreams": parts.hub.open_streams(),
        "lastSequence": parts.hub.position,
        "streamLagSeconds": None if lag_s is None else round(lag_s, 3),
    }
    with connect(
        parts.settings.database_url, name="tcu-api-beat", autocommit=True, answer_within_s=PROMPT_WITHIN_S
    ) as conn:
        processes.beat(conn, Process(parts.name, parts.started_at, datetime.now(UTC), ready, figures))
