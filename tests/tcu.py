"""A vehicle for tests: publishes bytes as they are and collects what comes down. The simulator is better behaved."""

import json
import queue
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from mosquitto import pki
from schemas.base import format_instant
from schemas.topics import Downlink, Uplink, downlink_topic, uplink_topic
from stack.broker import Broker

ARRIVES_WITHIN_S = 15


class Tcu:
    """One connected vehicle. `down(kind)` waits for the next message of a kind."""

    def __init__(self, broker: Broker, pki_dir: Path, vin: str) -> None:
        self.vin = vin
        self._down: dict[Downlink, queue.Queue[dict[str, Any]]] = {kind: queue.Queue() for kind in Downlink}
        credentials = pki.issue_vehicle(pki_dir, vin)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=vin, protocol=mqtt.MQTTv5)
        self._client.tls_set(str(broker.ca), str(credentials.certificate), str(credentials.key))
        self._client.on_message = self._on_message
        self._client.max_inflight_messages_set(1000)
        subscribed: queue.Queue[str] = queue.Queue()
        self.connections = 0
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: subscribed.put(vin)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        subscribed.get(timeout=ARRIVES_WITHIN_S)

    def publish(self, kind: Uplink, payload: bytes) -> None:
        """Publish bytes, QoS 1, and return when the broker has them."""
        self.publish_soon(kind, payload).wait_for_publish(ARRIVES_WITHIN_S)

    def publish_soon(self, kind: Uplink, payload: bytes) -> mqtt.MQTTMessageInfo:
        """Publish bytes, QoS 1, without waiting for the broker."""
        return self._client.publish(uplink_topic(self.vin, kind), payload, qos=1)

    def send(self, kind: Uplink, **fields: Any) -> str:
        """Publish a message with these fields and return its id; id and time are made where they are not given."""
        body = message(**fields)
        self.publish(kind, json.dumps(body).encode())
        return str(body["messageId"])

    def down(self, kind: Downlink, wait_s: float = ARRIVES_WITHIN_S) -> dict[str, Any]:
        """Return the next message of this kind. Raises queue.Empty if none comes."""
        return self._down[kind].get(timeout=wait_s)

    def take(self, kind: Downlink) -> list[dict[str, Any]]:
        """Return the messages of this kind that have come, without waiting."""
        return [self._down[kind].get() for _ in range(self._down[kind].qsize())]

    def receipt_of(self, message_id: str | None) -> dict[str, Any]:
        """Return the receipt of this message, passing over others."""
        while (receipt := self.down(Downlink.RECEIPT))["messageId"] != message_id:
            continue
        return receipt

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def connected(self) -> bool:
        """True while the broker has it; it tries again by itself when it is disconnected."""
        return self._client.is_connected()

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        self.connections += 1
        client.subscribe(f"tcu/v1/{self.vin}/down/#", qos=1)

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        for kind in Downlink:
            if message.topic == downlink_topic(self.vin, kind):
                self._down[kind].put(json.loads(message.payload))


def message(**fields: Any) -> dict[str, Any]:
    """Return a message body with an id and the present time, unless the fields say otherwise."""
    return {"messageId": str(uuid4()), "timestamp": format_instant(datetime.now(UTC))} | fields
