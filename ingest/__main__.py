"""`python -m ingest`: run the worker until SIGTERM or SIGINT."""

import signal
import sys
from threading import Event

import structlog
from prometheus_client import start_http_server
from pydantic import ValidationError

from ingest.settings import WorkerSettings
from ingest.worker import run


def main() -> None:
    """Read the settings, serve metrics, and work until told to stop."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        names = ", ".join(f"TCU_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        sys.exit(f"ingest: {names}")
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if settings.ingest_metrics_port is not None:
        start_http_server(settings.ingest_metrics_port, addr="127.0.0.1")
    run(settings, stopping)


if __name__ == "__main__":
    main()
