"""Consent to be located, what is handed out, what erasing leaves, and that logs and metrics tell of nobody."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import sql
from typer.testing import CliRunner

from admin.__main__ import app
from db import audit, curfew, events, grants, limits, privacy
from db.audit import Entry
from db.errors import DatabaseError
from db.events import NewEvent
from db.pool import Connection, connect
from db.statements import statements
from ingest.inbox import Received
from ingest.pipeline import store
from rules import erasure
from rules.errors import ConflictError, NotFoundError
from schemas.access import Role
from schemas.topics import Uplink, uplink_topic
from stack.broker import Broker
from stack.places import free_port
from stack.postgres import ANALYST, Postgres
from stack.server import Server, wait_until
from tests import marked
from tests.api import BASE, KEY_SECRET, OPERATOR, OTHER_VIN, Api, seed, serving
from tests.marked import LATITUDE, LONGITUDE, NAME, PERSONAL, PHONE, VIN, body, ok
from tests.processes import end_sessions, is_ready, product_process, worker_environment
from tests.tcu import Tcu

NOW = datetime.now(UTC)


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def hear(database_url: str, *messages: tuple[Uplink, bytes], vin: str = VIN, known: set[str] | None = None) -> None:
    batch = [Received(uplink_topic(vin, kind), payload, datetime.now(UTC)) for kind, payload in messages]
    with connect(database_url, name="tests", autocommit=True) as conn:
        store(conn, batch, known_vins=set() if known is None else known, now=datetime.now(UTC))


@pytest.fixture
def lived(api: Api, conn: Connection) -> Connection:
    """The marked vehicle after its life, its incidents closed; another vehicle lives on."""
    marked.register(conn, url="https://guardian.example/")
    marked.prepare(api.call)
    sent = marked.messages()
    hear(api.database_url, *sent[:6])
    hear(api.database_url, *sent[6:])
    hear(api.database_url, sent[5])  # once more
    hear(api.database_url, (Uplink.SOS, body()), (Uplink.STATUS, body(speedKph=1)), vin=OTHER_VIN)
    stray = Received("tcu/v1/nobody/up/sos", f'{{"phone": "{PHONE}"'.encode(), datetime.now(UTC))
    with connect(api.database_url, name="tests", autocommit=True) as lane:
        store(lane, [stray], known_vins=set(), now=datetime.now(UTC))
    marked.live(api.call)
    api.sequence()
    conn.execute(
        "INSERT INTO curfew_exceptions (vin, reason, start_time, end_time, created_at, created_by)"
        " VALUES (%s, %s, now(), now() + interval '1 hour', now(), 'x')",
        (VIN, marked.WORDS),
    )
    conn.execute(
        "INSERT INTO system_tests VALUES ('TEST-20260307-001', 'full', 'x', NULL, now(), now(), 'PASSED', %s)",
        (json.dumps({"vin": VIN}),),
    )
    conn.commit()
    return conn


def found(conn: Connection, needle: str) -> dict[str, int]:
    """Return in how many rows of which tables and chunks a text occurs, also within bytes."""
    tables = conn.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        " AND n.nspname NOT LIKE 'pg\\_%'"
        " AND has_table_privilege(c.oid, 'SELECT')"  # the extension keeps a history of its jobs to itself
    ).fetchall()
    counts = {}
    for schema, table in tables:
        query = sql.SQL(
            "SELECT count(*) FROM {} t WHERE position(%(plain)s IN t::text) > 0 OR position(%(hex)s IN t::text) > 0"
        )
        values = {"plain": needle, "hex": needle.encode().hex()}
        row = conn.execute(query.format(sql.Identifier(schema, table)), values).fetchone()
        if row is not None and row[0]:
            counts[table] = row[0]
    return counts


def test_analysts_read_no_name_number_text_or_exact_place(
    lived: Connection, postgres_server: Postgres, database_url: str
) -> None:
    readable = lived.execute(statements("catalog")["readable"]).fetchall()
    url = postgres_server.database_url(database_url.rpartition("/")[2], role=ANALYST)
    found: dict[str, str] = {}
    with connect(url, name="tests") as analyst:
        for name, _, columns in readable:
            for column in columns or ():
                schema, _, relation = name.rpartition(".")
                query = sql.SQL("SELECT coalesce(string_agg({}::text, ' '), '') FROM {}").format(
                    sql.Identifier(column), sql.Identifier(schema or "public", relation)
                )
                row = analyst.execute(query).fetchone()
                assert row is not None
                found[f"{name}.{column}"] = row[0]
        for (chunk,) in lived.execute("SELECT show_chunks('vehicle_status')::text").fetchall():
            with pytest.raises(DatabaseError, match="permission denied"), analyst.transaction():
                analyst.execute(f"SELECT latitude FROM {chunk}".encode())  # noqa: S608 - as the catalog names it
    assert VIN in found["analytics.trips.vin"] + found["analytics.status.vin"]
    assert "37.53" in found["analytics.status.latitude"].split()
    assert {place: needle for place, text in found.items() for needle in PERSONAL if needle in text} == {}
    words = {place for place, text in found.items() if NAME.split()[0] in text or PHONE[-4:] in text}
    assert words == set()


def test_analysts_see_no_place_of_a_vehicle_that_withholds_it(lived: Connection) -> None:
    places = "SELECT count(latitude) + count(longitude) FROM analytics.{} WHERE vin = %s"
    trips = "SELECT count(start_latitude) + count(end_longitude) FROM analytics.trips WHERE vin = %s"
    asked = [*(places.format(view) for view in ("status", "engine_events", "incidents")), trips]
    assert all(lived.execute(query.encode(), (VIN,)).fetchone() != (0,) for query in asked)
    lived.execute("UPDATE vehicles SET location_withheld = true WHERE vin = %s", (VIN,))
    assert [lived.execute(query.encode(), (VIN,)).fetchone() for query in asked] == [(0,)] * 4


def test_erased_a_vehicle_is_in_no_table_and_chunk_but_as_figures(lived: Connection) -> None:
    tables = set(found(lived, VIN)) | set().union(*(found(lived, needle) for needle in PERSONAL))
    chunks = {"vehicle_status": "_hyper_1_", "engine_events": "_hyper_2_", "audit": "_hyper_3_"}
    without = [t for t in privacy.ERASED_TABLES if not any(f.startswith(chunks.get(t, t)) for f in tables)]
    assert without == ["voice_calls", "sos_timeline"]  # they name the incident only
    others = found(lived, OTHER_VIN)

    issued = erasure.erase(lived, VIN, now=NOW)

    assert [found(lived, needle) for needle in (VIN, *PERSONAL)] == [{}] * 5
    assert found(lived, OTHER_VIN) == others
    assert lived.execute(
        "SELECT service, month, kind, status, response_s IS NOT NULL FROM erased_incidents ORDER BY 1 DESC"
    ).fetchall() == [
        ("SOS", NOW.date().replace(day=1), "MEDICAL", "CLOSED", True),
        ("RSA", NOW.date().replace(day=1), "TOWING", "CANCELLED", True),
    ]
    stored = lived.execute("SELECT certificate_id, subject_hash, report FROM erasure_certificates").fetchone()
    assert stored is not None
    assert stored[:2] == (issued.certificate_id, sha256(f"{issued.certificate_id}{VIN}".encode()).digest())
    assert stored[2] | {"subjectHash": stored[1].hex()} == issued.report
    rows = {entry["table"]: entry["rows"] for entry in issued.report["erased"]}
    assert (rows["vehicles"], rows["sos_incidents"], rows["rsa_incidents"], rows["vehicle_status"]) == (1, 1, 1, 3)
    assert min(rows[t] for t in privacy.ERASED_TABLES) > 0, rows
    assert {"erased_incidents", "audit", "erasure_certificates"} < {kept["what"] for kept in issued.report["kept"]}


def test_who_did_something_stays_named_only_where_the_certificate_says_so(lived: Connection) -> None:
    subject = "marked-subject-of-a-token"
    grants.add(lived, subject, role=Role.OWNER, vin=VIN, granted_at=NOW)
    audit.append(lived, Entry(who=f"sub:{subject}", action="READ_VEHICLE", request="GET /", vin=VIN))
    limits.count(lived, f"sub:{subject}", policy="requests")
    limits.open_stream(lived, f"sub:{subject}", process="api@nowhere:1", most=5)
    lived.commit()
    issued = erasure.erase(lived, VIN, now=NOW)
    holding = {table for table in found(lived, subject) if not table.startswith("_hyper_")}
    assert holding == {"audit", "request_counts", "open_streams"}
    told = {kept["what"]: kept["why"] for kept in issued.report["kept"]}
    assert "a token by its subject" in told["audit"]
    assert "a token by its subject" in told["request_counts"]
    assert "open_streams" in told["request_counts"]


def test_numbers_of_events_go_on_after_the_newest_was_erased(lived: Connection) -> None:
    known = events.known_range(lived).last
    assert known is not None
    erasure.erase(lived, VIN, now=NOW)
    events.append(lived, NewEvent("SOS", "SOS_UPDATED", "HIGH", OTHER_VIN, NOW, {}))
    events.sequence(lived)
    last = events.known_range(lived).last
    assert last is not None
    assert last > known


def test_a_vehicle_with_an_open_incident_is_not_erased_and_an_unknown_one_neither(
    lived: Connection, database_url: str
) -> None:
    hear(database_url, (Uplink.SOS, body()))
    before = found(lived, VIN)
    with pytest.raises(ConflictError, match=r"SOS_[0-9_]+ must be closed or cancelled first"):
        erasure.erase(lived, VIN, now=NOW)
    lived.rollback()
    assert found(lived, VIN) == before
    with pytest.raises(NotFoundError, match="there is no vehicle KMHSH81C7LU000009"):
        erasure.erase(lived, "KMHSH81C7LU000009", now=NOW)


def test_killed_half_way_erasing_goes_on(lived: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(privacy, "certify", die)
        with pytest.raises(RuntimeError, match="killed"):
            erasure.erase(lived, VIN, now=NOW)
    lived.rollback()
    assert set(found(lived, VIN)) >= {"vehicles", "sos_incidents"}
    erasure.erase(lived, VIN, now=NOW)
    assert [found(lived, needle) for needle in (VIN, *PERSONAL)] == [{}] * 5


def test_a_vehicle_that_presses_after_it_was_erased_is_heard_with_all_it_says(
    lived: Connection, database_url: str
) -> None:
    erasure.erase(lived, VIN, now=NOW)
    hear(database_url, (Uplink.SOS, body(contactNumber="112")), known={VIN})
    assert lived.execute("SELECT contact_number FROM sos_incidents WHERE vin = %s", (VIN,)).fetchall() == [("112",)]


def test_the_export_has_every_row_and_no_secret(lived: Connection, database_url: str, tmp_path: Path) -> None:
    exported = run(database_url, "export", "--vin", VIN)
    told = {part["table"]: part["rows"] for part in exported["tables"]}
    assert set(told) == set(privacy.ERASED_TABLES)
    assert {table: len(rows) for table, rows in told.items() if not rows} == {}
    assert "whsec_" not in json.dumps(exported)
    assert (told["vehicles"][0]["customer_name"], told["sos_incidents"][0]["contact_number"]) == (NAME, PHONE)
    certificate = tmp_path / "certificate.json"
    result = CliRunner(env={"TCU_DATABASE_URL": database_url}).invoke(
        app, ["privacy", "erase", "--vin", VIN, "--certificate", str(certificate), "--yes"]
    )
    assert result.exit_code == 0, result.output
    assert {entry["table"]: entry["rows"] for entry in json.loads(certificate.read_text())["erased"]} == {
        table: len(rows) for table, rows in told.items()
    }
    assert lived.execute("SELECT action, vin FROM audit ORDER BY at DESC LIMIT 2").fetchall() == [
        ("ERASE_VEHICLE", None),
        ("EXPORT_PERSONAL_DATA", None),
    ]


def test_a_person_is_found_by_the_digits_of_the_number_and_by_the_name(lived: Connection, database_url: str) -> None:
    lived.execute("UPDATE vehicles SET customer_name = NULL, customer_phone = NULL WHERE vin = %s", (VIN,))
    lived.commit()
    for by in (("--phone", "+82 1075319024"), ("--name", NAME.upper())):
        told = {part["table"]: part["rows"] for part in run(database_url, "export", *by)["tables"] if part["rows"]}
        assert set(told) >= {"rsa_incidents", "rsa_timeline"}, by
        assert "vehicle_status" not in told
    assert run(database_url, "export", "--phone", "+82 1000000000")["tables"] == []


def run(database_url: str, *arguments: str) -> Any:
    result = CliRunner(env={"TCU_DATABASE_URL": database_url}).invoke(app, ["privacy", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_once_withdrawn_places_are_neither_stored_nor_shown_but_for_an_sos(api: Api, conn: Connection) -> None:
    marked.register(conn, url="https://guardian.example/")
    marked.prepare(api.call)
    hear(api.database_url, (Uplink.STATUS, body(location=marked.PLACE)), (Uplink.ENGINE, body(event="START")))
    violations = f"{marked.CURFEW}/curfew/violations"
    assert ok(api.call("GET", violations))["violations"][0]["location"]["latitude"] == LATITUDE
    ok(api.call("PUT", f"{marked.CURFEW}/consents", {"purpose": "LOCATION", "granted": False}))
    hear(
        api.database_url,
        (Uplink.STATUS, body(location=marked.PLACE, speedKph=7)),
        (Uplink.ENGINE, body(event="STOP", location=marked.PLACE)),
        (Uplink.RSA, body(location=marked.PLACE)),
    )
    assert conn.execute(
        "SELECT speed_kph, latitude, longitude, accuracy_m FROM vehicle_status ORDER BY received_at DESC LIMIT 1"
    ).fetchone() == (7, None, None, None)
    assert conn.execute("SELECT count(*) FROM engine_events WHERE latitude IS NOT NULL").fetchone() == (0,)
    assert ok(api.call("GET", violations))["violations"][0]["location"] is None
    assert ok(api.call("GET", f"//api/v1/vehicles/{VIN}/track"))["points"] == []
    (row,) = [v for v in ok(api.call("GET", "//api/v1/vehicles"))["vehicles"] if v["vin"] == VIN]
    assert (row["location"], row["speedKph"]) == (None, 7)
    requested = ok(api.call("GET", f"{marked.CAR}/rsa/status"))
    assert "LOCATION_WITHHELD" in requested["anomalies"]
    assert str(LATITUDE) not in json.dumps(requested)

    hear(api.database_url, (Uplink.SOS, body(location=marked.PLACE)))
    pressed = ok(api.call("GET", f"{marked.CAR}/sos/status"))
    assert (pressed["location"]["latitude"], pressed["anomalies"]) == (LATITUDE, ["LOCATED_WITHOUT_CONSENT"])
    assert "Located for the emergency, though not consented to" in [line["description"] for line in pressed["timeline"]]
    hear(api.database_url, (Uplink.STATUS, body(location=marked.PLACE, speedKph=9)))
    (row,) = [v for v in ok(api.call("GET", "//api/v1/vehicles"))["vehicles"] if v["vin"] == VIN]
    assert (row["location"]["latitude"], row["speedKph"]) == (LATITUDE, 9)
    ok(api.call("POST", f"{marked.CAR}/sos/cancel", {"cid": pressed["cid"]}))
    (row,) = [v for v in ok(api.call("GET", "//api/v1/vehicles"))["vehicles"] if v["vin"] == VIN]
    assert (row["location"], row["speedKph"]) == (None, 9)

    ok(api.call("PUT", f"{marked.CURFEW}/consents", {"purpose": "LOCATION", "granted": True}))
    assert ok(api.call("GET", violations))["violations"][-1]["location"]["longitude"] == LONGITUDE


def test_a_request_for_assistance_may_share_its_place_though_places_are_withheld(api: Api, conn: Connection) -> None:
    marked.register(conn, url="https://guardian.example/")
    ok(api.call("PUT", f"{marked.CURFEW}/consents", {"purpose": "LOCATION", "granted": False}))
    shared = {"granted": True, "locationSharing": True}
    hear(api.database_url, (Uplink.RSA, body(location=marked.PLACE, customerConsent=shared)))
    assert conn.execute("SELECT latitude, anomalies FROM rsa_incidents").fetchone() == (LATITUDE, [])


@pytest.mark.parametrize(
    ("on_record", "said", "consented"),
    [(None, None, False), (True, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_a_call_may_be_recorded_as_was_said_with_the_press_else_as_is_on_record(
    api: Api, conn: Connection, on_record: bool | None, said: bool | None, consented: bool
) -> None:
    marked.register(conn, url="https://guardian.example/")
    if on_record is not None:
        given = {"purpose": "VOICE_RECORDING", "granted": on_record}
        ok(api.call("PUT", f"{marked.CURFEW}/consents", given))
    consent = {} if said is None else {"customerConsent": {"granted": True, "voiceRecording": said}}
    ok(api.call("POST", f"{marked.CAR}/sos", consent), 201)
    assert ok(api.call("GET", f"{marked.CAR}/sos/status"))["voiceCall"]["recording"] == {
        "consented": consented, "enabled": False, "url": None, "duration": None
    }  # fmt: skip


@contextmanager
def running(
    name: str, environment: dict[str, str], log: Path, ready: Callable[[], bool] | None = None
) -> Iterator[Server]:
    url = environment["TCU_DATABASE_URL"]
    process = product_process(name, environment, log=log, ready=ready or (lambda: is_ready(url, name, process.pid)))
    process.start()
    try:
        yield process
    finally:
        process.kill()


def test_logs_and_metrics_of_all_processes_hold_no_number_name_or_place(
    broker: Broker,
    pki_dir: Path,
    postgres_server: Postgres,
    database_url: str,
    tmp_path: Path,
    conn: Connection,
    owner: Connection,
) -> None:
    seed(database_url)
    marked.register(conn, url="https://127.0.0.1:1/")
    api_port, metrics_port = free_port(), free_port()
    url = f"http://127.0.0.1:{api_port}"
    api = {"TCU_DATABASE_URL": database_url, "TCU_KEY_SECRET": KEY_SECRET, "TCU_API_PORT": str(api_port)}
    ingest = worker_environment(broker, pki_dir, database_url) | {"TCU_INGEST_METRICS_PORT": str(metrics_port)}

    def call(method: str, path: str, json_: Any = None, **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {OPERATOR}"} | kwargs.pop("headers", {})
        where = path.removeprefix("/") if path.startswith("//") else BASE + path
        return httpx.request(method, url + where, json=json_, headers=headers, timeout=30, **kwargs)

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        with (
            running("rules", {"TCU_DATABASE_URL": database_url}, tmp_path / "rules.log"),
            running("ingest", ingest, tmp_path / "ingest.log"),
            running("api", api | {"PATH": os.environ["PATH"]}, tmp_path / "api.log", ready),
        ):
            marked.prepare(call)
            # A defect within a judgement: what PostgreSQL then says quotes the row.
            owner.execute("ALTER TABLE curfew_violations ADD CONSTRAINT defect CHECK (latitude IS NULL) NOT VALID")
            owner.commit()
            vehicle = Tcu(broker, pki_dir, VIN)
            for kind, payload in marked.messages():
                vehicle.publish(kind, payload)
            wait_until(lambda: call("GET", f"{marked.CAR}/rsa/status").status_code == 200, wait_s=15)
            wait_until(lambda: "judgement_failed" in (tmp_path / "ingest.log").read_text(), wait_s=15)
            owner.execute("ALTER TABLE curfew_violations DROP CONSTRAINT defect")
            owner.commit()
            marked.live(call)
            vehicle.close()
            wait_until(lambda: "webhook_not_taken" in (tmp_path / "rules.log").read_text(), wait_s=15)
            metrics = httpx.get(f"{url}/metrics").text + httpx.get(f"http://127.0.0.1:{metrics_port}/metrics").text
    finally:
        end_sessions(broker, pki_dir)
    logs = {name: (tmp_path / f"{name}.log").read_text() for name in ("rules", "ingest", "api")}
    logs["postgres"] = postgres_server.log.read_text()
    assert all(logs.values())
    for name, text in (logs | {"metrics": metrics}).items():
        for secret in (*PERSONAL, "Marker", re.sub(r"\D", "", PHONE), VIN):
            assert secret not in text, (name, secret)


def test_the_flag_follows_what_was_recorded_last(api: Api, conn: Connection) -> None:
    marked.register(conn, url="https://guardian.example/")
    for granted in (False, False, True):
        ok(api.call("PUT", f"{marked.CURFEW}/consents", {"purpose": "LOCATION", "granted": granted}))
        conn.rollback()
        assert conn.execute("SELECT location_withheld FROM vehicles WHERE vin = %s", (VIN,)).fetchone() == (
            not granted,
        )
    assert [c.granted for c in curfew.consents(conn, VIN, "LOCATION")] == [False, True]
    assert NOW - timedelta(minutes=5) < curfew.consents(conn, VIN, "LOCATION")[0].effective_at
