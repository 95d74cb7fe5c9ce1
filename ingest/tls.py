"""TLS without I/O: what the socket gave becomes what the broker said, many records at a time.

Mosquitto makes a record of each message, and `ssl.SSLSocket` asks the system twice for each record. Over memory one
read of the socket serves hundreds of them.
"""

import socket
import ssl
from contextlib import suppress

_RECORD = 16 * 1024
"""Bytes of one record at most (RFC 8446 §5.1)."""


class Tls:
    """The client's side of one connection. Errors are `ssl.SSLError`: the connection can't go on."""

    def __init__(self, context: ssl.SSLContext, *, host: str, most: int) -> None:
        """`most` is how many bytes `decrypt` may be given at once."""
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=host)
        # What was begun of a record before may come on top.
        self._plain = memoryview(bytearray(most + 2 * _RECORD))
        self.ended = False
        """True once the peer has said goodbye (close_notify): nothing more comes."""

    def shake_hands(self, broker: socket.socket) -> None:
        """Agree with the peer over a socket that blocks. Raises OSError, where it is silent TimeoutError."""
        agreed = False
        while not agreed:
            try:
                self._tls.do_handshake()
                agreed = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                with suppress(OSError):  # why it failed is what counts here
                    broker.sendall(self._to_send.read())  # the alert that tells the peer
                raise
            broker.sendall(self._to_send.read())
            if not agreed:
                received = broker.recv(_RECORD)
                if not received:
                    raise ConnectionError("the broker closed the connection during the TLS handshake")
                self._received.write(received)

    def decrypt(self, received: bytes) -> bytes:
        """Return all that is whole of what was received so far, cut anywhere."""
        self._received.write(received)
        length = 0
        with suppress(ssl.SSLWantReadError):
            while count := self._tls.read(_RECORD, self._plain[length:]):
                length += int(count)
            self.ended = True
        return bytes(self._plain[:length])

    def encrypt(self, said: bytes) -> bytes:
        """Return the bytes to write for it, and for what TLS itself has to say."""
        if said:
            self._tls.write(said)
        return self._to_send.read()
