"""From events to vehicles: `down/incident` and `down/command`, sent after the commit, at least once."""

from datetime import UTC, datetime, timedelta
from threading import Event as StopSignal
from threading import Thread

import structlog

from db import events
from db.errors import DatabaseError
from db.events import Event
from db.pool import PROMPT_WITHIN_S, Connection, connect
from db.processes import try_lead
from ingest import metrics
from ingest.broker import PROBE_TOPIC, NotDelivered, Outgoing, Session
from ingest.settings import WorkerSettings
from rules.logs import brief
from schemas.base import parse_instant
from schemas.command import CommandMessage
from schemas.incident import ContactCenterInfo, IncidentMessage, Service
from schemas.topics import Downlink, downlink_topic

log = structlog.get_logger()

READER = "downlink"
PAGE = 200
PUBACK_WAIT_S = 4
FROZEN_AFTER_S = 5
INCIDENT_EXPIRY = timedelta(hours=24)
"""A vehicle that was away for longer is told the present state by its next incident, not by an old one."""

_PROBE = Outgoing(PROBE_TOPIC, b"")


class DownlinkSender:
    """Reads the numbered events from where it left off and publishes those that concern vehicles.

    One at a time among all workers (elected). The cursor moves only after the broker's PUBACK, so a kill repeats
    messages and loses none: vehicles know an incident by its cid and a command by its commandId. One that the broker
    refuses while it takes others is passed over, for those behind it: a command is sent again by its job, and an
    incident is told with its next change.
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
                with connect(
                    self._settings.database_url,
                    name="ingest-downlink",
                    autocommit=True,
                    answer_within_s=PROMPT_WITHIN_S,
                ) as conn:
                    self._lead(conn)
            except (DatabaseError, NotDelivered, OSError) as error:
                log.warning("downlink_interrupted", error=brief(error))
            self._stopping.wait(0.5)

    def _lead(self, conn: Connection) -> None:
        while not try_lead(conn, READER, frozen_after_s=FROZEN_AFTER_S):
            if self._stopping.wait(1):
                return
        events.listen(conn, "events_sequenced")
        # Connected only while leading: another worker's session has the same client id. A session of its own each time:
        # what an older one has queued would go out with the expiry of then, a start block long after its time.
        session = Session(self._settings, name="downlink")
        session.start()
        try:
            session.wait_ready(PUBACK_WAIT_S)
            while not self._stopping.is_set():
                if not self._send_page(conn, session):
                    events.wait(conn, timeout_s=0.5)
        finally:
            session.stop()

    def _send_page(self, conn: Connection, session: Session) -> int:
        page = events.after(conn, events.cursor(conn, READER) or 0, limit=PAGE)
        now = datetime.now(UTC)
        told = [to_vehicle(event, now=now, phone=self._settings.contact_center_phone) for event in page]
        messages = [message for message in told if message is not None]
        refused = session.deliver(messages, wait_s=PUBACK_WAIT_S) if messages else []
        # It may take nothing from us at all, by an access list that is out of order: then all of it waits.
        if refused and len(refused) == len(messages) and session.deliver([_PROBE], wait_s=PUBACK_WAIT_S):
            raise NotDelivered("the broker refuses whatever is sent")
        for message in messages:
            kind = message.topic.rsplit("/", 1)[1]
            if message in refused:
                metrics.DOWNLINKS_REFUSED.labels(kind).inc()
                log.error("downlink_refused", kind=kind)
            else:
                metrics.DOWNLINKS.labels(kind).inc()
        if page:
            events.move_cursor(conn, READER, page[-1].sequence)
        return len(page)


def to_vehicle(event: Event, *, now: datetime, phone: str | None) -> Outgoing | None:
    """Return what the vehicle is told of an event; None for nothing.

    A command that has expired is not sent; one that is sent expires in the broker at the same moment.
    """
    if event.type == "COMMAND_ISSUED":
        expires_at = parse_instant(event.data["expiresAt"])
        if expires_at <= now:
            return None
        payload = CommandMessage.model_validate(event.data).model_dump_json(by_alias=True).encode()
        return Outgoing(downlink_topic(event.vin, Downlink.COMMAND), payload, expires_at)
    if event.service not in {Service.SOS, Service.RSA}:
        return None
    message = IncidentMessage(
        cid=event.data["cid"],
        service=Service(event.service),
        status=event.data["status"],
        sequence=event.sequence,
        contact_center=ContactCenterInfo(phone=phone, agent_id=event.data.get("agentId")),
        partner=event.data.get("partner"),
        estimated_arrival=event.data.get("estimatedArrival"),
    )
    payload = message.model_dump_json(by_alias=True).encode()
    return Outgoing(downlink_topic(event.vin, Downlink.INCIDENT), payload, now + INCIDENT_EXPIRY)
