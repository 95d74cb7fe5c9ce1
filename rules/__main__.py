"""`python -m rules`: number events, run the scheduled jobs and send webhooks until SIGTERM or SIGINT."""

import signal
import sys
from threading import Event

from pydantic import ValidationError

from db.roles import check_role
from rules import logs
from rules.jobs import Elected
from rules.settings import RulesSettings
from schemas.production import Environment


def main() -> None:
    """Read the settings and work until told to stop."""
    logs.configure()
    try:
        settings = RulesSettings()
        if settings.environment is Environment.PRODUCTION:
            check_role(settings.database_url)
    except ValidationError as error:
        names = ", ".join(f"TCU_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        sys.exit(f"rules: {names}")
    except ValueError as error:
        sys.exit(f"rules: {error}")
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    Elected(settings).run(stopping)


if __name__ == "__main__":
    main()
