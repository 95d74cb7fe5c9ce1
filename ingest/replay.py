"""Messages that an operator hands in again from the quarantine: the same path as a fresh one."""

from datetime import datetime

from db import messages
from db.errors import Refused
from db.pool import Connection
from ingest.inbox import Received
from ingest.pipeline import Outcome, store, store_refused

PAGE = 100


def replay(conn: Connection, *, now: datetime) -> list[Outcome]:
    """Store what was asked to be replayed and return what became of it; what fails again is quarantined again.

    A message counts as received when it first was, so that its clock is judged as of then. Nothing is receipted: the
    vehicle was told QUARANTINED and has forgotten it.
    """
    outcomes: list[Outcome] = []
    with conn.transaction():
        for item in messages.take_replays(conn, at=now, limit=PAGE):
            received = Received(item.topic, item.payload, item.first_received_at)
            try:
                outcomes += store(conn, [received], known_vins=set(), now=now)
            except Refused as error:
                outcomes.append(store_refused(conn, received, error, now=now))
    return outcomes
