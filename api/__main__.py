"""`python -m api`: serve until SIGTERM or Ctrl-C."""

import sys
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from api import logs
from api.access import UnauthenticatedError
from api.app import create_app
from api.key_ring import holder
from api.server import ApiServer, allow_many_connections
from api.settings import ApiSettings
from db import keys
from db.errors import DatabaseError
from db.pool import connect
from db.roles import check_role
from schemas.demo import DEMO_TOKEN
from schemas.production import Environment


def serve(settings: ApiSettings) -> None:
    """Serve until a signal comes."""
    logs.configure()
    allow_many_connections()
    server = ApiServer(settings, create_app(settings))
    structlog.get_logger().info("serving", host=settings.api_host, port=server.port, environment=settings.environment)
    server.serve_until_told()


def check_demo_token(settings: ApiSettings) -> None:
    """Raise ValueError where a production database would let the guides' printed token in.

    A database that does not answer yet is no hindrance: in production that token is refused in any case.
    """
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
        if settings.environment is Environment.PRODUCTION:
            check_role(settings.database_url)
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


if __name__ == "__main__":
    sys.exit(main())
