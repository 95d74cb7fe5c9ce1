"""The API at its bounds: no connection free, clients that never read, and the end of the process under open streams."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

from api.resources import Resources
from db import events, incidents
from db.events import NewEvent
from db.pool import connect
from stack.server import wait_until
from tests.api import KEY_SECRET, VIN, Api, serving, streaming
from tests.faults.stand import Stand
from tests.faults.streams import add_keys, close_under_streams, gauge, open_stream

SILENT = 100
OPEN_AT_THE_END = 150


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
    parts: Resources = api.server._app.state.resources
    loop = parts.reader._loop

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
