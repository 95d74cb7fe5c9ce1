"""`python -m api`: serve until SIGTERM or Ctrl-C."""

import socket
import sys
from datetime import UTC, datetime
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from api import logs
from api.access import UnauthenticatedError
from api.app import create_app, end_streams
from api.key_ring import holder
from api.settings import ApiSettings, Environment
from db import keys
from db.errors import DatabaseError
from db.pool import connect
from schemas.demo import DEMO_TOKEN

GRACE_S = 5
_BACKLOG = 2048


class ApiServer(uvicorn.Server):
    """Ends the streams before it waits for connections, and leaves with exit code 0."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """Leave in order at the first signal, at once at the second."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        end_streams(self._app)
        await super().shutdown(sockets)


def serve(settings: ApiSettings) -> None:
    """Serve until a signal comes."""
    logs.configure()
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        loop="asyncio",  # whatever else is installed: the time-outs of streams are tried with these two
        http="h11",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        backlog=_BACKLOG,
    )
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    structlog.get_logger().info("serving", host=host, port=port, environment=settings.environment)
    ApiServer(config, app).run(sockets=[listener])


def check_demo_token(settings: ApiSettings) -> None:
    """Raise ValueError where a production database would let the guides' printed token in.

    A database that does not answer yet is no hindrance: in production that token is refused in any case.
    """
    if settings.environment is not Environment.PRODUCTION:
        return
    try:
        with connect(settings.database_url, name="tcu-api-check") as conn:
            found = keys.find(conn, DEMO_TOKEN, secret=settings.key_secret.get_secret_value())
    except DatabaseError:
        return
    try:
        holder(found, now=datetime.now(UTC))
    except UnauthenticatedError:
        return
    raise ValueError("the demo's token, printed in public guides, is a valid key here: revoke it (`tcu key revoke`)")


def main() -> int:
    """Return the exit code."""
    try:
        settings = ApiSettings()
        check_demo_token(settings)
    except ValidationError as error:
        told = ", ".join(_setting(one["loc"]) + f" ({one['msg']})" for one in error.errors())
        print(f"api: cannot start with {told}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 1
    except ValueError as error:
        print(f"api: {error}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 1
    serve(settings)
    return 0


def _setting(loc: tuple[int | str, ...]) -> str:
    return f"TCU_{str(loc[0]).upper()}" if loc else "settings that contradict each other"


def listen(settings: ApiSettings) -> socket.socket:
    """Return the socket to serve on."""
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    # asyncio switches Nagle's delay off only on sockets whose protocol was named; it costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by each connection: one whose client takes nothing is dropped by the kernel. Closing it is not enough,
    # because what was written before keeps it open until somebody reads it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.stream_send_timeout_s * 1000))
    listener.bind((settings.api_host, settings.api_port))
    return listener


if __name__ == "__main__":
    sys.exit(main())
