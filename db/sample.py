"""A made-up week of a fleet, for those who want to try questions; sample.sql says what is in it."""

from pathlib import Path

from db.pool import Connection

VEHICLES = 20


def load(conn: Connection, *, vehicles: int = VEHICLES) -> None:
    """Store the week of so many vehicles, some 590 status messages each, in the caller's transaction.

    Raises psycopg.errors.UniqueViolation where it is there already.
    """
    conn.execute("SET LOCAL statement_timeout = 0")
    conn.execute("SELECT set_config('sample.vehicles', %s, true)", (str(vehicles),))
    conn.execute(Path(__file__).with_name("sample.sql").read_bytes())
