"""Nobody takes so much that others, or an emergency, wait: requests, streams, bodies and their time are bounded."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles

import httpx
import pytest
from pydantic import ValidationError

from api import limits, observe
from api import server as api_server
from api.settings import ApiSettings
from db.pool import Connection
from schemas.access import Role
from stack.places import free_port
from stack.server import wait_until
from tests.api import BASE, KEY_SECRET, OPERATOR, PARTNER, VIN, Api, seed, serving, streaming
from tests.contract.examples import guide
from tests.processes import product_process

HISTORY = f"/vehicles/{VIN}/sos/history"
SLOW_CONNECTIONS = 300
LARGE_BYTES = 200 * 1024 * 1024


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def use_up(conn: Connection, *, left: int, most: int = 60) -> None:
    """Make the one caller that has asked so far have asked for nearly all of its minute."""
    assert conn.execute("UPDATE request_counts SET used = %s", (most - left,)).rowcount == 1
    conn.commit()


def end_minute(conn: Connection) -> None:
    conn.execute("UPDATE request_counts SET began_at = began_at - interval '1 minute'")
    conn.commit()


def test_a_user_has_sixty_requests_a_minute_over_all_processes(api: Api, conn: Connection) -> None:
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN], requests_per_minute=None)
    first = api.call("GET", HISTORY, token=owner)
    assert first.headers["RateLimit-Policy"] == '"requests";q=60;w=60'
    assert first.headers["RateLimit"] == '"requests";r=59;t=60'
    use_up(conn, left=1)
    with serving(api.database_url) as other:
        last = other.call("GET", HISTORY, token=owner)
        assert (last.status_code, last.headers["RateLimit"].split(";")[1]) == (200, "r=0")
        for process in (api, other):
            refused = process.call("GET", HISTORY, token=owner)
            assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_REQUESTS")
            assert 0 < int(refused.headers["Retry-After"]) <= 60
            assert refused.headers["RateLimit"].split(";")[1] == "r=0"
    assert api.call("GET", HISTORY).status_code == 200  # others are not limited by it
    conn.execute("DELETE FROM request_counts WHERE used > 1000 OR who <> 'key:2'")
    end_minute(conn)
    assert api.call("GET", HISTORY, token=owner).headers["RateLimit"] == '"requests";r=59;t=60'


@pytest.mark.parametrize(
    ("role", "most"),
    [(Role.GUARDIAN, 60), (Role.DRIVER, 60), (Role.ANALYST, 60), (Role.AGENT, 600), (Role.PARTNER, 600)],
)
def test_how_many_requests_follows_from_the_role(api: Api, role: Role, most: int) -> None:
    partner = PARTNER if role is Role.PARTNER else None
    token = api.add_key("sk_one", role, partner=partner, requests_per_minute=None)
    answer = api.call("GET", "/sos/system/health", token=token)
    assert answer.headers["RateLimit-Policy"] == f'"requests";q={most};w=60'
    own = api.add_key("sk_own", role, partner=partner, requests_per_minute=7)
    assert api.call("GET", "/sos/system/health", token=own).headers["RateLimit-Policy"] == '"requests";q=7;w=60'


def test_an_sos_is_not_limited_by_what_else_was_asked_for(api: Api, conn: Connection) -> None:
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN], requests_per_minute=None)
    agent = api.add_key("sk_agent", Role.AGENT, every_vehicle=True, requests_per_minute=None)
    for token in (owner, agent):
        api.call("GET", HISTORY, token=token)
    conn.execute("UPDATE request_counts SET used = 10000 WHERE policy = 'requests'")
    conn.commit()
    assert api.call("GET", HISTORY, token=owner).status_code == 429
    assert api.call("GET", HISTORY, token=agent).status_code == 429
    pressed = api.call("POST", f"/vehicles/{VIN}/sos", {}, token=owner)
    assert (pressed.status_code, pressed.headers["RateLimit"].split(";")[:2]) == (201, ['"sos"', "r=59"])
    cid = pressed.json()["cid"]
    sent = {"cid": cid, "serviceType": "POLICE"}
    assert api.call("POST", f"/vehicles/{VIN}/sos/dispatch", sent, token=agent).status_code == 200
    assert api.call("POST", f"/vehicles/{VIN}/sos/resolve", {"cid": cid}, token=agent).status_code == 200
    closing = guide("sos_closure_request") | {"cid": cid, "agentId": None}
    assert api.call("POST", f"/vehicles/{VIN}/sos/close", closing, token=agent).status_code == 200


def test_who_proves_nothing_is_counted_by_address_and_holds_up_nobody_who_does(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STRANGERS_PER_MINUTE", 4)
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN])
    first = api.call("GET", HISTORY, token=None)
    assert (first.status_code, first.headers["RateLimit"]) == (401, '"strangers";r=3;t=60')
    assert api.call("GET", HISTORY, token="sk_made_up").json()["code"] == "KEY_UNKNOWN"
    assert api.call("GET", "/sos/events", token=None).json()["code"] == "KEY_MISSING"
    assert api.call("GET", "/sos/events?ticket=st_made_up", token=None).json()["code"] == "TICKET_UNKNOWN"
    for path, token in (
        (HISTORY, None),
        (HISTORY, "sk_made_up"),
        ("/sos/events", None),
        ("/sos/events?ticket=x", None),
    ):
        refused = api.call("GET", path, token=token)
        assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_REQUESTS")
        assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert api.call("GET", HISTORY, token=owner).status_code == 200
    pressed = api.call("POST", f"/vehicles/{VIN}/sos", {}, token=owner)
    assert (pressed.status_code, pressed.headers["RateLimit"].split(";")[0]) == (201, '"sos"')
    # A press that proves nothing is told so, and never to wait.
    assert api.call("POST", f"/vehicles/{VIN}/sos", {}, token=None).json()["code"] == "KEY_MISSING"


def test_behind_a_proxy_that_is_named_each_address_has_a_count_of_its_own(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STRANGERS_PER_MINUTE", 1)

    def status(process: Api, said: str) -> int:
        return process.call("GET", HISTORY, token=None, headers={"X-Forwarded-For": said}).status_code

    assert [status(api, "198.51.100.1"), status(api, "198.51.100.1"), status(api, "198.51.100.2")] == [401, 429, 401]
    assert [status(api, "2001:db8::1"), status(api, "2001:db8::2"), status(api, "2001:db8:0:1::1")] == [401, 429, 401]
    assert [status(api, "::ffff:192.0.2.1"), status(api, "::ffff:192.0.2.2")] == [401, 401]  # IPv4, on such a socket
    # What comes from elsewhere may say what it likes.
    with serving(api.database_url, api_proxies="10.0.0.0/8,192.0.2.1") as other:
        assert [status(other, "198.51.100.3"), status(other, "198.51.100.4")] == [401, 429]
    with pytest.raises(ValidationError, match="api_proxies"):
        ApiSettings(database_url="postgresql://localhost/none", key_secret=KEY_SECRET, api_proxies="*")


def test_an_address_has_a_new_minute_after_the_first_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_ADDRESSES_MOST", 3)
    strangers = limits.Strangers()
    assert [strangers.take("192.0.2.1", now_s=at).used for at in (0.0, 59.9, 60.0, 61.0)] == [1, 2, 1, 2]
    for number in range(2, 6):
        strangers.take(f"192.0.2.{number}", now_s=61)
    assert strangers.take("192.0.2.1", now_s=62).used == 1  # forgotten: the longest silent goes first
    assert strangers.take("192.0.2.5", now_s=62).used == 2


def test_five_streams_over_all_processes_and_one_that_ends_makes_room(api: Api, conn: Connection) -> None:
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN])
    conn.execute("INSERT INTO open_streams (who, process) SELECT 'key:2', 'api@killed:1' FROM generate_series(1, 9)")
    conn.commit()
    with serving(api.database_url) as other, ExitStack() as opened:
        for process in (api, other, api, other, api):
            last = opened.enter_context(ExitStack())
            last.enter_context(streaming(process, token=owner))
        for process in (api, other):
            refused = process.call("GET", "/sos/events", token=owner)
            assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_STREAMS")
            assert int(refused.headers["Retry-After"]) > 0
        with streaming(other):
            pass  # others are not limited by it
        last.close()
        wait_until(lambda: _opens(other, owner), wait_s=10)
    count = "SELECT count(*) FROM open_streams WHERE process <> 'api@killed:1'"
    wait_until(lambda: conn.execute(count.encode()).fetchone() == (0,), wait_s=10)


def _opens(api: Api, token: str) -> bool:
    url = f"{api.url}{BASE}/sos/events"
    with httpx.stream("GET", url, headers={"Authorization": f"Bearer {token}"}, timeout=10) as answer:
        return answer.status_code == 200


def test_a_key_may_have_streams_of_its_own_number(api: Api) -> None:
    token = api.add_key("sk_one", Role.OWNER, vins=[VIN], streams=1)
    with streaming(api, token=token):
        assert api.call("GET", "/sos/events", token=token).status_code == 429


def connected(api: Api) -> socket.socket:
    host, port = api.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_a_head_that_drips_is_cut_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "HEAD_S", 0.5)
    with connected(api) as silent, connected(api) as dripping, connected(api) as second:
        second.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert second.recv(4096).startswith(b"HTTP/1.1 200")
        second.sendall(b"GET /livez HT")
        dripping.sendall(b"GET /livez HTTP/1.1\r\n")
        wait_until(lambda: not takes(dripping, b"X-Drip: 1\r\n"), wait_s=10)
        assert ended(silent)
        assert ended(second)


def takes(client: socket.socket, sent: bytes) -> bool:
    """Tell whether the connection still stands after this was sent."""
    try:
        client.sendall(sent)
    except OSError:
        return False
    return True


def ended(client: socket.socket) -> bool:
    """Wait until the connection ends. Raises TimeoutError where it does not."""
    try:
        while client.recv(4096):
            continue
    except ConnectionResetError:
        pass
    return True


def test_a_body_that_drips_is_408(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "BODY_S", 0.5)
    monkeypatch.setattr(observe, "LINGER_S", 0.1)
    with connected(api) as dripping:
        dripping.sendall(
            f"POST {BASE}/vehicles/{VIN}/sos HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode()
        )
        answer = b"".join(iter(lambda: dripping.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"BODY_TOO_SLOW" in answer


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def send_large(url: str, *, chunked: bool) -> int:
    """Send 200 MB and return the status of the answer, 0 where the connection was cut before."""
    host, port = url.removeprefix("http://").split(":")
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {LARGE_BYTES}"
    piece = b"x" * 65_536
    framed = b"10000\r\n" + piece + b"\r\n" if chunked else piece
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(f"POST {BASE}/vehicles/{VIN}/sos HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        try:
            for _ in range(LARGE_BYTES // len(piece)):
                client.sendall(framed)
        except OSError:
            pass  # cut off: what was answered is there to be read, or was thrown away with the rest
        try:
            return int(client.recv(4096).split()[1])
        except (OSError, IndexError):
            return 0


def test_slow_clients_and_huge_bodies_cost_the_others_little(database_url: str, tmp_path: Path) -> None:
    """300 connections that drip, 200 MB by length and chunked: others' p99 is under 500 ms, memory where it was."""
    seed(database_url)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "TCU_DATABASE_URL": database_url, "TCU_KEY_SECRET": KEY_SECRET, "TCU_API_PORT": str(port),
        "TCU_ENVIRONMENT": "demo",
    }  # fmt: skip
    process = product_process("api", settings, log=tmp_path / "api.log", ready=lambda: _ready(url))
    process.start()
    ending = threading.Event()
    try:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {OPERATOR}"}) as client, ExitStack() as held:
            idle_p99_s = p99([_time_of(client) for _ in range(100)])
            before = resident_bytes(process.pid)
            slow = [
                held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                for _ in range(SLOW_CONNECTIONS)
            ]
            for number, one in enumerate(slow):
                one.sendall(
                    b"POST /livez HTTP/1.1\r\nHost: x\r\n" + (b"Content-Length: 9\r\n\r\n{" if number % 2 else b"X: ")
                )
            peak = [before]
            with ThreadPoolExecutor(3) as others:
                large = [others.submit(send_large, url, chunked=chunked) for chunked in (False, True)]
                others.submit(_follow, process.pid, peak, ending)
                taken_s = []
                while len(taken_s) < 200 or not all(one.done() for one in large):
                    taken_s.append(_time_of(client))
                ending.set()
            statuses = [one.result() for one in large]
        # A machine that is busy with other things is slow without anybody's dripping, too.
        assert p99(taken_s) < max(0.5, 3 * idle_p99_s), f"of {len(taken_s)} answers; {idle_p99_s:.3f} s before"
        assert max(peak) - before < 40 * 1024 * 1024, f"from {before >> 20} to {max(peak) >> 20} MB"
        assert set(statuses) <= {413, 0}
        assert 413 in statuses
    finally:
        ending.set()
        process.kill()


def _time_of(client: httpx.Client) -> float:
    began_at_s = time.monotonic()
    assert client.get(f"{BASE}{HISTORY}").status_code == 200
    return time.monotonic() - began_at_s


def p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[-1]


def _follow(pid: int, peak: list[int], ending: threading.Event) -> None:
    while not ending.wait(0.05):
        peak.append(resident_bytes(pid))


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
