"""Dispatches pushed to partners by the real rules process: what arrives, how often, and what a bad partner delays."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from admin.__main__ import app
from db import partners, rsa, vehicles, webhooks
from db.pool import Connection, connect
from rules import retention
from rules.apply import partners as apply_partners
from rules.apply import rsa as apply
from rules.apply.rsa import Press
from rules.sender import WebhookSender
from rules.settings import RulesSettings
from rules.webhooks import Topic, format_secret
from schemas.rsa import DispatchConfirmRequest, RsaCancelRequest, RsaDispatchRequest, RsaReport
from stack.server import Server, wait_until
from tests.api import OTHER_PARTNER, PARTNER, VIN, serving
from tests.contract.examples import guide
from tests.processes import is_ready, product_process
from tests.webhooks import DRIPS, HANGS, PartnerServer, partner_server

SECRET, OTHER_SECRET = format_secret(b"1" * 32), format_secret(b"2" * 32)
CID = "RSA_20260307_001"


@contextmanager
def sending(database_url: str, log: Path, **settings: float) -> Iterator[Server]:
    """Give `python -m rules`, elected and sending, with back-off scaled down."""
    chosen = {"timeout_s": 0.5, "retry_first_s": 0.1, "retry_most_s": 0.4} | settings
    environment = {f"TCU_WEBHOOK_{name.upper()}": str(value) for name, value in chosen.items()}
    process = product_process(
        "rules",
        {"TCU_DATABASE_URL": database_url} | environment,
        log=log,
        ready=lambda: is_ready(database_url, "rules", process.pid),
    )
    process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def partner() -> Iterator[PartnerServer]:
    with partner_server(SECRET) as server:
        yield server


@pytest.fixture
def other() -> Iterator[PartnerServer]:
    with partner_server(OTHER_SECRET) as server:
        yield server


@pytest.fixture
def registry(database_url: str, partner: PartnerServer, other: PartnerServer) -> str:
    """The database with both partners and their URLs."""
    with connect(database_url, name="tests") as conn:
        for name, server in ((PARTNER, partner), (OTHER_PARTNER, other)):
            partners.put(conn, name, name=name)
            webhooks.put_endpoint(conn, name, url=server.url, secret=server.secret, at=datetime.now(UTC))
    return database_url


def dispatch(database_url: str, numbers: range, to: str = PARTNER) -> list[str]:
    """Open a request for each of these vehicles and dispatch it; return the cids."""
    cids, now = [], datetime.now(UTC)
    with connect(database_url, name="tests") as conn:
        for number in numbers:
            vin = f"KMHSH81C7LU{number:06d}"
            vehicles.register(conn, [vin])
            cids.append(apply.press(conn, Press(vin, "APP", RsaReport(), now, now), now=now))
            request = RsaDispatchRequest(cid=cids[-1], partner=to, service_type="TOWING")
            apply.dispatch(conn, vin, request, actor="AGENT_001", now=now)
    return cids


def cids(server: PartnerServer) -> list[str]:
    return sorted(server.payloads[webhook_id]["cid"] for webhook_id in server.accepted)


def arrive(server: PartnerServer, expected: list[str], *, wait_s: float = 15) -> None:
    try:
        wait_until(lambda: len(server.accepted) >= len(expected), wait_s=wait_s)
    finally:
        assert cids(server) == sorted(expected)


def states(database_url: str) -> list[tuple[str, str | None]]:
    with connect(database_url, name="tests") as conn:
        listed = webhooks.list_all(conn, partner=None, finished=True, limit=1000)
    return [(one.status, one.last_error) for one in listed]


def test_a_hundred_dispatches_arrive_however_the_partner_behaves_and_nobody_else_waits(
    registry: str, tmp_path: Path, partner: PartnerServer, other: PartnerServer
) -> None:
    def other_is_prompt(number: int) -> None:
        begun_s = time.monotonic()
        (cid,) = dispatch(registry, range(number, number + 1), OTHER_PARTNER)
        wait_until(lambda: cid in cids(other), wait_s=5)
        assert time.monotonic() - begun_s < 2

    def tried(times: int) -> Callable[[], bool]:
        return lambda: partner.seen.total() >= times

    partner.down()
    with sending(registry, tmp_path / "rules.log"):
        expected = dispatch(registry, range(100))
        wait_until(lambda: ("PENDING", "ConnectError") in states(registry), wait_s=5)
        other_is_prompt(900)
        partner.answers = 500
        partner.up()
        wait_until(tried(50), wait_s=5)
        other_is_prompt(901)
        partner.answers = HANGS
        seen = partner.seen.total()
        wait_until(tried(seen + 8), wait_s=10)
        other_is_prompt(902)
        assert not partner.accepted
        partner.answers = 200
        arrive(partner, expected)
        wait_until(lambda: set(states(registry)) == {("DELIVERED", None)}, wait_s=5)
    assert set(partner.accepted.values()) == {1}
    assert len(partner.accepted) == 100
    log = (tmp_path / "rules.log").read_text()
    assert log.count("webhook_not_taken") >= 58
    assert "KMHSH81C7LU" not in log


def test_killed_between_posting_and_noting_it_posts_again_under_the_same_id(
    registry: str, tmp_path: Path, partner: PartnerServer
) -> None:
    partner.slow_s = 0.05
    expected = dispatch(registry, range(100))
    with sending(registry, tmp_path / "rules.log") as process:
        for count in (20, 50):
            wait_until(lambda: len(partner.accepted) >= count, wait_s=15)  # noqa: B023 - called in this round only
            process.kill()
            process.start()
        arrive(partner, expected, wait_s=20)
        wait_until(lambda: set(states(registry)) == {("DELIVERED", None)}, wait_s=5)
    assert len(partner.accepted) == 100  # by webhook-id; what was in flight at a kill came twice, and nothing else
    assert partner.seen.total() <= 100 + 2 * 4
    assert partner.most_at_once <= 4


def test_who_is_back_gets_all_that_waited_at_once(registry: str, tmp_path: Path, partner: PartnerServer) -> None:
    partner.answers = 500
    with sending(registry, tmp_path / "rules.log", retry_first_s=1, retry_most_s=3600):
        expected = dispatch(registry, range(40))
        # The back-off has grown to minutes for all, and one is due in a moment.
        wait_until(lambda: states(registry).count(("PENDING", "HTTP 500")) == 40, wait_s=5)
        with connect(registry, name="tests") as conn:
            conn.execute("UPDATE webhook_deliveries SET next_attempt_at = now() + interval '10 minutes'")
            conn.execute(
                "UPDATE webhook_deliveries SET next_attempt_at = now() + interval '1 second' WHERE cid = %s",
                (expected[7],),
            )
        partner.answers = 200
        arrive(partner, expected, wait_s=5)


def test_an_answer_that_drips_is_given_up_in_time(
    registry: str, tmp_path: Path, partner: PartnerServer, other: PartnerServer
) -> None:
    partner.answers = DRIPS
    dispatch(registry, range(10))
    with sending(registry, tmp_path / "rules.log"):
        wait_until(lambda: ("PENDING", "no answer within 0.5 s") in states(registry), wait_s=3)
        (cid,) = dispatch(registry, range(900, 901), OTHER_PARTNER)
        wait_until(lambda: cid in cids(other), wait_s=2)


def test_a_name_that_is_not_found_for_long_delays_nobody_else(
    registry: str, monkeypatch: pytest.MonkeyPatch, other: PartnerServer, conn: Connection
) -> None:
    """Lookups can't be cancelled: they keep their threads, and the database's are others."""
    real = socket.getaddrinfo

    def slow(host: Any, *arguments: Any, **named: Any) -> Any:
        if host == "slow.example":
            threading.Event().wait(3)
            raise socket.gaierror("not found")
        return real(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    url = other.url.replace("127.0.0.1", "localhost")
    webhooks.put_endpoint(conn, PARTNER, url="https://slow.example/", secret=SECRET, at=datetime.now(UTC))
    webhooks.put_endpoint(conn, OTHER_PARTNER, url=url, secret=OTHER_SECRET, at=datetime.now(UTC))
    conn.commit()
    dispatch(registry, range(20))
    settings = RulesSettings(database_url=registry, webhook_timeout_s=0.3, webhook_retry_first_s=0.1)
    sender = WebhookSender(settings, lambda: True)
    sender.start()
    try:
        wait_until(lambda: ("PENDING", "no answer within 0.3 s") in states(registry), wait_s=3)
        (cid,) = dispatch(registry, range(900, 901), OTHER_PARTNER)
        wait_until(lambda: cid in cids(other), wait_s=2)
    finally:
        sender.stop()
    assert not sender.failed


def test_who_does_not_lead_sends_nothing(registry: str, partner: PartnerServer) -> None:
    leads = threading.Event()
    expected = dispatch(registry, range(1))
    sender = WebhookSender(RulesSettings(database_url=registry), leads.is_set)
    sender.start()
    try:
        with pytest.raises(TimeoutError):
            wait_until(lambda: bool(partner.seen), wait_s=1)
        leads.set()
        arrive(partner, expected, wait_s=3)
    finally:
        sender.stop()


def test_the_payload_is_the_guides_dispatch_request_and_its_state_is_shown(
    registry: str, tmp_path: Path, partner: PartnerServer
) -> None:
    with serving(registry) as api:
        assert api.call("POST", f"/vehicles/{VIN}/rsa/request", {"cid": CID}).status_code == 201
        assert api.call("GET", f"/vehicles/{VIN}/rsa/status").json()["dispatch"] is None
        body = guide("rsa_dispatch_request")
        partner.answers = 500
        assert api.call("POST", f"/vehicles/{VIN}/rsa/dispatch", body).status_code == 200

        def shown() -> Any:
            return api.call("GET", f"/vehicles/{VIN}/rsa/status").json()["dispatch"]

        assert shown() == {"delivery": "PENDING", "attempts": 0, "lastError": None}
        with sending(registry, tmp_path / "rules.log"):
            wait_until(lambda: shown()["attempts"] >= 2 and shown()["lastError"] == "HTTP 500", wait_s=5)
            partner.answers = 204
            wait_until(lambda: shown()["delivery"] == "DELIVERED", wait_s=5)
    (payload,) = partner.payloads.values()
    assert payload == {"type": "rsa.dispatch"} | body
    assert list(payload)[1:] == list(body)


def test_gone_ends_a_delivery_and_a_partner_without_url_gets_none(
    registry: str, tmp_path: Path, partner: PartnerServer, conn: Connection
) -> None:
    partners.put(conn, "GENESIS_ROAD", name="Genesis Road")
    conn.commit()
    partner.answers = 410
    dispatch(registry, range(1))
    dispatch(registry, range(1, 2), "GENESIS_ROAD")
    with sending(registry, tmp_path / "rules.log"):
        wait_until(lambda: states(registry) == [("FAILED", "HTTP 410")], wait_s=5)
    assert partner.seen.total() == 1


def test_a_dispatch_that_is_taken_away_is_not_delivered_any_more(registry: str, conn: Connection) -> None:
    (cid,) = dispatch(registry, range(1))
    now = datetime.now(UTC)
    vin = "KMHSH81C7LU000000"
    again = RsaDispatchRequest(cid=cid, partner=OTHER_PARTNER, service_type="TOWING")
    apply.dispatch(conn, vin, again, actor="AGENT_001", now=now)
    listed = webhooks.list_all(conn, partner=PARTNER, finished=True, limit=10)
    assert {(one.topic, one.status, one.last_error) for one in listed} == {
        (Topic.DISPATCH, "FAILED", "withdrawn: another partner was sent"),
        (Topic.WITHDRAWAL, "PENDING", None),
    }
    assert webhooks.latest_of_incident(conn, cid, partner=OTHER_PARTNER, topic=Topic.DISPATCH) == (
        webhooks.DeliveryState("PENDING", 0, None)
    )
    apply.cancel(conn, vin, RsaCancelRequest(cid=cid), actor="OWNER", now=now)
    pending = webhooks.list_all(conn, partner=None, finished=False, limit=10)
    assert {(one.partner, one.topic) for one in pending} == {
        (PARTNER, Topic.WITHDRAWAL),
        (OTHER_PARTNER, Topic.WITHDRAWAL),
    }


def test_what_arrived_while_it_was_taken_away_has_arrived(registry: str, conn: Connection) -> None:
    (cid,) = dispatch(registry, range(1))
    now = datetime.now(UTC)
    (leased,) = webhooks.claim(conn, now=now, leased_until=now + timedelta(seconds=20), parallel=4, limit=10)
    webhooks.withdraw(conn, cid=cid, topic=Topic.DISPATCH, reason="withdrawn", at=now)
    webhooks.put_off(conn, leased.delivery_id, error="HTTP 500", next_attempt_at=now)
    state = webhooks.latest_of_incident(conn, cid, partner=PARTNER, topic=Topic.DISPATCH)
    assert state == webhooks.DeliveryState("FAILED", 1, "withdrawn")
    webhooks.delivered(conn, leased.delivery_id, at=now)
    state = webhooks.latest_of_incident(conn, cid, partner=PARTNER, topic=Topic.DISPATCH)
    assert state == webhooks.DeliveryState("DELIVERED", 1, None)


def test_a_lease_is_nobody_elses_until_it_ends(registry: str, conn: Connection) -> None:
    dispatch(registry, range(6))
    dispatch(registry, range(6, 8), OTHER_PARTNER)
    now = datetime.now(UTC)

    def claimed(after_s: float, *, limit: int = 100) -> int:
        at = now + timedelta(seconds=after_s)
        return len(webhooks.claim(conn, now=at, leased_until=at + timedelta(seconds=20), parallel=4, limit=limit))

    assert claimed(0, limit=3) == 3
    assert claimed(0) == 3  # four of one partner, two of the other
    assert claimed(19) == 0
    assert claimed(21) == 6


def test_deliveries_are_forgotten_some_time_after_their_end(registry: str, conn: Connection) -> None:
    cids_ = dispatch(registry, range(2))
    now = datetime.now(UTC)
    webhooks.withdraw(conn, cid=cids_[0], topic=Topic.DISPATCH, reason="withdrawn", at=now - timedelta(days=31))
    conn.commit()
    retention.prune(conn, now, terms=retention.Terms())
    assert [one.cid for one in webhooks.list_all(conn, partner=None, finished=True, limit=10)] == [cids_[1]]


def test_who_rejected_is_not_told_that_it_need_not_come(registry: str, conn: Connection) -> None:
    (cid,) = dispatch(registry, range(1))
    no = DispatchConfirmRequest(cid=cid, status="REJECTED")
    apply_partners.answer(conn, PARTNER, no, actor=PARTNER, now=datetime.now(UTC))
    again = RsaDispatchRequest(cid=cid, partner=OTHER_PARTNER, service_type="TOWING")
    apply.dispatch(conn, "KMHSH81C7LU000000", again, actor="AGENT_001", now=datetime.now(UTC))
    pending = webhooks.list_all(conn, partner=None, finished=False, limit=10)
    assert [(one.partner, one.topic) for one in pending] == [(OTHER_PARTNER, Topic.DISPATCH)]


def test_what_is_said_of_one_incident_is_posted_in_order(
    registry: str, tmp_path: Path, partner: PartnerServer, conn: Connection
) -> None:
    """A withdrawal that overtook its dispatch would send a truck to nobody."""
    (cid,) = dispatch(registry, range(1))
    partner.answers = 500
    with sending(registry, tmp_path / "rules.log", retry_most_s=0.2):
        wait_until(lambda: partner.seen.total() >= 1, wait_s=5)
        row = rsa.get(conn, cid)
        assert row is not None
        endpoint = webhooks.endpoint_of_partner(conn, PARTNER)
        assert endpoint is not None
        later = webhooks.enqueue(
            conn, endpoint, topic=Topic.WITHDRAWAL, payload={"cid": cid}, cid=cid, at=datetime.now(UTC)
        )
        conn.commit()
        seen = partner.seen.total()
        wait_until(lambda: partner.seen.total() >= seen + 2, wait_s=5)
        assert str(later) not in partner.seen
        partner.answers = 200
        wait_until(lambda: len(partner.accepted) == 2, wait_s=5)
    assert list(partner.accepted)[1] == str(later)


@pytest.mark.usefixtures("registry")
def test_the_dispatch_and_its_delivery_are_one_transaction(conn: Connection) -> None:
    now, vin = datetime.now(UTC), "KMHSH81C7LU000000"
    vehicles.register(conn, [vin])
    cid = apply.press(conn, Press(vin, "APP", RsaReport(), now, now), now=now)
    conn.commit()
    request = RsaDispatchRequest(cid=cid, partner=PARTNER, service_type="TOWING")
    apply.dispatch(conn, vin, request, actor="AGENT_001", now=now)
    assert webhooks.list_all(conn, partner=PARTNER, finished=False, limit=10)
    conn.rollback()
    assert not webhooks.list_all(conn, partner=PARTNER, finished=False, limit=10)
    row = rsa.get(conn, cid)
    assert row is not None
    assert row.status == "REQUESTED"


def test_the_operator_registers_a_url_and_sees_what_is_pending(
    database_url: str, monkeypatch: pytest.MonkeyPatch, conn: Connection
) -> None:
    monkeypatch.setenv("TCU_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")

    def tcu(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["partner", *arguments])
        assert result.exception is None, result.output
        return result.output

    secret = tcu("add", PARTNER, "Samsung Fire", "--webhook-url", "http://127.0.0.1:9/dispatches").strip()
    assert secret.startswith("whsec_")
    assert tcu("add", PARTNER, "Samsung Fire") == ""
    assert conn.execute("SELECT secret FROM webhook_endpoints").fetchone() == (secret,)
    (cid,) = dispatch(database_url, range(1))
    listed = tcu("deliveries", PARTNER)
    assert cid in listed
    assert "PENDING" in listed
    assert cid not in tcu("deliveries", OTHER_PARTNER)
