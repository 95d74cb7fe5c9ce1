"""Log lines that tell of a failure without quoting what it was about: no name, number, place or payload."""

import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from db.errors import Unavailable

_INNERMOST = 25
"""Frames of a traceback that are kept, the innermost."""


def configure() -> None:
    """Send structlog's lines to stdout, one JSON object each, for a process without a web server."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            describe_exception,
            structlog.processors.JSONRenderer(),
        ]
    )


def describe_exception(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace an exception by its type and where it was raised: its message may quote a row or a payload."""
    given = line.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else (sys.exc_info()[1] if given is True else given)
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)[-_INNERMOST:]
        line["error"] = type(error).__name__
        line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        if (sqlstate := getattr(error, "sqlstate", None)) is not None:
            line["sqlstate"] = sqlstate
    return line


def brief(error: BaseException) -> str:
    """Return what went wrong in one line: in words where the way to a server is the trouble, else by type."""
    if isinstance(error, (*Unavailable, OSError)) and str(error):
        return str(error).splitlines()[0]
    return type(error).__name__
