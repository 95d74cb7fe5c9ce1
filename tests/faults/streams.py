"""Event streams by the hundred, over plain sockets."""

import socket
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import httpx

from db import keys
from db.pool import Connection
from schemas.access import Role
from stack.server import wait_until
from tests.api import BASE
from tests.faults.stand import KEY_SECRET, Stand

STREAMS_OF_A_KEY = 5
"""As many as one caller may have open."""


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
    """Return a figure without labels out of what /metrics answered."""
    return float(metrics.split(f"\n{name} ")[1].split("\n", maxsplit=1)[0])


def close_under_streams(product: Stand, count: int) -> float:
    """Stop the API while so many streams are open, start it again, and return the seconds that it took to leave."""
    with product.connect() as conn:
        tokens = add_keys(conn, count, secret=KEY_SECRET)
    port = httpx.URL(product.api_url).port
    assert port is not None
    with ExitStack() as closed:
        opened = [closed.enter_context(open_stream(port, token)) for token in tokens]

        def registered() -> bool:
            return gauge(httpx.get(f"{product.api_url}/metrics").text, "tcu_api_open_streams") >= count

        wait_until(registered, wait_s=60)
        ends: list[bytes] = []
        readers = [threading.Thread(target=lambda one=one: ends.append(_read_to_end(one))) for one in opened]
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


def _read_to_end(client: socket.socket) -> bytes:
    """Return the last bytes that came before the end."""
    tail = b""
    client.settimeout(30)
    while part := client.recv(65_536):
        tail = (tail + part)[-64:]
    return tail
