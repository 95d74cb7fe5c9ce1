"""The schema: what the migrations make is what is documented, and applying them again changes nothing."""

from db.migrate import migrate
from db.pool import Connection, connect


def test_migrating_again_applies_nothing(database_url: str) -> None:
    with connect(database_url, name="tests", autocommit=True) as conn:
        assert migrate(conn) == []


def test_status_and_engine_events_are_hypertables(conn: Connection) -> None:
    rows = conn.execute(
        "SELECT hypertable_name, time_interval::text FROM timescaledb_information.dimensions ORDER BY 1"
    ).fetchall()
    assert rows == [("engine_events", "7 days"), ("vehicle_status", "1 day")]
