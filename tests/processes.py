"""The product's processes as tests run them: the real ones, killed and started at will."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from db import processes
from db.pool import connect
from ingest.broker import client_id
from mosquitto import pki
from schemas.topics import LaneName
from stack.broker import Broker
from stack.server import Server, ServerCommand

CHECKOUT = Path(__file__).parents[1]


def product_process(name: str, environment: Mapping[str, str], *, log: Path, ready: Callable[[], bool]) -> Server:
    """Return `python -m name`, not started yet; a demonstration unless the environment says otherwise.

    What follows a hyphen in the name is its argument: ingest-bulk.
    """
    settings = [f"{key}={value}" for key, value in ({"TCU_ENVIRONMENT": "demo"} | dict(environment)).items()]
    command = ["env", *settings, sys.executable, "-m", *name.split("-")]
    return Server(ServerCommand(name, command, CHECKOUT, signal.SIGTERM), log=log, ready=ready)


def is_ready(database_url: str, name: str, pid: int | None = None, *, ready: bool = True) -> bool:
    """Tell whether a process of this kind (and id) has reported last that it is ready, or is not."""
    with connect(database_url, name="tests") as conn:
        return any(
            p.ready is ready and p.name.startswith(f"{name}@") and (pid is None or p.name.endswith(f":{pid}"))
            for p in processes.list_all(conn)
        )


def stands_by(database_url: str, pid: int) -> bool:
    """Tell whether this process has reported last that it serves nothing, as others do."""
    with connect(database_url, name="tests") as conn:
        return any(p.name.endswith(f":{pid}") and p.figures["standing_by"] for p in processes.list_all(conn))


def worker_environment(broker: Broker, pki_dir: Path, database_url: str) -> dict[str, str]:
    """Return what the worker reads."""
    credentials, intruder = pki.issue_service(pki_dir, "ingest"), pki.issue_service(pki_dir, "acl-proof")
    return {
        "TCU_ENVIRONMENT": "demo",  # the authority is the one for development
        "TCU_DATABASE_URL": database_url,
        "TCU_MQTT_HOST": broker.host,
        "TCU_MQTT_PORT": str(broker.port),
        "TCU_MQTT_SERVICES_PORT": str(broker.services_port),
        "TCU_ACL_PROOF_CERT": str(intruder.certificate),
        "TCU_ACL_PROOF_KEY": str(intruder.key),
        "TCU_MQTT_CA": str(broker.ca),
        "TCU_MQTT_CERT": str(credentials.certificate),
        "TCU_MQTT_KEY": str(credentials.key),
        "PATH": os.environ["PATH"],
    }


def end_sessions(broker: Broker, pki_dir: Path) -> None:
    """Drop what the broker keeps for a worker, so that the next test's begins with nothing."""
    credentials = pki.issue_service(pki_dir, "ingest")
    for name in (*LaneName, "downlink"):
        drop_session(broker, credentials, client_id(credentials.key, name), port=broker.services_port)


def drop_session(broker: Broker, credentials: pki.Credentials, own_id: str, *, port: int | None = None) -> None:
    """Make the broker forget a durable session, a vehicle's by default, and what it has queued for it."""
    with _session(broker, credentials, own_id, port=port or broker.port, keep_s=0):
        pass


def leave_subscription(broker: Broker, credentials: pki.Credentials, own_id: str, topic_filter: str) -> None:
    """Let the broker keep a durable session of a worker that has subscribed to this."""
    with _session(broker, credentials, own_id, port=broker.services_port, keep_s=3600) as client:
        granted: list[object] = []
        client.on_subscribe = lambda *_: granted.append(None)
        client.subscribe(topic_filter, qos=1)
        while not granted:
            client.loop(0.1)


@contextmanager
def _session(
    broker: Broker, credentials: pki.Credentials, own_id: str, *, port: int, keep_s: int
) -> Iterator[mqtt.Client]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=own_id, protocol=mqtt.MQTTv5)
    client.tls_set(str(broker.ca), str(credentials.certificate), str(credentials.key))
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = keep_s
    client.connect(broker.host, port, clean_start=True, properties=properties)
    while not client.is_connected():
        client.loop(0.1)
    yield client
    client.disconnect()
    while client.loop(0.1) == mqtt.MQTT_ERR_SUCCESS:
        continue
