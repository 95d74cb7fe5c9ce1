"""When did it happen: the vehicle's own time where it can be believed, else the moment of receiving."""

from datetime import datetime, timedelta
from typing import NamedTuple

AHEAD_MAX = timedelta(seconds=60)
LATE_MAX = timedelta(days=7)
JUDGED_BACK = LATE_MAX + timedelta(days=1)
"""How far before an instant its judgement looks for the engine's last stop."""
LATE_AFTER = timedelta(minutes=5)
"""Events older than this were not seen as they happened; alerts on them would not be fresh (design, section 4)."""


class EventTime(NamedTuple):
    """The instant that counts, and what is to be said of it."""

    occurred_at: datetime
    clock_suspect: bool
    detected_late: bool


def event_time(reported_at: datetime | None, received_at: datetime) -> EventTime:
    """Return the event's time (design, section 4, Time).

    A report that is missing, more than 60 s ahead or more than 7 days old gives the time of receiving, marked: so no
    impossible date can create a chunk or hide behind newer state.
    """
    if reported_at is not None:
        age = received_at - reported_at
        if -AHEAD_MAX <= age <= LATE_MAX:
            return EventTime(reported_at, clock_suspect=False, detected_late=age > LATE_AFTER)
    return EventTime(received_at, clock_suspect=True, detected_late=False)
