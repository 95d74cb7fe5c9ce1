"""How the application is served: the socket, the time a client may take, and how the server leaves."""

import asyncio
import resource
import socket
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.app import end_streams
from api.settings import ApiSettings

GRACE_S = 5
HEAD_S = 10.0
"""A request's head has to be there within this time, however slowly it drips."""
_KEEP_ALIVE_S = 5
_BACKLOG = 2048
_SEND_BUFFER_BYTES = 128 * 1024
"""Linux doubles it for its own book-keeping (socket(7)); an event has some 2 KB."""
_HEAD_MOST_BYTES = 16 * 1024
_FILES_MOST = 65_536


class ApiServer(uvicorn.Server):
    """Ends the streams before it waits for connections, and leaves with exit code 0."""

    def __init__(self, settings: ApiSettings, app: FastAPI) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",  # whatever else is installed: the time-outs of streams are tried with it and h11
            http=_ImpatientProtocol,
            ws="none",
            log_config=None,
            access_log=False,  # its lines hold queries, and with them tickets
            server_header=False,
            forwarded_allow_ips=settings.api_proxies,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            h11_max_incomplete_event_size=_HEAD_MOST_BYTES,
            backlog=_BACKLOG,
        )
        super().__init__(config)
        self._app = app
        self._listener = _listen(settings)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def serve_until_told(self) -> None:
        """Serve until a signal comes, or `should_exit` is set."""
        self.run(sockets=[self._listener])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """Leave in order at the first signal, at once at the second."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        end_streams(self._app)
        await super().shutdown(sockets)


def allow_many_connections() -> None:
    """Raise how many files this process may have open: each stream is one, and the usual bound is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES_MOST if hard == resource.RLIM_INFINITY else min(hard, _FILES_MOST)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _ImpatientProtocol(H11Protocol):
    """Closes a connection on which a request's head does not come in time; uvicorn itself would wait for ever."""

    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._forget_head()
        elif self._head_due is None:  # the first bytes of another head; between requests, keep-alive has its own bound
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._head_due = self.loop.call_later(HEAD_S, self._give_up)

    def _forget_head(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _give_up(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()


def _listen(settings: ApiSettings) -> socket.socket:
    """Return the socket to serve on."""
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    # asyncio switches Nagle's delay off only on sockets whose protocol was named; it costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by each connection: one whose client takes nothing is dropped by the kernel. Closing it is not enough,
    # because what was written before keeps it open until somebody reads it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.stream_send_timeout_s * 1000))
    # Likewise, so that a thousand streams that nobody reads fill 250 MB of the kernel's memory and not 4 GB.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    listener.bind((settings.api_host, settings.api_port))
    return listener
