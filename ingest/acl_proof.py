"""Proof that the broker keeps vehicles apart: what nobody may do is tried, and must not arrive.

A SUBACK or PUBACK proves nothing (Mosquitto gives both for what it drops), so what is looked at is what is delivered:
after each forbidden message comes an allowed one on the same connection, and only that one may arrive.
"""

import queue
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ingest.settings import WorkerSettings
from schemas.system_test import TEST_VIN
from schemas.topics import PREFIX

T = TypeVar("T")

INTRUDER = "acl-proof"
"""Common name of the identity that tries. No list names it, so it has a vehicle's rights, and it is no VIN."""
TIMEOUT_S = 10.0

_KIND = "proof"
"""No kind of the contract: no lane subscribes to it, nothing of it is stored."""


class NotProvenError(Exception):
    """The access lists do not hold, or that they do could not be seen; the message says which."""


def prove(settings: WorkerSettings) -> str | None:
    """Return why it is not proven that the broker's access lists hold, None where it is.

    Takes three connections for a moment, and 10 s or so at most; it can be asked again at any time. Two workers that
    prove at the same time may disturb each other, since the intruder is let in once: ask again.
    """
    if not settings.mqtt_tls:
        return "without TLS nobody is known by a certificate"
    if settings.acl_proof_cert is None or settings.acl_proof_key is None:
        return "TCU_ACL_PROOF_CERT and TCU_ACL_PROOF_KEY are not set, so nobody can try what is forbidden"
    intruder = (settings.acl_proof_cert, settings.acl_proof_key)
    ports = settings.mqtt_port, settings.mqtt_vehicles_port
    until_s = time.monotonic() + TIMEOUT_S
    try:
        with (
            _connected(settings, ports[0], (settings.mqtt_cert, settings.mqtt_key), until_s) as worker,
            _connected(settings, ports[1], intruder, until_s) as vehicle,
        ):
            _prove_topics(worker, vehicle)
            with _connected(settings, ports[1], intruder, until_s):
                vehicle.await_end()
    except (NotProvenError, OSError, RuntimeError) as error:  # RuntimeError: paho, of a connection that has ended
        return str(error) or type(error).__name__
    return None


def _prove_topics(worker: "_Peer", vehicle: "_Peer") -> None:
    forged, private, sentinel = (f"{word} {uuid4()}".encode() for word in ("forged", "private", "sentinel"))
    worker.subscribe([f"{PREFIX}/+/up/{_KIND}"])
    down = [f"{PREFIX}/+/down/{_KIND}", f"{PREFIX}/{TEST_VIN}/down/#", "#", f"$share/x/{PREFIX}/+/down/{_KIND}"]
    vehicle.subscribe([*down, f"{PREFIX}/{INTRUDER}/down/{_KIND}"])

    worker.publish(f"{PREFIX}/{TEST_VIN}/up/{_KIND}", forged)
    vehicle.publish(f"{PREFIX}/{TEST_VIN}/up/{_KIND}", forged)
    vehicle.publish(f"{PREFIX}/{TEST_VIN}/down/{_KIND}", forged)
    vehicle.publish(f"{PREFIX}/{INTRUDER}/up/{_KIND}", sentinel)
    if forged in worker.received_until(sentinel):
        raise NotProvenError("the access list lets one vehicle speak for another")

    worker.publish(f"{PREFIX}/{TEST_VIN}/down/{_KIND}", private)
    worker.publish(f"{PREFIX}/{INTRUDER}/down/{_KIND}", sentinel)
    if {forged, private} & set(vehicle.received_until(sentinel)):
        raise NotProvenError("the access list lets one vehicle hear what is meant for another")


@contextmanager
def _connected(settings: WorkerSettings, port: int, identity: tuple[Path, Path], until_s: float) -> Iterator["_Peer"]:
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"{INTRUDER}-{uuid4()}",
        protocol=mqtt.MQTTv5,
        reconnect_on_failure=False,
    )
    client.tls_set(str(settings.mqtt_ca), str(identity[0]), str(identity[1]))
    client.connect_timeout = TIMEOUT_S / 2
    peer = _Peer(client, until_s)
    client.connect(settings.mqtt_host, port, keepalive=max(1, round(TIMEOUT_S)))  # which bounds the handshake too
    client.loop_start()
    try:
        peer.await_connection()
        yield peer
    finally:
        client.disconnect()
        client.loop_stop()


class _Peer:
    """A client of the proof; what it waits for must come by a given time. Raises NotProvenError where it does not."""

    def __init__(self, client: mqtt.Client, until_s: float) -> None:
        self._client = client
        self._until_s = until_s
        self._answered: queue.Queue[str] = queue.Queue()
        self._ended: queue.Queue[str] = queue.Queue()
        self._subscribed: queue.Queue[int] = queue.Queue()
        self._received: queue.Queue[bytes] = queue.Queue()
        client.on_connect = lambda _client, _data, _flags, reason, _properties: self._answered.put(
            str(reason) if reason.is_failure else ""
        )
        client.on_disconnect = lambda _client, _data, _flags, reason, _properties: self._note_end(str(reason))
        client.on_subscribe = lambda _client, _data, packet_id, *_: self._subscribed.put(packet_id)
        client.on_message = lambda _client, _data, message: self._received.put(bytes(message.payload))

    def await_connection(self) -> None:
        """Return when the broker has accepted the connection."""
        if refusal := self._next(self._answered, "the broker did not answer a connection of the proof in time"):
            raise NotProvenError(f"the broker refused a connection of the proof: {refusal}")

    def subscribe(self, topics: Sequence[str]) -> None:
        """Return when the broker has seen the subscription, whether or not it grants it."""
        self._client.subscribe([(topic, 1) for topic in topics])
        self._next(self._subscribed, "the broker did not answer a subscription in time")

    def publish(self, topic: str, payload: bytes) -> None:
        """Return when the broker has dealt with it (PUBACK); what it did is seen by what arrives."""
        sent = self._client.publish(topic, payload, qos=1)
        sent.wait_for_publish(max(0.0, self._until_s - time.monotonic()))
        if not sent.is_published():
            raise NotProvenError("the broker did not answer a message of the proof in time")

    def received_until(self, sentinel: bytes) -> list[bytes]:
        """Return what arrived before the sentinel."""
        before = []
        while (payload := self._next(self._received, "what is allowed did not arrive")) != sentinel:
            before.append(payload)
        return before

    def await_end(self) -> None:
        """Return when the broker has ended this connection because another of the same vehicle has come."""
        self._next(
            self._ended, "client ids are not bound to certificates: vehicles can take over each other's sessions"
        )

    def _note_end(self, reason: str) -> None:
        self._answered.put(reason)
        self._ended.put(reason)

    def _next(self, awaited: "queue.Queue[T]", otherwise: str) -> T:
        try:
            return awaited.get(timeout=max(0.0, self._until_s - time.monotonic()))
        except queue.Empty:
            raise NotProvenError(otherwise) from None
