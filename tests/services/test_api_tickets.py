"""Tickets: a browser's event stream can't send a header, so one request buys what opens one stream."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api import logs
from db.pool import Connection
from schemas.access import Role
from schemas.base import parse_instant
from tests.api import BASE, OPERATOR, OTHER_VIN, VIN, Api, serving

TICKETS = "//api/v1/stream-tickets"
STREAMS = (
    f"{BASE}/sos/events",
    f"{BASE}/rsa/events",
    "/api/v1/childcare/curfew/events",
    f"/api/v1/childcare/vehicles/{VIN}/curfew/events",
)


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def opens(api: Api, path: str = STREAMS[0], *, ticket: str | None = None, cookie: str | None = None) -> int:
    """Return the status of a stream that is asked for without a header."""
    params = {} if ticket is None else {"ticket": ticket}
    headers = {} if cookie is None else {"Cookie": f"tcu_stream_ticket={cookie}"}
    with httpx.stream("GET", api.url + path, params=params, headers=headers, timeout=30) as answer:
        return answer.status_code


def buy(api: Api, token: str = OPERATOR) -> str:
    answer = api.call("POST", TICKETS, token=token)
    assert answer.status_code == 201
    ticket: str = answer.json()["ticket"]
    return ticket


def test_a_ticket_opens_one_stream_by_query_or_cookie_and_no_second(api: Api) -> None:
    for path in STREAMS:
        ticket = buy(api)
        assert opens(api, path, ticket=ticket) == 200
        assert opens(api, path, ticket=ticket) == 401
        assert opens(api, path, cookie=ticket) == 401
        assert opens(api, path, cookie=buy(api)) == 200
        assert opens(api, path) == 401


def test_a_ticket_is_good_at_another_process_and_once_however_many_come_at_once(api: Api) -> None:
    with serving(api.database_url) as other:
        assert opens(other, ticket=buy(api)) == 200
        ticket = buy(api)
        with ThreadPoolExecutor(8) as clients:
            found = list(clients.map(lambda n: opens((api, other)[n % 2], ticket=ticket), range(8)))
        assert sorted(found) == [200] + [401] * 7


def test_a_ticket_is_too_old_after_thirty_seconds(api: Api, conn: Connection) -> None:
    answer = api.call("POST", TICKETS)
    assert parse_instant(answer.json()["expiresAt"]) <= datetime.now(UTC) + timedelta(seconds=30)
    conn.execute("UPDATE stream_tickets SET expires_at = now()")
    conn.commit()
    assert opens(api, ticket=answer.json()["ticket"]) == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(database_url: str) -> None:
    for environment, secure in (("demo", False), ("production", True)):
        with serving(database_url, environment=environment) as api:
            answer = api.call("POST", TICKETS)
            name, *attributes = answer.headers["Set-Cookie"].split("; ")
            assert name == f"tcu_stream_ticket={answer.json()['ticket']}"
            expected = {"HttpOnly", "Max-Age=30", "Path=/api/v1", "SameSite=strict"} | ({"Secure"} if secure else set())
            assert set(attributes) == expected
            assert answer.headers["Cache-Control"] == "no-store"


def test_a_ticket_gives_what_its_key_may_see_now_and_opens_nothing_but_streams(api: Api) -> None:
    owner = api.add_key("sk_owner", Role.OWNER, vins=[OTHER_VIN])
    assert opens(api, STREAMS[3], ticket=buy(api, owner)) == 404
    ticket = buy(api, owner)
    api.add_key("sk_owner", Role.OWNER, vins=[VIN])
    assert opens(api, STREAMS[3], ticket=ticket) == 200
    ticket = buy(api, owner)
    api.revoke(owner)
    assert opens(api, ticket=ticket) == 401
    analyst = api.add_key("sk_analyst", Role.ANALYST)
    assert api.call("POST", TICKETS, token=analyst).status_code == 403
    ticket = buy(api)
    for path in (f"/vehicles/{VIN}/sos/history", "//api/v1/me"):
        assert api.call("GET", path, token=None, params={"ticket": ticket}).status_code == 401
        assert api.call("GET", path, token=ticket).status_code == 401


def test_a_ticket_is_in_no_log_and_not_in_the_database(
    api: Api, conn: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        logs.configure()
        logging.getLogger("uvicorn").setLevel(logging.DEBUG)
        ticket, used = buy(api), buy(api)
        assert opens(api, ticket=used) == 200
        assert opens(api, ticket=used) == 401
        assert opens(api, cookie="st_nobody") == 401
        httpx.get(f"{api.url}/nothing?ticket={used}")
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
    ours = [line for line in lines if not line.get("logger", "").startswith("http")]  # the test's own client logs too
    assert len(ours) >= 6
    assert ticket not in json.dumps(ours)
    assert used not in json.dumps(ours)
    stored = conn.execute("SELECT encode(ticket_hash, 'hex'), credential::text FROM stream_tickets").fetchall()
    assert len(stored) == 1
    assert ticket.removeprefix("st_") not in str(stored)
