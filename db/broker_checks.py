"""What brokers were seen to do, as tried by `python -m ingest check-sharing`."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("broker_checks")


@dataclass(frozen=True, slots=True)
class BrokerCheck:
    """Whether a broker kept a shared subscription's messages over its restart, when it was last tried."""

    broker: str
    keeps_shared: bool
    checked_at: datetime


def get(conn: Connection, broker: str) -> BrokerCheck | None:
    """Return the last check of a broker, named as `host:port`."""
    with conn.cursor(row_factory=class_row(BrokerCheck)) as cursor:
        return cursor.execute(_SQL["get"], {"broker": broker}).fetchone()


def put(conn: Connection, broker: str, *, keeps_shared: bool, at: datetime) -> None:
    """Note a check; it replaces an older one."""
    conn.execute(_SQL["put"], {"broker": broker, "keeps_shared": keeps_shared, "checked_at": at})
