"""The worker's TLS, against a peer in memory: cut anywhere, many records at once, and what ends a connection."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.tls import Tls
from mosquitto import pki

MOST = 64 * 1024


class Peer:
    """The broker's side, over memory too."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.received, self.to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.received, self.to_send, server_side=True)

    def says(self, *messages: bytes) -> bytes:
        """Return a record for each message."""
        for message in messages:
            self.tls.write(message)
        return self.to_send.read()

    def hears(self, data: bytes) -> bytes:
        self.received.write(data)
        return self.tls.read(MOST)


@pytest.fixture(scope="module")
def pki_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    pki.issue_server(directory)
    pki.issue_service(directory, "ingest")
    return directory


def contexts(pki_dir: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the worker's and the broker's."""
    ours = ssl.create_default_context(cafile=pki_dir / "ca.crt")
    credentials = pki.issue_service(pki_dir, "ingest")
    ours.load_cert_chain(credentials.certificate, credentials.key)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pki_dir / "server.crt", pki_dir / "server.key")
    return ours, theirs


def pair(pki_dir: Path) -> tuple[Tls, Peer]:
    """Return both sides after their handshake, which goes over a pair of sockets."""
    ours, theirs = contexts(pki_dir)
    tls, peer = Tls(ours, host="127.0.0.1", most=MOST), Peer(theirs)
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(10)
        there.settimeout(10)

        def answer() -> None:
            agreed = False
            while not agreed:
                try:
                    peer.tls.do_handshake()
                    agreed = True
                except ssl.SSLWantReadError:
                    pass
                there.sendall(peer.to_send.read())
                if not agreed:
                    peer.received.write(there.recv(MOST))

        answering = threading.Thread(target=answer)
        answering.start()
        tls.shake_hands(here)
        answering.join()
        here.settimeout(0)  # what the peer sent behind its handshake: session tickets
        try:
            while data := here.recv(MOST):
                assert tls.decrypt(data) == b""
        except BlockingIOError:
            pass
    return tls, peer


@pytest.fixture(scope="module")
def both(pki_dir: Path) -> tuple[Tls, Peer]:
    return pair(pki_dir)


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=12),
    cuts=st.lists(st.integers(min_value=1, max_value=5000), max_size=12),
)
def test_what_was_said_arrives_however_it_is_cut(
    both: tuple[Tls, Peer], messages: list[bytes], cuts: list[int]
) -> None:
    tls, peer = both
    data = peer.says(*messages)
    heard = b""
    for cut in cuts:
        heard += tls.decrypt(data[:cut])
        data = data[cut:]
    heard += tls.decrypt(data)
    assert heard == b"".join(messages)
    assert tls.decrypt(b"") == b""


def test_as_much_as_it_may_be_given_arrives_at_once_behind_a_record_that_was_begun(both: tuple[Tls, Peer]) -> None:
    tls, peer = both
    longest = 16 * 1024
    data = peer.says(*[b"x" * longest] * 5)
    begun = len(data) // 5 - 1  # all but the last byte of a record as long as they come
    assert tls.decrypt(data[:begun]) == b""
    # So the next bytes, as many as may be given, hold more text than there are of them.
    assert len(tls.decrypt(data[begun : begun + MOST])) == len(data[: begun + MOST]) // (begun + 1) * longest == MOST
    tls.decrypt(data[begun + MOST :])


def test_the_peer_hears_what_is_said_and_nothing_costs_nothing(both: tuple[Tls, Peer]) -> None:
    tls, peer = both
    assert tls.encrypt(b"") == b""
    assert peer.hears(tls.encrypt(b"an acknowledgement")) == b"an acknowledgement"


def test_a_record_that_was_changed_on_the_way_ends_the_connection(pki_dir: Path) -> None:
    tls, peer = pair(pki_dir)
    data = bytearray(peer.says(b"stored"))
    data[-1] ^= 1
    with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac|decryption failed"):
        tls.decrypt(bytes(data))


def test_what_was_said_before_a_goodbye_arrives(pki_dir: Path) -> None:
    tls, peer = pair(pki_dir)
    data = peer.says(b"the last word")
    with pytest.raises(ssl.SSLWantReadError):  # it waits for our goodbye
        peer.tls.unwrap()
    assert not tls.ended
    assert tls.decrypt(data + peer.to_send.read()) == b"the last word"
    assert tls.ended


def test_a_broker_of_another_authority_is_refused_and_told_why(pki_dir: Path, tmp_path: Path) -> None:
    pki.issue_server(tmp_path)
    ours, _ = contexts(pki_dir)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    here, there = socket.socketpair()
    told: list[str] = []
    with here, there:
        here.settimeout(10)

        def answer() -> None:
            try:
                theirs.wrap_socket(there, server_side=True)
            except ssl.SSLError as error:
                told.append(str(error))

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(ssl.SSLCertVerificationError):
            Tls(ours, host="127.0.0.1", most=MOST).shake_hands(here)
        answering.join()
    assert "unknown ca" in told[0].lower()


def test_a_broker_that_closes_during_the_handshake_or_is_silent_is_told(pki_dir: Path) -> None:
    ours, _ = contexts(pki_dir)
    here, there = socket.socketpair()
    with here:
        there.close()
        with pytest.raises(OSError, match=r"closed the connection|Broken pipe"):
            Tls(ours, host="127.0.0.1", most=MOST).shake_hands(here)
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0.2)
        with pytest.raises(TimeoutError):
            Tls(ours, host="127.0.0.1", most=MOST).shake_hands(here)
