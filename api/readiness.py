"""Whether this process can serve, and the heartbeat that tells the others."""

import asyncio
from datetime import UTC, datetime

import structlog
from fastapi.concurrency import run_in_threadpool

from api.resources import Resources
from db import migrate, processes
from db.errors import DatabaseError
from db.processes import Process

BEAT_S = 5.0
_WAIT_S = 2.0
_log = structlog.get_logger()


def hindrances(parts: Resources) -> list[str]:
    """Return why this process cannot serve now; empty when it can. Asks the database."""
    found = [] if parts.reader.is_running() else ["the event reader is not up to date"]
    try:
        with parts.pool.connection(timeout=_WAIT_S) as conn:
            waiting = migrate.pending(conn)
    except migrate.MigrationChangedError as error:
        return [*found, str(error)]
    except DatabaseError:
        return [*found, "the database does not answer"]
    return [*found, *(f"migration {path.stem} is missing" for path in waiting)]


async def keep_beating(parts: Resources) -> None:
    """Report to `processes` every five seconds, until cancelled; a beat that fails is logged and missed."""
    while True:
        try:
            await run_in_threadpool(_beat, parts)
        except DatabaseError as error:
            _log.warning("heartbeat missed", exc_info=error)
        await asyncio.sleep(BEAT_S)


def _beat(parts: Resources) -> None:
    ready = not hindrances(parts)
    lag_s = parts.reader.lag_s()
    figures = {
        "openStreams": parts.hub.open_streams(),
        "lastSequence": parts.hub.position,
        "streamLagSeconds": None if lag_s is None else round(lag_s, 3),
    }
    with parts.pool.connection() as conn:
        processes.beat(conn, Process(parts.name, parts.started_at, datetime.now(UTC), ready, figures))
