"""The schema: what the migrations make is what is documented, and applying them again changes nothing."""

from pathlib import Path

import pytest

from db.catalog import describe
from db.migrate import MigrationChangedError, migrate, pending
from db.pool import Connection, connect


def test_migrating_again_applies_nothing(owners_url: str) -> None:
    with connect(owners_url, name="tests", autocommit=True) as conn:
        assert migrate(conn) == []


def test_what_grows_without_end_is_a_hypertable(conn: Connection) -> None:
    rows = conn.execute(
        "SELECT hypertable_name, time_interval::text FROM timescaledb_information.dimensions"
        " WHERE hypertable_schema = 'public' ORDER BY 1"
    ).fetchall()
    assert rows == [("audit", "30 days"), ("engine_events", "7 days"), ("vehicle_status", "1 day")]


def test_a_migrated_database_is_what_the_documentation_says(conn: Connection) -> None:
    documented = Path(__file__).parents[2] / "docs" / "schema.md"
    assert describe(conn) == documented.read_text()


def test_nothing_in_the_schema_is_left_to_guess(conn: Connection) -> None:
    silent = conn.execute(
        "SELECT c.oid::regclass::text, coalesce(a.attname, '(itself)') FROM pg_class c"
        " JOIN LATERAL (SELECT NULL::name AS attname, 0::smallint AS attnum UNION ALL"
        "               SELECT attname, attnum FROM pg_attribute"
        "               WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a ON true"
        " WHERE c.relnamespace IN ('public'::regnamespace, 'analytics'::regnamespace) AND c.relkind IN ('r', 'v')"
        "   AND CASE a.attnum WHEN 0 THEN obj_description(c.oid, 'pg_class')"
        "       ELSE col_description(c.oid, a.attnum) END IS NULL ORDER BY 1, 2"
    ).fetchall()
    assert silent == []


def test_an_applied_migration_that_was_changed_is_refused(owner: Connection) -> None:
    owner.execute("UPDATE schema_migrations SET sha256 = 'other' WHERE name = '0001_vehicles'")
    with pytest.raises(MigrationChangedError, match="0001_vehicles"):
        pending(owner)


def test_an_earlier_text_of_the_same_effect_is_known(owner: Connection) -> None:
    earlier = "4dd077d2e5c72adc28f53f30a6660963eb54b82a55c5df88ee8fddc06ebb6438"
    owner.execute("UPDATE schema_migrations SET sha256 = %s WHERE name = '0003_events'", (earlier,))
    assert pending(owner) == []


def test_a_migration_may_take_longer_than_a_statement_of_the_product(
    owners_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index over a large table takes minutes; what follows on the connection is bounded again."""
    asking = tmp_path / "9999_asking.sql"
    asking.write_text("CREATE TABLE asked AS SELECT current_setting('statement_timeout') AS bound;")
    monkeypatch.setattr("db.migrate.migration_files", lambda: [asking])
    with connect(owners_url, name="tests", autocommit=True) as conn:
        before = conn.execute("SHOW statement_timeout").fetchone()
        assert migrate(conn) == ["9999_asking"]
        assert conn.execute("SELECT bound FROM asked").fetchone() == ("0",)
        assert conn.execute("SHOW statement_timeout").fetchone() == before != ("0",)
