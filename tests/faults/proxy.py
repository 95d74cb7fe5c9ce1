"""A TCP proxy on loopback that can stop forwarding, as a network that is cut without a reset does."""

import socket
import threading
from contextlib import suppress
from typing import Self

from stack.places import free_port

_BYTES = 64 * 1024
_LOOK_AGAIN_S = 0.05


class Proxy:
    """Forwards `port` to another one. While cut it accepts connections, takes nothing from them and gives nothing."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target = target_port
        self._forwards = threading.Event()
        self._forwards.set()
        self._era = 0
        self._open = True
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._forwards.set()
        self._listener.close()

    def cut(self) -> None:
        """Forward nothing from now on; nobody is told."""
        self._forwards.clear()

    def heal(self, *, forget: bool = False) -> None:
        """Forward again; with `forget`, new connections only, as after a firewall lost its table."""
        self._era += forget
        self._forwards.set()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client, self._era), daemon=True).start()

    def _connect(self, client: socket.socket, era: int) -> None:
        self._forwards.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:  # nobody listens there: the client is told as it would be without a proxy
            client.close()
            return
        server.settimeout(None)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pump, args=(client, server, era), daemon=True).start()
        self._pump(server, client, era)

    def _pump(self, source: socket.socket, sink: socket.socket, era: int) -> None:
        with suppress(OSError):  # one side is gone, and so is the other
            source.settimeout(_LOOK_AGAIN_S)
            while self._open:
                self._forwards.wait()
                try:
                    part = source.recv(_BYTES)
                except TimeoutError:
                    continue
                self._forwards.wait()
                while era != self._era and self._open:  # forgotten: held open, and silent
                    threading.Event().wait(1)
                if not part:
                    break
                _send(sink, part)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _send(sink: socket.socket, part: bytes) -> None:
    # The other pump has set a time-out for reading on this socket; a full window is no end.
    while part:
        try:
            part = part[sink.send(part) :]
        except TimeoutError:
            continue
