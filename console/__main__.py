"""`python -m console`: serve until SIGTERM or Ctrl-C."""

import logging
import socket
import sys

import structlog
import uvicorn
from pydantic import ValidationError

from console.app import create_app
from console.settings import ConsoleSettings

_GRACE_S = 3


def main() -> int:
    """Return the exit code."""
    try:
        settings = ConsoleSettings()
    except ValidationError as error:
        told = ", ".join(f"TCU_{str(one['loc'][0]).upper()} ({one['msg']})" for one in error.errors())
        print(f"console: cannot start with {told}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 1
    logging.basicConfig(level=logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ]
    )
    listener = socket.create_server((settings.console_host, settings.console_port), reuse_port=False)
    host, port = listener.getsockname()[:2]
    structlog.get_logger().info("serving", host=host, port=port)
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,  # addresses of pages hold ids of incidents
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
