"""Several workers at once, by shared subscriptions: only on a broker that was seen to keep their messages.

A broker may forget what came for `$share/…` between its restart and the next subscription (Mosquitto 2.0 loses all of
it), and would lose an SOS so. Whether it does is tried, not read in a manual.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from db import broker_checks
from db.pool import Connection
from ingest.broker import NotDelivered, Outgoing, Session
from ingest.settings import WorkerSettings
from schemas.system_test import TEST_VIN
from schemas.topics import PREFIX

log = structlog.get_logger()

CHECK_TOPIC = f"{PREFIX}/{TEST_VIN}/down/check"
GROUP = "sharing-check"
MESSAGES = 20
WAIT_S = 10
RESTART_WAIT_S = 120


class NotShared(RuntimeError):
    """This broker may not be shared by several workers; the text says what to do."""


def require_check(conn: Connection, broker: str) -> None:
    """Return where this broker (`host:port`) passed its check.

    Raises NotShared where it did not, and where it was never tried.
    """
    found = broker_checks.get(conn, broker)
    if found is None:
        raise NotShared(
            f"TCU_INGEST_GROUP is set, but the broker {broker} was never tried: run `python -m ingest check-sharing`, "
            "or leave the setting out, and further workers stand by"
        )
    if not found.keeps_shared:
        raise NotShared(
            f"TCU_INGEST_GROUP is set, but the broker {broker} lost messages of a shared subscription when it was "
            f"tried on {found.checked_at:%Y-%m-%d}: leave the setting out, and further workers stand by"
        )


def check(settings: WorkerSettings, conn: Connection, *, restart: Callable[[], None], shared: bool = True) -> bool:
    """Try whether a durable session on a shared subscription outlives the broker's restart, and note the answer.

    Messages published after `restart` and before the session is back must arrive. Raises NotDelivered where the broker
    does not come back, or the messages do not even arrive without a restart: then nothing is noted.
    """
    topic_filter = f"$share/{GROUP}/{CHECK_TOPIC}" if shared else CHECK_TOPIC
    before, after = _messages(), _messages()
    if _receive(settings, topic_filter, before, sends=True) < MESSAGES:
        raise NotShared(f"not all of {MESSAGES} messages arrived, without any restart: see the broker's access list")
    restart()
    _send(settings, after, wait_s=RESTART_WAIT_S)
    arrived = _receive(settings, topic_filter, after, sends=False)
    log.info("sharing_checked", broker=settings.broker, published=MESSAGES, arrived=arrived)
    keeps = arrived == MESSAGES
    if shared:
        broker_checks.put(conn, settings.broker, keeps_shared=keeps, at=datetime.now(UTC))
    return keeps


def _messages() -> list[Outgoing]:
    # Unlike any other's: an earlier check may have left some in the session.
    return [Outgoing(CHECK_TOPIC, uuid4().bytes) for _ in range(MESSAGES)]


def _receive(settings: WorkerSettings, topic_filter: str, messages: list[Outgoing], *, sends: bool) -> int:
    """Return how many of these messages the durable session gets; with `sends`, they are sent meanwhile."""
    session = Session(settings, name=GROUP, filters=[topic_filter])
    session.start()
    try:
        session.wait_ready(WAIT_S)
        if sends:
            _send(settings, messages, wait_s=WAIT_S)
        awaited = {message.payload for message in messages}
        deadline_s = time.monotonic() + WAIT_S
        while awaited and time.monotonic() < deadline_s:
            received = session.inbox.take(most=MESSAGES, linger_s=0, wait_s=0.5)
            session.settle(received, ())
            awaited -= {message.payload for message in received}
    finally:
        session.stop()
    return MESSAGES - len(awaited)


def _send(settings: WorkerSettings, messages: list[Outgoing], *, wait_s: float) -> None:
    publisher = Session(settings, name=f"{GROUP}-publisher")
    publisher.start()
    try:
        publisher.wait_ready(wait_s)
        if publisher.deliver(messages, wait_s=WAIT_S):
            raise NotDelivered("the broker refused a message")
    finally:
        publisher.stop()
