"""JSON logs with request id and cid, and without personal data: no token, phone, name, coordinate, VIN or payload."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

from rules.logs import describe_exception

_facts: ContextVar[dict[str, str] | None] = ContextVar("facts", default=None)


def begin(request_id: str) -> dict[str, str]:
    """Return the facts that every log line of this request carries; `about` adds to them, also from threads."""
    facts = {"requestId": request_id}
    _facts.set(facts)
    return facts


def about(cid: str) -> None:
    """Note which incident the present request is about."""
    facts = _facts.get()
    if facts is not None:
        facts["cid"] = cid


def incident() -> str | None:
    """Return the incident that the present request is about, None where it is about none."""
    return (_facts.get() or {}).get("cid")


def request_id() -> str:
    """Return the id of the present request, empty outside of one."""
    return (_facts.get() or {}).get("requestId", "")


def configure() -> None:
    """Send structlog's and the standard library's lines to stdout, one JSON object each."""
    shared: list[structlog.typing.Processor] = [
        _add_facts,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        describe_exception,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def _add_facts(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    for name, value in (_facts.get() or {}).items():
        line.setdefault(name, value)
    return line


def warn_unavailable(error: Exception) -> None:
    """Log that a request could not be served now."""
    structlog.get_logger().warning("unavailable", exc_info=error)
