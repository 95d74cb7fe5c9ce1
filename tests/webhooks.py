"""A partner's server: a real one on loopback that can be down, failing, hanging or well, and verifies what it gets."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

HANGS = 0
"""As `answers`: take the request and never answer it."""

DRIPS = 1
"""As `answers`: begin an answer whose headers never end, a byte at a time."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    partner: "PartnerServer"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that lost patience and hung up is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        partner = self.server.partner
        body = self.rfile.read(int(self.headers["content-length"]))
        answers = partner.take(dict(self.headers.items()), body)
        if answers == HANGS:
            partner.released.wait(30)
            return
        if answers == DRIPS:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-long: ")
            while not partner.released.wait(0.1):
                self.wfile.write(b"x")
            return
        self.send_response(answers)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@dataclass
class PartnerServer:
    """What the partner got. `accepted` counts webhook-ids answered with 2xx, `seen` all that came."""

    secret: str
    answers: int = 200
    slow_s: float = 0
    seen: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    payloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    _server: _Server | None = None
    _thread: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where it is, or will be."""
        return f"http://127.0.0.1:{self.port}/dispatches"

    def up(self) -> None:
        """Begin to listen, on the same port as before."""
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.partner = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Verify and count one request, and return how it is answered."""
        payload = Webhook(self.secret).verify(body, headers)  # raises for another's signature
        webhook_id = {name.lower(): value for name, value in headers.items()}["webhook-id"]
        with self._lock:
            self.seen[webhook_id] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            assert self.payloads.setdefault(webhook_id, payload) == payload, "the same id brought another payload"
        if self.slow_s:
            threading.Event().wait(self.slow_s)
        with self._lock:
            self.at_once -= 1
            if 200 <= self.answers < 300:
                self.accepted[webhook_id] += 1
            return self.answers


@contextmanager
def partner_server(secret: str) -> Iterator[PartnerServer]:
    """Give a partner's server, listening; it is gone afterwards."""
    partner = PartnerServer(secret)
    partner.up()
    try:
        yield partner
    finally:
        partner.released.set()
        partner.down()
