"""Messages that an operator hands in again from the quarantine: the same path as a fresh one."""

import time
from datetime import datetime

from db import incidents, messages
from db.errors import Busy, DatabaseError, Refused
from db.pool import Connection
from ingest.inbox import Received
from ingest.pipeline import Outcome, store, store_refused

MOST_S = 0.5
"""For one round: whoever replays has a lease to renew meanwhile."""


def replay(conn: Connection, *, now: datetime) -> list[Outcome]:
    """Store what was asked to be replayed and return what became of it; what fails again is quarantined again.

    Each in a transaction of its own, in which it waits little for locks: what it does not get to is replayed in a later
    round. A message counts as received when it first was, so that its clock is judged as of then. Nothing is receipted:
    the vehicle was told QUARANTINED and has forgotten it. Needs an autocommit connection.
    """
    outcomes: list[Outcome] = []
    ends_s = time.monotonic() + MOST_S
    while time.monotonic() < ends_s and messages.replay_awaited(conn):
        try:
            outcome = _replay_next(conn, now=now)
        except Busy:
            break
        if outcome is None:
            break
        outcomes.append(outcome)
    return outcomes


def _replay_next(conn: Connection, *, now: datetime) -> Outcome | None:
    with conn.transaction():
        messages.wait_little(conn)
        incidents.lock(conn)  # first, whatever the message is: a press that has it may want the same quarantined bytes
        item = messages.take_replay(conn, at=now)
        if item is None:
            return None
        received = Received(item.topic, item.payload, item.first_received_at)
        try:
            (outcome,) = store(conn, [received], known_vins=set(), now=now)
        except Exception as error:  # an error of ours too, as in the lane: the worker would end by it again and again
            if isinstance(error, DatabaseError) and not isinstance(error, Refused):
                raise
            outcome = store_refused(conn, received, error, now=now)
    return outcome
