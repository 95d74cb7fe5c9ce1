"""The API as tests run it: the real application on a real server and database, in a thread of the test's process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import structlog

from api.app import create_app
from api.server import ApiServer
from api.settings import ApiSettings
from db import agents, events, keys, partners, vehicles
from db.pool import connect
from schemas.access import Role
from schemas.production import Environment
from stack.server import wait_until

BASE = "/api/v1/safety"
VIN = "KMHSH81C7LU123456"
OTHER_VIN = "KMHSH81C7LU123457"
PARTNER = "SAMSUNG_FIRE"
OTHER_PARTNER = "HYUNDAI_ROAD"
AGENT = "AGENT_001"
OPERATOR = "sk_operator"
MANY = 1_000_000
KEY_SECRET = "the secret of all tests, 32 characters or more"

# To pytest's log capture instead of the terminal.
structlog.configure(processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.stdlib.LoggerFactory())


@dataclass(frozen=True, slots=True)
class Api:
    """A served API; `call` speaks for the operator unless told otherwise."""

    url: str
    database_url: str
    server: ApiServer

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = OPERATOR, **kwargs: Any
    ) -> httpx.Response:
        """Return the answer; `path` is relative to the base path unless it begins with two slashes."""
        url = self.url + (path.removeprefix("/") if path.startswith("//") else BASE + path)
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers |= kwargs.pop("headers", {})
        if body is not None:
            kwargs["json"] = body
        return httpx.request(method, url, headers=headers, timeout=30, verify=False, **kwargs)  # noqa: S501 - plain http

    def add_key(self, token: str, role: Role, **rights: Any) -> str:
        """Store a key and return it; tests ask faster than people."""
        chosen = {"requests_per_minute": MANY} | rights
        with connect(self.database_url, name="tests") as conn:
            keys.put(conn, token, secret=KEY_SECRET, label="test", role=role, **chosen)
        return token

    def revoke(self, token: str) -> None:
        """End a key."""
        with connect(self.database_url, name="tests") as conn:
            found = keys.find(conn, token, secret=KEY_SECRET)
            assert found is not None
            assert keys.revoke(conn, found.key_id, at=datetime.now(UTC))

    def sequence(self) -> int:
        """Number the events, as the rules process does, and return how many there were.

        Its reader knows of them then, unless a test has ended it: a stream that is opened now begins behind them.
        """
        with connect(self.database_url, name="tests", autocommit=True) as conn:
            numbered = events.sequence(conn)
            last = conn.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        parts = self.server.config.app.state.resources  # type: ignore[union-attr]
        wait_until(lambda: not parts.reader._thread.is_alive() or (last and parts.hub.position >= last[0]), wait_s=15)
        return numbered


def seed(database_url: str) -> None:
    """Add the vehicles, counselor, partners and the operator's key that the tests speak of."""
    with connect(database_url, name="tests") as conn:
        for vin in (VIN, OTHER_VIN):
            vehicles.describe(
                conn, vin, make="BMW", model="320i", model_year=2022, customer_name="Hong Gildong",
                customer_phone="+82-10-1234-5678",
            )  # fmt: skip
        agents.put(conn, AGENT, name="Kim Counselor", extension="801")
        partners.put(conn, PARTNER, name="Samsung Fire")
        partners.put(conn, OTHER_PARTNER, name="Hyundai Road")
        keys.put(
            conn,
            OPERATOR,
            secret=KEY_SECRET,
            label="operator",
            role=Role.OPERATOR,
            every_vehicle=True,
            requests_per_minute=MANY,
            streams=MANY,
        )


@contextmanager
def serving(database_url: str, **settings: Any) -> Iterator[Api]:
    """Give the seeded API, ready; ends its streams and the server."""
    seed(database_url)
    chosen = {
        "environment": Environment.DEMO,
        "contact_center_phone": "1588-1234",
        "api_port": 0,
        "key_secret": KEY_SECRET,
    } | settings
    parsed = ApiSettings(database_url=database_url, **chosen)
    server = ApiServer(parsed, create_app(parsed))
    thread = threading.Thread(target=server.serve_until_told)
    thread.start()
    api = Api(f"http://127.0.0.1:{server.port}", database_url, server)
    try:
        wait_until(lambda: _is_ready(api), wait_s=15)
        yield api
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


def _is_ready(api: Api) -> bool:
    try:
        return api.call("GET", "//readyz").status_code == 200
    except httpx.HTTPError:
        return False


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream; `sequence` is its id, `kind` its `event:` field."""

    sequence: int
    kind: str
    data: dict[str, Any]


class Stream:
    """An open event stream, read block by block; blocks without data only move `last_id`."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id: str | None = None
        self._lines = response.iter_lines()

    def next(self) -> Message | None:
        """Return the next message, None where the stream has ended."""
        kind, data = "message", ""
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data += value
            elif not line and data:
                assert self.last_id is not None
                return Message(int(self.last_id), kind, json.loads(data))
        return None

    def take(self, count: int) -> list[Message]:
        """Return as many messages. Fails where the stream ends before."""
        found = [self.next() for _ in range(count)]
        assert None not in found, "the stream ended"
        return [message for message in found if message is not None]


@contextmanager
def streaming(
    api: Api, path: str = "/sos/events", *, token: str = OPERATOR, last_id: str | None = None, params: Any = None
) -> Iterator[Stream]:
    """Give a stream that is registered: what is sequenced from now on comes."""
    headers = {"Authorization": f"Bearer {token}"} | ({} if last_id is None else {"Last-Event-ID": last_id})
    url = api.url + BASE + path
    with httpx.stream("GET", url, headers=headers, params=params, timeout=30, verify=False) as response:  # noqa: S501
        assert response.status_code == 200, response.read()
        yield Stream(response)
