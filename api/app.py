"""The application: its routes, and the parts that live as long as it does."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from api import errors
from api.deps import rules_of
from api.hub import Hub
from api.key_ring import KeyRing
from api.metrics import Metrics
from api.observe import Observe
from api.open_streams import OpenStreams
from api.reader import EventReader
from api.readiness import keep_beating
from api.resources import Resources
from api.routes import (
    agents,
    commands,
    curfew,
    curfew_questions,
    documentation,
    operations,
    overview,
    partners,
    rsa,
    sos,
    statistics,
    streams,
    system,
    telemetry,
)
from api.settings import ApiSettings
from api.tokens import Tokens, trusted
from db.pool import open_pool
from schemas.problem import Problem

_ROUTERS = (
    sos,
    agents,
    system,
    streams,
    rsa,
    partners,
    statistics,
    curfew,
    curfew_questions,
    commands,
    overview,
    telemetry,
    operations,
    documentation,
)
_DESCRIPTION = """SOS, roadside assistance and curfew as the SOS, RSA and Curfew API Developer Guides describe them.
Errors are RFC 9457 problems with a stable `code`; every answer carries `X-Request-ID`.
A POST may bring an `Idempotency-Key`: the same again within 24 hours has no second effect and gets the same answer,
marked `Idempotency-Replayed: true`; with another body it is 422, while the first is still running 409.
The status of an incident carries an `ETag`; with it as `If-Match`, a change is 412 where somebody else was first."""


OPEN = frozenset({"/livez", "/readyz", "/metrics", "/docs", "/docs/start.js", "/docs/{name}", "/openapi.json"})
"""Routes that tell nothing of anybody, so they need no key."""


def create_app(settings: ApiSettings) -> FastAPI:
    """Return the application; it connects when its lifespan begins."""
    metrics = Metrics()
    app = FastAPI(
        title="TCU telematics backend",
        version="1",
        description=_DESCRIPTION,
        lifespan=_lifespan(settings, metrics),
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    app.add_middleware(Observe, metrics=metrics)
    for module in _ROUTERS:
        app.include_router(module.router)
    check_rules(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def check_rules(app: FastAPI) -> None:
    """Raise TypeError for a route that anybody could ask: one that is not open and has no access rule, or several."""
    for route in iter_route_contexts(app.routes):
        if route.path in OPEN:
            continue
        rules = rules_of(route.dependant) if isinstance(route.original_route, APIRoute) else []
        if len(rules) != 1:
            raise TypeError(f"expected one access rule of {route.path}, not {len(rules)}")


def end_streams(app: FastAPI) -> None:
    """End the open streams, so that the server need not wait for them; called on the loop."""
    parts: Resources | None = getattr(app.state, "resources", None)
    if parts is not None:
        parts.reader.stop()
        parts.hub.close()


def _lifespan(settings: ApiSettings, metrics: Metrics) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        name = f"api@{socket.gethostname()}:{os.getpid()}"
        pool = open_pool(settings.database_url, name="tcu-api", max_size=settings.api_connections)
        hub = Hub(metrics, bound=settings.stream_queue)
        reader = EventReader(settings.database_url, hub, asyncio.get_running_loop(), name="tcu-api-events")
        trust = trusted(settings)
        tokens = Tokens(trust) if trust else None
        key_ring = KeyRing(pool, settings.key_secret, settings.environment, tokens)
        parts = Resources(
            settings, name, pool, key_ring, hub, OpenStreams(pool, key_ring, process=name), reader, metrics
        )
        app.state.resources = parts
        reader.start()
        lasting = (keep_beating(parts), parts.open_streams.keep_checking(), parts.open_streams.keep_counting())
        tasks = [asyncio.create_task(job) for job in lasting]
        try:
            yield
        finally:
            end_streams(app)
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await asyncio.to_thread(reader.join)
            await asyncio.to_thread(pool.close)

    return lifespan


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document with the model of problems; FastAPI's own validation error never occurs."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        models = document["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            models.pop(unused, None)
        problem = Problem.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
        models |= problem.pop("$defs")
        models["Problem"] = problem
        app.openapi_schema = document
    return app.openapi_schema
