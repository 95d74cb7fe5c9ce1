"""A marked SOS through the real path: MQTT → worker → database → event stream, each leg measured.

The API has no vehicle's certificate. It presses as `systemtest`, a service identity that the broker's access list lets
speak for one reserved vehicle, and for that one's presses only.
"""

import queue
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import ValidationError

from api.settings import ApiSettings
from db import sos
from db.events import Event
from db.pool import Connection
from db.sos import SosIncident
from rules.apply import sos as apply
from rules.sos import dump
from schemas.receipt import ReceiptMessage, ReceiptResult
from schemas.sos import EmergencyType, SosCancelRequest, SosMessage, Urgency
from schemas.system_test import TEST_VIN
from schemas.topics import Downlink, Uplink, downlink_topic, uplink_topic
from schemas.vehicle import EngineStatus, Location, VehicleStatus

MOST_S = 12
"""So long may a test take in all: the database ends a transaction that stands for 15 s without a statement."""
MOST_RETRIES = 5
_CONNECT_S = 5
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Link:
    """How to reach the broker as `systemtest`."""

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far the press came: seconds since it was sent, and None for a leg that was not seen to end."""

    sent: int = 0
    cid: str | None = None
    receipt_s: float | None = None
    stored_s: float | None = None
    stream_s: float | None = None
    differing: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def passed(self) -> bool:
        """True where it came all the way, unchanged."""
        return self.reason is None


class Watch:
    """Notes when the streams of this process were given the event of a press."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._arrived = threading.Condition()

    def wants(self, event: Event) -> bool:
        """Note a press of the reserved vehicle; nothing is ever queued. Called on the loop, for each event."""
        if event.vin == TEST_VIN and event.type == "SOS_INITIATED" and event.cid is not None:
            with self._arrived:
                self._seen[event.cid] = time.monotonic()
                self._arrived.notify_all()
        return False

    def seen_at_s(self, cid: str, *, timeout_s: float) -> float | None:
        """Return when the event of this incident came, None where it does not come in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: cid in self._seen, timeout=max(0.0, timeout_s))
            return self._seen.get(cid)


def link(settings: ApiSettings) -> Link | None:
    """Return how to reach the broker, None where this process was given no identity there."""
    named = (settings.mqtt_host, settings.mqtt_ca, settings.system_test_cert, settings.system_test_key)
    host, ca, certificate, key = named
    if host is None or ca is None or certificate is None or key is None:
        return None
    return Link(host, settings.mqtt_port, ca, certificate, key)


def transfer(conn: Connection, broker: Link, watch: Watch, *, timeout_s: float, retries: int) -> Transfer:
    """Return how a press of the reserved vehicle came through; `conn` must see what others commit meanwhile.

    No incident of that vehicle may be open: its press would join that one.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        with _Vehicle(broker, timeout_s=min(timeout_s, _CONNECT_S)) as vehicle:
            message = _message()
            found, sent_at_s = _send(vehicle, message, deadline_s=deadline_s, retries=retries)
    except (OSError, ValueError) as error:  # paho tells a refused certificate as one, a broken file as the other
        return Transfer(reason=f"the broker could not be reached: {type(error).__name__}")
    stored = _stored(conn, found.cid, until_s=min(deadline_s, time.monotonic() + 1))
    if stored is None:
        return replace(found, reason=found.reason or "the press was receipted and is not stored")
    found = replace(found, cid=stored.cid, stored_s=time.monotonic() - sent_at_s, differing=_differing(message, stored))
    seen_at_s = watch.seen_at_s(stored.cid, timeout_s=deadline_s - time.monotonic())
    if seen_at_s is not None:
        found = replace(found, stream_s=seen_at_s - sent_at_s)
    return replace(found, reason=found.reason or _fault(found))


def end_test_incident(conn: Connection, *, now: datetime) -> None:
    """Cancel what a test left open, this one or one that was killed."""
    cid = sos.open_of_vehicle(conn, TEST_VIN, test_call=True)
    if cid is not None:
        over = SosCancelRequest(cid=cid, reason="The system test is over")
        apply.cancel(conn, TEST_VIN, over, actor="SYSTEM", now=now)


def _send(vehicle: "_Vehicle", message: SosMessage, *, deadline_s: float, retries: int) -> tuple[Transfer, float]:
    """Send the press until its receipt, as a vehicle does: the same message again. Return (so far, when first sent)."""
    payload = message.model_dump_json(by_alias=True, exclude_none=True).encode()
    sent_at_s = time.monotonic()
    for sent in range(1, retries + 2):
        left_s = deadline_s - time.monotonic()
        vehicle.publish(payload, expires_s=max(1, round(left_s)))
        receipt = vehicle.receipt_of(message.message_id, timeout_s=left_s / (retries + 2 - sent))
        if receipt is None:
            continue
        found = Transfer(sent, receipt.cid, receipt_s=time.monotonic() - sent_at_s)
        if receipt.result is ReceiptResult.QUARANTINED:
            return replace(found, reason="the worker could not read the press"), sent_at_s
        return found, sent_at_s
    return Transfer(retries + 1, reason="no receipt came in time"), sent_at_s


def _stored(conn: Connection, cid: str | None, *, until_s: float) -> SosIncident | None:
    while True:
        # Without a receipt, whether it was stored all the same tells which leg is broken.
        known = cid or sos.open_of_vehicle(conn, TEST_VIN, test_call=True)
        incident = sos.get(conn, known) if known is not None else None
        if incident is not None or cid is None or time.monotonic() > until_s:
            return incident
        time.sleep(_POLL_S)


def _differing(message: SosMessage, stored: SosIncident) -> tuple[str, ...]:
    place = message.location
    assert place is not None  # noqa: S101 - of our own making
    pairs = {
        "vin": (TEST_VIN, stored.vin),
        "testCall": (True, stored.test_call),
        "timestamp": (message.timestamp, stored.occurred_at),
        "emergencyType": (message.emergency_type, stored.emergency_type),
        "urgency": (message.urgency, stored.urgency),
        "latitude": (place.latitude, stored.latitude),
        "longitude": (place.longitude, stored.longitude),
        "accuracy": (place.accuracy, stored.accuracy_m),
        "description": (message.description, stored.description),
        "passengerCount": (message.passenger_count, stored.passenger_count),
        "vehicleStatus": (dump(message.vehicle_status), stored.vehicle_status),
    }
    return tuple(name for name, (said, kept) in pairs.items() if said != kept)


def _fault(found: Transfer) -> str | None:
    if found.differing:
        return f"stored otherwise than sent: {', '.join(found.differing)}"
    return None if found.stream_s is not None else "the event did not reach the streams in time"


def _message() -> SosMessage:
    now = datetime.now(UTC)
    return SosMessage(
        message_id=str(uuid4()),
        timestamp=now.replace(microsecond=now.microsecond // 1000 * 1000),  # as exact as the wire is
        emergency_type=EmergencyType.BREAKDOWN,
        urgency=Urgency.LOW,
        location=Location(latitude=37.5665, longitude=126.978, accuracy=5.2),
        description=f"System test {uuid4()}",
        passenger_count=0,
        vehicle_status=VehicleStatus(drivable=True, engine_status=EngineStatus.OFF, battery_voltage=12.6),
        test_call=True,
    )


class _Vehicle:
    """The reserved vehicle, connected. Raises OSError, TimeoutError included, where the broker does not take it."""

    def __init__(self, broker: Link, *, timeout_s: float) -> None:
        self._receipts: queue.Queue[ReceiptMessage] = queue.Queue()
        self._subscribed = threading.Event()
        self._timeout_s = timeout_s
        self._broker = broker
        name = f"systemtest-{uuid4()}"
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self._client.tls_set(str(broker.ca), str(broker.certificate), str(broker.key))
        self._client.connect_timeout = timeout_s
        self._client.on_connect = lambda client, *_: client.subscribe(downlink_topic(TEST_VIN, Downlink.RECEIPT), qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message

    def __enter__(self) -> "_Vehicle":
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        if not self._subscribed.wait(self._timeout_s):
            self._leave()
            raise TimeoutError("the broker did not grant the subscription in time")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._leave()

    def publish(self, payload: bytes, *, expires_s: int) -> None:
        """Press; a press that nobody has taken by the end of the test is not to come after it."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = expires_s
        self._client.publish(uplink_topic(TEST_VIN, Uplink.SOS), payload, qos=1, properties=properties)

    def receipt_of(self, message_id: str, *, timeout_s: float) -> ReceiptMessage | None:
        """Return the receipt of this message, None where none comes in time."""
        until_s = time.monotonic() + timeout_s
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                receipt = self._receipts.get(timeout=left_s)
            except queue.Empty:
                break
            if receipt.message_id == message_id:
                return receipt
        return None

    def _leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        try:
            self._receipts.put(ReceiptMessage.model_validate_json(message.payload))
        except ValidationError:
            return  # no receipt of this contract: the test fails for want of one
