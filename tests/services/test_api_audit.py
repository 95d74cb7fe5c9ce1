"""The audit: who did what to whose data, written with what was done, and changed by nobody."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from admin.__main__ import app as tcu
from api.routes import sos as sos_routes
from db import audit, privacy
from db.audit import Noted
from db.errors import DatabaseError
from db.pool import Connection
from db.privacy import Subject
from schemas.access import Role
from tests.api import AGENT, KEY_SECRET, OPERATOR, OTHER_VIN, VIN, Api, serving, streaming
from tests.contract.examples import guide

STATUS = f"/vehicles/{VIN}/sos/status"


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def noted(conn: Connection, **only: Any) -> list[Noted]:
    conn.commit()
    return audit.latest(conn, since=datetime.now(UTC) - timedelta(minutes=5), limit=100, **only)


def told(conn: Connection, **only: Any) -> list[tuple[str | None, ...]]:
    return [(row.who, row.action, row.vin, row.cid, row.request) for row in noted(conn, **only)]


def test_changes_and_readings_are_noted_with_who_what_and_whose(api: Api, conn: Connection) -> None:
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN])
    cid = api.call("POST", f"/vehicles/{VIN}/sos", {}, token=owner, headers={"X-Request-ID": "my-press"}).json()["cid"]
    api.call("GET", STATUS, token=owner)
    api.call("GET", f"/sos/agents/{AGENT}/performance")
    vehicles = "/api/v1/safety/vehicles/{vin}"
    assert told(conn)[::-1] == [
        ("key:2", "PRESS_SOS", VIN, cid, f"POST {vehicles}/sos"),
        ("key:2", "READ_VEHICLE", VIN, cid, f"GET {vehicles}/sos/status"),
        ("key:1", "READ_AGENTS", None, None, "GET /api/v1/safety/sos/agents/{agentId}/performance"),
    ]
    first = noted(conn)[-1]
    assert (first.label, first.prefix, first.role, first.request_id) == ("test", "sk_owner", "owner", "my-press")
    assert noted(conn)[0].agent_id == AGENT


def test_a_stream_is_noted_when_it_is_opened(api: Api, conn: Connection) -> None:
    with streaming(api, params={"vin": OTHER_VIN}):
        assert told(conn) == [("key:1", "WATCH", OTHER_VIN, None, "GET /api/v1/safety/sos/events")]


def test_what_was_refused_or_failed_left_no_effect_and_no_row(
    api: Api, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = api.add_key("sk_other", Role.OWNER, vins=[OTHER_VIN])
    assert api.call("GET", STATUS, token=other).status_code == 404
    assert api.call("GET", STATUS).status_code == 404
    closing = guide("sos_closure_request")
    key = {"Idempotency-Key": "one"}
    for headers in ({}, key, key):  # the refusal is kept, and handed out again
        assert api.call("POST", f"/vehicles/{VIN}/sos/close", closing, headers=headers).status_code == 404
    assert [row.request.partition(" (")[2] for row in noted(conn)] == ["replayed)"]

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(audit, "append", fail)
    assert api.call("POST", f"/vehicles/{VIN}/sos", {}).status_code == 500
    assert conn.execute("SELECT count(*) FROM sos_incidents").fetchone() == (0,)
    monkeypatch.undo()
    monkeypatch.setattr(sos_routes.answers, "incident_response", fail)
    assert api.call("POST", f"/vehicles/{VIN}/sos", {}).status_code == 500
    assert len(noted(conn)) == 1


def test_a_repeated_request_is_noted_as_a_replay(api: Api, conn: Connection) -> None:
    for _ in range(2):
        api.call("POST", f"/vehicles/{VIN}/sos", {}, headers={"Idempotency-Key": "one"})
    again, first = (row.request for row in noted(conn))
    assert again == f"{first} (replayed)"


def test_health_templates_and_who_i_am_leave_no_row(api: Api, conn: Connection) -> None:
    for path in ("/sos/system/health", "//api/v1/childcare/curfew/templates", "//api/v1/me", "/sos/stats"):
        assert api.call("GET", path).status_code == 200
    assert noted(conn) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'key:9'",
        "UPDATE audit SET vin = NULL",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "SET LOCAL tcu.erasing = 'on'; UPDATE audit SET who = 'key:9', vin = NULL, cid = NULL",
        "SET LOCAL tcu.erasing = 'on'; DELETE FROM audit",
    ],
)
def test_nobody_changes_or_deletes_a_row_not_even_the_tables_owner(
    api: Api, conn: Connection, owner: Connection, statement: str
) -> None:
    api.call("GET", f"/vehicles/{VIN}/sos/history")
    for who, told in ((owner, "neither changed nor deleted"), (conn, "permission denied")):
        with pytest.raises(DatabaseError, match=told), who.transaction():
            who.execute(statement.encode())
    assert len(noted(conn)) == 1


def test_an_erased_vehicle_is_forgotten_and_who_did_what_stays(api: Api, conn: Connection) -> None:
    cid = api.call("POST", f"/vehicles/{VIN}/sos", {}).json()["cid"]
    api.call("GET", f"/vehicles/{OTHER_VIN}/sos/history")
    assert privacy.erase(conn, "audit", Subject(VIN, [cid], []), now=datetime.now(UTC)) == 1
    assert [(row.who, row.action, row.vin, row.cid) for row in noted(conn)] == [
        ("key:1", "READ_VEHICLE", OTHER_VIN, None),
        ("key:1", "PRESS_SOS", None, None),
    ]
    with pytest.raises(DatabaseError, match="permission denied"), conn.transaction():
        conn.execute("UPDATE audit SET vin = NULL")


def test_the_operator_lists_it_and_what_the_operator_does_is_in_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCU_DATABASE_URL", api.database_url)
    monkeypatch.setenv("TCU_KEY_SECRET", KEY_SECRET)
    api.call("GET", f"/vehicles/{VIN}/sos/history")

    def run(*words: str) -> str:
        done = CliRunner().invoke(tcu, list(words))
        assert done.exit_code == 0, done.output
        return done.output

    key = run("key", "add", "a partner", "--role", "analyst").strip()
    assert len(key) >= len("sk_") + 64
    run("key", "revoke", "2")
    number = run("grant", "add", "person-1", "--role", "owner", "--vin", VIN).strip()
    run("grant", "revoke", number)
    listed = run("audit")
    assert key not in listed
    for expected in ("ADD_KEY", "REVOKE_KEY", "ADD_GRANT", "REVOKE_GRANT", "READ_VEHICLE", VIN, "sk_operator"):
        assert expected in listed
    assert "ADD_KEY" not in run("audit", "--vin", VIN)
    assert OPERATOR[:11] in run("audit", "--who", "key:1")
