"""From events to vehicles: `down/incident` and `down/command`, sent after the commit, at least once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event as StopSignal
from threading import Thread

import structlog
from paho.mqtt import client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from db import events
from db.errors import DatabaseError
from db.events import Event
from db.pool import Connection, connect
from db.processes import try_lead
from ingest import metrics
from ingest.broker import make_client
from ingest.settings import WorkerSettings
from schemas.base import parse_instant
from schemas.command import CommandMessage
from schemas.incident import ContactCenterInfo, IncidentMessage, Service
from schemas.topics import Downlink, downlink_topic

log = structlog.get_logger()

READER = "downlink"
PAGE = 200
PUBACK_WAIT_S = 10
INCIDENT_EXPIRY_S = 24 * 3600
"""A vehicle that was away for longer is told the present state by its next incident, not by an old one."""


class NotDelivered(RuntimeError):
    """The broker did not take a message in time; it is sent again."""


class DownlinkSender:
    """Reads the numbered events from where it left off and publishes those that concern vehicles.

    One at a time among all workers (elected). The cursor moves only after the broker's PUBACK, so a kill repeats
    messages and loses none: vehicles know an incident by its cid and a command by its commandId.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._stopping = StopSignal()
        self._thread = Thread(target=self._run, name="downlink")

    @property
    def failed(self) -> bool:
        """True where the thread ended without being asked to."""
        return not self._thread.is_alive() and not self._stopping.is_set()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the page in hand and leave."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with connect(self._settings.database_url, name="ingest-downlink", autocommit=True) as conn:
                    self._lead(conn)
            except (DatabaseError, NotDelivered, OSError) as error:
                log.warning("downlink_interrupted", error=str(error).splitlines()[0])
            self._stopping.wait(0.5)

    def _lead(self, conn: Connection) -> None:
        while not try_lead(conn, READER):
            if self._stopping.wait(1):
                return
        events.listen(conn, "events_sequenced")
        # Connected only while leading: another worker's session has the same client id. One client per connection: what
        # an older one has queued would go out with the expiry of then, a start block long after its time.
        client = make_client(self._settings, "downlink", manual_ack=False)
        client.connect(self._settings.mqtt_host, self._settings.mqtt_port, keepalive=30)
        client.loop_start()
        try:
            while not self._stopping.is_set():
                if not self._send_page(conn, client):
                    events.wait(conn, timeout_s=0.5)
        finally:
            client.disconnect()
            client.loop_stop()

    def _send_page(self, conn: Connection, client: mqtt.Client) -> int:
        page = events.after(conn, events.cursor(conn, READER) or 0, limit=PAGE)
        self._send(client, page)
        if page:
            events.move_cursor(conn, READER, page[-1].sequence)
        return len(page)

    def _send(self, client: mqtt.Client, page: Sequence[Event]) -> None:
        sent = []
        for event in page:
            message = to_vehicle(event, now=datetime.now(UTC), phone=self._settings.contact_center_phone)
            if message is not None:
                topic, payload, expiry_s = message
                properties = Properties(PacketTypes.PUBLISH)
                properties.MessageExpiryInterval = expiry_s
                info = client.publish(topic, payload, qos=1, properties=properties)
                if info.rc != mqtt.MQTT_ERR_SUCCESS:
                    raise NotDelivered("the connection is lost")
                sent.append(info)
                metrics.DOWNLINKS.labels(topic.rsplit("/", 1)[1]).inc()
        for info in sent:
            info.wait_for_publish(PUBACK_WAIT_S)
            if not info.is_published():
                raise NotDelivered(f"no PUBACK within {PUBACK_WAIT_S} s")


def to_vehicle(event: Event, *, now: datetime, phone: str | None) -> tuple[str, bytes, int] | None:
    """Return (topic, payload, expiry in seconds) of what the vehicle is told of an event; None for nothing.

    A command that has expired is not sent; one that is sent expires in the broker at the same moment.
    """
    if event.type == "COMMAND_ISSUED":
        remaining_s = int((parse_instant(event.data["expiresAt"]) - now).total_seconds())
        if remaining_s <= 0:
            return None
        payload = CommandMessage.model_validate(event.data).model_dump_json(by_alias=True).encode()
        return downlink_topic(event.vin, Downlink.COMMAND), payload, remaining_s
    if event.service not in {Service.SOS, Service.RSA}:
        return None
    message = IncidentMessage(
        cid=event.data["cid"],
        service=Service(event.service),
        status=event.data["status"],
        contact_center=ContactCenterInfo(phone=phone, agent_id=event.data.get("agentId")),
        partner=event.data.get("partner"),
        estimated_arrival=event.data.get("estimatedArrival"),
    )
    return (
        downlink_topic(event.vin, Downlink.INCIDENT),
        message.model_dump_json(by_alias=True).encode(),
        INCIDENT_EXPIRY_S,
    )
