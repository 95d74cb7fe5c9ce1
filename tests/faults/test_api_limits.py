"""The API at its bounds: no connection free, clients that never read, and the end of the process under open streams."""

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

import httpx

from db import events, incidents, keys
from db.events import NewEvent
from db.pool import Connection, connect
from schemas.access import Role
from stack.server import wait_until
from tests.api import BASE, KEY_SECRET, VIN, Api, serving, streaming
from tests.faults import stand
from tests.faults.stand import Stand

SILENT = 100
OPEN_AT_THE_END = 150
STREAMS_OF_A_KEY = 5


def add_keys(conn: Connection, count: int, *, secret: str) -> list[str]:
    """Store keys of operators, enough for so many streams, and return one for each stream."""
    made = [f"sk_fault_{number:03d}" for number in range(-(-count // STREAMS_OF_A_KEY))]
    for key in made:
        keys.put(conn, key, secret=secret, label="faults", role=Role.OPERATOR, every_vehicle=True)
    return [made[number // STREAMS_OF_A_KEY] for number in range(count)]


def open_stream(port: int, key: str, *, buffer: int | None = None) -> socket.socket:
    """Return a connection that has asked for the SOS stream."""
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {BASE}/sos/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    return client


def gauge(metrics: str, name: str) -> float:
    return float(metrics.split(f"\n{name} ")[1].split("\n", maxsplit=1)[0])


def write(api: Api, texts: Sequence[str]) -> None:
    with connect(api.database_url, name="tests") as conn:
        for text in texts:
            events.append(
                conn,
                NewEvent(
                    service="SOS", type="SOS_UPDATED", priority="HIGH", vin=VIN, occurred_at=datetime.now(UTC),
                    cid="SOS_20260307_001", data={"text": text},
                ),
            )  # fmt: skip
    api.sequence()


def test_a_hundred_clients_that_never_read_are_gone_within_15_seconds(database_url: str) -> None:
    with serving(database_url) as api, ExitStack() as closed:
        with connect(database_url, name="tests") as conn:
            tokens = add_keys(conn, SILENT, secret=KEY_SECRET)
        with streaming(api) as first:  # the library keeps one task for all streams from the first on
            write(api, ["seen"])
            first.take(1)
        wait_until(lambda: open_streams(api) == 0, wait_s=10)
        before = tasks_of(api)
        for token in tokens:
            closed.enter_context(open_stream(api.port, token, buffer=4096))
        wait_until(lambda: open_streams(api) == SILENT, wait_s=30)
        assert tasks_of(api) > before
        write(api, ["x" * 50_000] * 12)
        began_s = time.monotonic()
        wait_until(lambda: open_streams(api) == 0, wait_s=15)
        wait_until(lambda: tasks_of(api) <= before, wait_s=15 - (time.monotonic() - began_s))
        with streaming(api) as reading:
            write(api, ["still served"])
            assert [one.data["data"]["text"] for one in reading.take(1)] == ["still served"]


def open_streams(api: Api) -> float:
    return gauge(api.call("GET", "//metrics").text, "tcu_api_open_streams")


def tasks_of(api: Api) -> int:
    """Return how many tasks the server's loop has, the one that counts them left out."""
    loop = api.server.config.app.state.resources.reader._loop

    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    return asyncio.run_coroutine_threadsafe(count(), loop).result(timeout=10)


def test_with_no_connection_free_the_process_says_so_and_recovers(database_url: str) -> None:
    body = {"emergencyType": "MEDICAL", "urgency": "HIGH"}
    with serving(database_url, api_connections=4) as api, ThreadPoolExecutor(50) as pool:
        with connect(database_url, name="tests") as holder:
            incidents.lock(holder)  # every press waits for it, each with a connection in its hand
            pressed = [
                pool.submit(api.call, "POST", f"/vehicles/{VIN}/sos", body, headers={"Idempotency-Key": str(number)})
                for number in range(50)
            ]
            wait_until(lambda: gauge(api.call("GET", "//metrics").text, "tcu_api_waiting_requests") > 0, wait_s=10)
            began_s = time.monotonic()
            answer = api.call("GET", "//readyz")
            assert (answer.status_code, answer.json()["reasons"]) == (503, ["all 4 database connections are in use"])
            assert time.monotonic() - began_s < 5
            assert api.call("GET", "//livez").status_code == 200
            holder.rollback()
        wait_until(lambda: api.call("GET", "//readyz").status_code == 200, wait_s=10)
        statuses = {future.result().status_code for future in pressed}
        assert statuses <= {201, 429, 503}
        assert 201 in statuses
        with connect(database_url, name="tests") as conn:
            assert conn.execute("SELECT count(*) FROM sos_incidents").fetchone() == (1,)


def test_told_to_stop_the_process_ends_every_open_stream_whole_and_leaves_in_time(product: Stand) -> None:
    close_under_streams(product, OPEN_AT_THE_END)


def close_under_streams(product: Stand, count: int) -> float:
    """Stop the API while so many streams are open, start it again, and return the seconds that it took to leave."""
    with product.connect() as conn:
        tokens = add_keys(conn, count, secret=stand.KEY_SECRET)
    port = httpx.URL(product.api_url).port
    assert port is not None
    with ExitStack() as closed:
        opened = [closed.enter_context(open_stream(port, token)) for token in tokens]

        def registered() -> bool:
            return gauge(httpx.get(f"{product.api_url}/metrics").text, "tcu_api_open_streams") >= count

        wait_until(registered, wait_s=60)
        ends: list[bytes] = []
        readers = [threading.Thread(target=lambda one=one: ends.append(read_to_end(one))) for one in opened]
        for reader in readers:
            reader.start()
        began = time.monotonic()
        product.api.stop(wait_s=30)
        took_s = time.monotonic() - began
        for reader in readers:
            reader.join(timeout=10)
    product.api.start()
    product.wait_ready(datetime.now(UTC))
    assert len(ends) == count
    assert all(end.endswith(b"\r\n0\r\n\r\n") for end in ends)  # the last chunk (RFC 9112 §7.1): none was cut off
    return took_s


def read_to_end(client: socket.socket) -> bytes:
    tail = b""
    client.settimeout(30)
    while part := client.recv(65_536):
        tail = (tail + part)[-64:]
    return tail
