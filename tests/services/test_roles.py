"""What each role of the database may do, and may not."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from db.errors import DatabaseError
from db.migrate import migrate
from db.pool import Connection, connect
from db.roles import check_role
from stack import priority
from stack.postgres import ADMINISTRATOR, ANALYST, OWNER, SERVICE, Postgres

ROWS = {"SELECT", "INSERT", "UPDATE", "DELETE"}
FEWER = {
    "schema_migrations": {"SELECT"},
    # What happened is not changed afterwards; DELETE is for the erasure of a vehicle.
    "vehicle_status": {"SELECT", "INSERT", "DELETE"},
    "engine_events": {"SELECT", "INSERT", "DELETE"},
    "sos_timeline": {"SELECT", "INSERT", "DELETE"},
    "rsa_timeline": {"SELECT", "INSERT", "DELETE"},
    "consents": {"SELECT", "INSERT", "DELETE"},
    "second_deliveries": {"SELECT", "INSERT", "DELETE"},
    "audit": {"SELECT", "INSERT"},
    "erased_incidents": {"SELECT", "INSERT"},
    "erasure_certificates": {"SELECT", "INSERT", "UPDATE"},
}
"""Tables on which a process may do less than read and write rows."""

STATUS = (
    "INSERT INTO vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect)"
    " VALUES (%s, %s, %s, %s, false)"
)
VIN = "KMHSH81C7LU123456"


def granted(conn: Connection, role: str) -> dict[str, set[str]]:
    found = conn.execute(
        "SELECT c.relname, array_agg(p) FROM pg_class c,"
        " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND has_table_privilege(%s, c.oid, p)"
        " GROUP BY c.relname",
        (role,),
    )
    return {name: set(rights) for name, rights in found}


def test_what_runs_may_read_and_write_rows_and_no_more(conn: Connection) -> None:
    rights = granted(conn, SERVICE)
    assert {name: those for name, those in rights.items() if those != ROWS} == FEWER
    assert len(rights) > len(FEWER)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (x int)",
        "ALTER TABLE vehicles ADD COLUMN x int",
        "DROP TABLE sos_timeline",
        "TRUNCATE events",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE EXTENSION pg_trgm",
        "CREATE ROLE mine",
        "CREATE SCHEMA mine",
        "ALTER ROLE tcu_service CREATEROLE",
        "SET ROLE tcu_owner",
        "SET SESSION AUTHORIZATION tcu",
        "GRANT analyst TO tcu_service",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "COPY vehicles TO PROGRAM 'cat'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT rolpassword FROM pg_authid",
        "UPDATE schema_migrations SET sha256 = ''",
        "UPDATE sos_timeline SET actor = 'x'",
        "UPDATE vehicle_status SET speed_kph = 0",
        "UPDATE consents SET granted = true",
        "SELECT drop_chunks('vehicle_status', older_than => now())",
        "SELECT drop_old_chunks('vehicle_status', now() - interval '13 days')",
        "SELECT drop_old_chunks('audit', now() - interval '300 days')",
        "SELECT drop_old_chunks('events', now() - interval '400 days')",
        "UPDATE audit SET who = 'x'",
        "DELETE FROM audit",
    ],
)
def test_what_runs_is_refused_what_it_does_not_need(lasting_database_url: str, statement: str) -> None:
    with (
        connect(lasting_database_url, name="tests") as conn,
        pytest.raises(DatabaseError, match=r"permission denied|must (be|have)|expected vehicle_status|are not dropped"),
    ):
        conn.execute(statement.encode())


def test_none_of_the_roles_has_a_right_over_the_cluster(conn: Connection) -> None:
    found = conn.execute(
        "SELECT rolname, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls,"
        " ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid)"
        " FROM pg_roles r WHERE rolname IN ('tcu_owner', 'tcu_service', 'analyst', 'tcu_analyst') ORDER BY rolname"
    ).fetchall()
    expected = [("analyst", False, []), ("tcu_analyst", False, ["analyst"]), ("tcu_owner", False, [])]
    assert found == [*expected, ("tcu_service", False, [])]


def test_what_runs_has_the_locks_notes_and_tables_that_it_needs(conn: Connection) -> None:
    now = datetime.now(UTC)
    conn.execute("INSERT INTO vehicles (vin) VALUES (%s)", (VIN,))
    for day in range(3):  # each in a chunk that was not there
        at = now - timedelta(days=day)
        conn.execute(STATUS.encode(), (VIN, uuid4(), at, at))
    assert conn.execute("SELECT pg_try_advisory_lock(1, 1), pg_try_advisory_xact_lock(1, 2)").fetchone() == (True, True)
    conn.execute("CREATE TEMPORARY TABLE staged (LIKE vehicle_status) ON COMMIT DELETE ROWS")
    conn.execute("LISTEN heard")
    conn.execute("NOTIFY heard, 'x'")
    conn.commit()
    assert [note.payload for note in conn.notifies(timeout=5, stop_after=1)] == ["x"]
    assert conn.execute("SELECT count(*) FROM vehicle_status").fetchone() == (3,)


def test_old_chunks_go_by_the_owners_function(conn: Connection) -> None:
    old = datetime.now(UTC) - timedelta(days=40)
    conn.execute(STATUS.encode(), (VIN, uuid4(), old, old))
    conn.execute("SELECT drop_old_chunks('vehicle_status', %s)", (old + timedelta(days=1),))
    assert conn.execute("SELECT count(*) FROM vehicle_status").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM timescaledb_information.chunks").fetchone() == (0,)


def test_an_analyst_reads_figures_and_no_names_within_bounds(postgres_server: Postgres, database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    url = postgres_server.database_url(name, role=ANALYST)
    with psycopg.connect(url, autocommit=True) as conn:  # without the bounds that db/pool.py sets for processes
        conn.execute("SELECT vin, speed_kph FROM vehicle_status")
        bounds = [conn.execute(f"SHOW {bound}".encode()).fetchone() for bound in ("statement_timeout", "lock_timeout")]
        assert bounds == [("2min",), ("1s",)]
        slow = [conn.execute(f"SHOW {bound}".encode()).fetchone() for bound in (
            "max_parallel_workers_per_gather", "work_mem", "temp_file_limit", "search_path")]  # fmt: skip
        assert slow == [("0",), ("32MB",), ("4GB",), ("analytics, public",)]
        conn.execute("SET default_transaction_read_only = off")  # which is a bound for mistakes, not a right
        for refused in (
            "SELECT customer_name FROM vehicles",
            "SELECT contact_number FROM sos_incidents",
            "SELECT key_hash FROM api_keys",
            "SELECT payload FROM quarantine",
            "DELETE FROM vehicle_status",
            "SELECT latitude FROM vehicle_status",
            "SELECT latitude FROM vehicle_state",
            "SELECT longitude FROM sos_incidents",
            "SELECT * FROM public.trips_between(now() - interval '1 day', now())",
            "SET temp_file_limit = -1",
        ):
            with pytest.raises(DatabaseError, match="permission denied"):
                conn.execute(refused.encode())
    with psycopg.connect(url, autocommit=True, options="-c statement_timeout=200") as conn:
        with pytest.raises(DatabaseError, match="statement timeout"):
            conn.execute(
                "SELECT pg_sleep(30) FROM status_by_day RIGHT JOIN vehicles USING (vin) UNION ALL SELECT pg_sleep(30)"
            )
        others = [psycopg.connect(url) for _ in range(4)]
        with pytest.raises(DatabaseError, match="too many connections"):
            psycopg.connect(url)
        for other in others:
            other.close()


def test_analysts_take_the_processor_time_that_nothing_else_wants(postgres_server: Postgres, database_url: str) -> None:
    analysts = postgres_server.database_url(database_url.rpartition("/")[2], role=ANALYST)
    with psycopg.connect(postgres_server.url) as administrator:
        data = administrator.execute("SHOW data_directory").fetchone()
    assert data is not None
    with connect(database_url, name="tests") as service, psycopg.connect(analysts) as analyst:
        assert analyst.info.backend_pid in priority.lower(Path(data[0]))
        assert os.sched_getscheduler(analyst.info.backend_pid) == os.SCHED_IDLE
        for backend, nice in ((analyst, "19"), (service, "0")):
            weighed = Path(f"/proc/{backend.info.backend_pid}/autogroup")
            assert not weighed.exists() or weighed.read_text().split()[-1] == nice
        assert service.info.backend_pid not in priority.lower(Path(data[0]))
        assert os.sched_getscheduler(service.info.backend_pid) == os.SCHED_OTHER
    assert priority.lower(Path("/nowhere")) == set()


def test_a_database_that_an_administrator_made_becomes_the_owners(postgres_server: Postgres) -> None:
    name = f"test_{uuid4().hex}"
    with connect(postgres_server.url, name="tests", autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    try:
        with connect(postgres_server.database_url(name, role=ADMINISTRATOR), name="tests", autocommit=True) as conn:
            migrate(conn)
            at = datetime.now(UTC)
            conn.execute(STATUS.encode(), (VIN, uuid4(), at, at))
        postgres_server.create_database(name)  # which runs db/roles.sql
        postgres_server.create_database(name)
        with connect(postgres_server.database_url(name, role=OWNER), name="tests", autocommit=True) as conn:
            assert migrate(conn) == []
            conn.execute("ALTER TABLE vehicle_status ADD COLUMN later int")
            not_ours = conn.execute(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace AND relowner <> 'tcu_owner'::regrole"
            )
            assert not_ours.fetchall() == []
        with connect(postgres_server.database_url(name), name="tests") as conn:
            assert conn.execute("SELECT count(*) FROM vehicle_status").fetchone() == (1,)
            with pytest.raises(DatabaseError, match="must be owner"):
                conn.execute("ALTER TABLE vehicle_status DROP COLUMN later")
    finally:
        with connect(postgres_server.url, name="tests", autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_an_outsiders_login_is_not_let_into_the_database(postgres_server: Postgres) -> None:
    name = f"test_{uuid4().hex}"
    postgres_server.create_database(name)
    with connect(postgres_server.url, name="tests", autocommit=True) as conn:
        found = conn.execute("SELECT datacl::text FROM pg_database WHERE datname = %s", (name,)).fetchone()
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    assert found is not None
    assert "{=" not in found[0]  # nothing for PUBLIC
    assert ",=" not in found[0]


def test_what_runs_cannot_migrate(database_url: str) -> None:
    with (
        connect(database_url, name="tests", autocommit=True) as conn,
        pytest.raises(DatabaseError, match="permission denied for schema public"),
    ):
        migrate(conn)


def test_a_production_start_as_a_role_with_more_rights_is_refused(
    postgres_server: Postgres, database_url: str, owners_url: str
) -> None:
    check_role(database_url)
    name = database_url.rpartition("/")[2]
    for url, role in ((owners_url, OWNER), (postgres_server.database_url(name, role=ADMINISTRATOR), ADMINISTRATOR)):
        with pytest.raises(ValueError, match=f"TCU_DATABASE_URL is for {role}, a superuser or owner of tables"):
            check_role(url)
    check_role("postgresql://tcu_service:x@127.0.0.1:1/none")  # not there yet: processes wait for it
