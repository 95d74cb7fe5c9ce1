"""`python -m rules`: number events and run the scheduled jobs until SIGTERM or SIGINT."""

import signal
import sys
from threading import Event

import structlog
from pydantic import ValidationError

from db.settings import DatabaseSettings
from rules.jobs import Elected


def main() -> None:
    """Read the settings and work until told to stop."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    try:
        settings = DatabaseSettings()
    except ValidationError as error:
        names = ", ".join(f"TCU_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        sys.exit(f"rules: {names}")
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    Elected(settings.database_url).run(stopping)


if __name__ == "__main__":
    main()
