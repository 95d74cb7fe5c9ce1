"""The private servers of a benchmark: durable as in production, and a publisher that may speak for the whole fleet."""

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from uuid import uuid4

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from db.migrate import migrate
from db.pool import connect
from mosquitto import pki
from stack.broker import Broker, start_mosquitto
from stack.places import temporary_state
from stack.postgres import Postgres, start_postgres

PUBLISHER = "bench"
PUBLISHED_AT_ONCE = 20_000
"""paho queues at most 65,535 messages."""


@dataclass(frozen=True, slots=True)
class Servers:
    """A broker and a database of the benchmark's own."""

    postgres: Postgres
    broker: Broker
    pki_dir: Path

    def new_database(self) -> str:
        """Return the URL of a migrated empty database."""
        name = f"bench_{uuid4().hex}"
        with connect(self.postgres.url, name="bench", autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}".encode())
        url = self.postgres.database_url(name)
        with connect(url, name="bench", autocommit=True) as conn:
            migrate(conn)
        return url


@contextmanager
def servers() -> Iterator[Servers]:
    """Start both; stopped and removed at the end."""
    with temporary_state() as database_state, temporary_state() as broker_state:
        pki_dir = broker_state / "pki"
        pki.issue_server(pki_dir)
        for name in ("ingest", PUBLISHER):
            pki.issue_service(pki_dir, name)
        postgres = start_postgres(database_state)
        broker = start_mosquitto(broker_state, pki_dir)
        acl = broker_state / "mosquitto" / "acl"
        acl.write_text(f"{acl.read_text()}\nuser {PUBLISHER}\ntopic write tcu/v1/+/up/#\n")
        os.kill(broker.pid, signal.SIGHUP)  # reads the access list again
        try:
            yield Servers(postgres, broker, pki_dir)
        finally:
            broker.stop()
            postgres.stop()


def publish(parts: Servers, messages: Iterable[tuple[str, bytes]]) -> int:
    """Publish all, QoS 1, and return their number when the broker has them."""
    credentials = pki.issue_service(parts.pki_dir, PUBLISHER)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"bench-{uuid4()}", protocol=mqtt.MQTTv5)
    client.tls_set(str(parts.broker.ca), str(credentials.certificate), str(credentials.key))
    client.max_inflight_messages_set(2000)
    connected: queue.Queue[str] = queue.Queue()
    client.on_connect = lambda *_: connected.put("yes")
    client.connect(parts.broker.host, parts.broker.services_port)
    client.loop_start()
    connected.get(timeout=30)
    count = 0
    for part in batched(messages, PUBLISHED_AT_ONCE):
        sent = [client.publish(topic, payload, qos=1) for topic, payload in part]
        for info in sent:
            info.wait_for_publish(120)
        count += len(sent)
    client.disconnect()
    client.loop_stop()
    return count


def batched(messages: Iterable[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    """Give the messages in lists of at most so many."""
    waiting = iter(messages)
    while part := list(islice(waiting, size)):
        yield part


def subscriber_command(parts: Servers, *, count: int | None) -> list[str]:
    """Return the `mosquitto_sub` that only counts: the ceiling. Without a count it leaves once it is subscribed."""
    credentials = pki.issue_service(parts.pki_dir, "ingest")
    ending = ["-E"] if count is None else ["-C", str(count)]
    return [
        "mosquitto_sub", "-V", "mqttv5", "-h", parts.broker.host, "-p", str(parts.broker.services_port),
        "--cafile", str(parts.broker.ca), "--cert", str(credentials.certificate), "--key", str(credentials.key),
        "-q", "1", "-c", "-x", "3600", "-i", "bench-ceiling", "-t", "tcu/v1/+/up/status", *ending,
    ]  # fmt: skip


def worker(parts: Servers, database_url: str, log: Path) -> subprocess.Popen[bytes]:
    """Start `python -m ingest` on this database."""
    credentials = pki.issue_service(parts.pki_dir, "ingest")
    environment = {
        **os.environ,
        "TCU_DATABASE_URL": database_url,
        "TCU_MQTT_HOST": parts.broker.host,
        "TCU_MQTT_SERVICES_PORT": str(parts.broker.services_port),
        "TCU_MQTT_CA": str(parts.broker.ca),
        "TCU_MQTT_CERT": str(credentials.certificate),
        "TCU_MQTT_KEY": str(credentials.key),
    }
    with log.open("ab") as file:
        return subprocess.Popen([sys.executable, "-m", "ingest"], env=environment, stdout=file, stderr=file)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a worker to leave and wait for it."""
    process.send_signal(signal.SIGTERM)
    process.wait(60)
