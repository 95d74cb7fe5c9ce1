"""What supervisors and Prometheus ask of a worker over HTTP: /livez, /readyz with the reasons, /metrics."""

import json
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app

SILENT_AFTER_S = 20.0
"""The worker tells each second, and waits for the database 15 s at most."""

_Start = Callable[[str, list[tuple[str, str]]], object]


class Readiness:
    """Why the worker can't take messages now, as its main thread tells; anybody may ask."""

    def __init__(self) -> None:
        self._hindrances: list[str] = ["it starts"]
        self._told_s = time.monotonic()

    def tell(self, hindrances: list[str]) -> None:
        """Replace what was told before; empty: it is ready."""
        self._hindrances, self._told_s = hindrances, time.monotonic()

    def hindrances(self) -> list[str]:
        """Return the reasons, and whether they are old."""
        silent_s = time.monotonic() - self._told_s
        old = [f"the worker has told nothing for {silent_s:.0f} s"] if silent_s > SILENT_AFTER_S else []
        return [*old, *self._hindrances]


def serve(port: int, readiness: Readiness) -> None:
    """Answer on loopback, in a thread that ends with the process."""
    metrics = make_wsgi_app()

    def answer(environ: dict[str, object], start: _Start) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/livez":
                return _json(start, HTTPStatus.OK, {"status": "alive"})
            case "/readyz":
                reasons = readiness.hindrances()
                status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
                return _json(start, status, {"status": "not ready" if reasons else "ready", "reasons": reasons})
            case _:
                answered: Iterable[bytes] = metrics(environ, start)
                return answered

    server = make_server("127.0.0.1", port, answer, handler_class=_Silent)
    Thread(target=server.serve_forever, name="probes", daemon=True).start()


class _Silent(WSGIRequestHandler):
    """Does not log requests: one comes each few seconds."""

    timeout = 5
    """Seconds that a client may take: the next one waits for it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _json(start: _Start, status: HTTPStatus, body: dict[str, object]) -> Iterable[bytes]:
    start(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]
