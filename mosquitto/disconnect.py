"""Ends a vehicle's connection, which a revoked certificate alone does not: the broker looks at it only at the start."""

import time
from dataclasses import dataclass
from pathlib import Path

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from mosquitto.pki import Credentials, check_vin

SILENT_MOST_S = 100.0
"""How long a client may stay connected without a CONNECT. Mosquitto 2.0.11 closed it after 94.6 s (measured)."""
_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class ServicesListener:
    """Where our own processes reach the broker, and whose certificate signed its own."""

    host: str
    port: int
    ca: Path


def disconnect(listener: ServicesListener, operator: Credentials, vin: str) -> None:
    """End the vehicle's connection and its session; one whose certificate is good connects again.

    It is done by taking over the session with the client id (MQTT 5 §3.1.4): at the vehicles' listener only the vehicle
    itself can do so, at ours who has a certificate of our own authority. Raises OSError where the broker is not
    reached or refuses.
    """
    check_vin(vin)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=vin, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
    client.tls_set(str(listener.ca), str(operator.certificate), str(operator.key))
    client.connect_timeout = _WAIT_S
    refused: list[str] = []
    client.on_connect = lambda _client, _data, _flags, reason, _properties: (
        refused.append(str(reason)) if reason.is_failure else None
    )
    client.connect(listener.host, listener.port, clean_start=True)
    until_s = time.monotonic() + _WAIT_S
    while not client.is_connected() and time.monotonic() < until_s:
        if client.loop(0.1) != mqtt.MQTT_ERR_SUCCESS or refused:
            break
    if not client.is_connected():
        raise ConnectionError(f"the broker did not take the connection: {', '.join(refused) or 'it was closed'}")
    client.disconnect()
    while client.loop(0.1) == mqtt.MQTT_ERR_SUCCESS and time.monotonic() < until_s:
        continue
