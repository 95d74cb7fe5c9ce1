"""What the backend must have made of a young driver's night. Pure; each raises StoryFailed where it made another."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from schemas.base import parse_instant
from schemas.curfew import CurfewEvent
from simulator.nights import Night
from simulator.public_api import Json
from simulator.stage import StoryFailed, expect

CORRECTIONS_MOST = 3
"""In an hour (design, section 4, Time)."""

Trip = tuple[datetime, datetime]
"""When the engine was started and stopped."""

_WIRE = timedelta(milliseconds=1)
"""Instants on the wire have milliseconds."""
_SKEW = timedelta(seconds=5)
"""The server's clock need not be the simulator's."""
_HOUR = timedelta(hours=1)


def is_at(told: str | None, instant: datetime) -> bool:
    """Tell whether the API means this instant."""
    return told is not None and abs(parse_instant(told) - instant) < _WIRE


def night(explained: Json, expected: Night) -> None:
    """The window that holds an instant is this night, as long as the clock change made it."""
    window = explained["window"]
    if window is None or not (
        is_at(window["utc"]["start"], expected.begins) and is_at(window["utc"]["end"], expected.ends)
    ):
        raise StoryFailed(f"curfew/explain gives the window {window}, expected {expected.begins} to {expected.ends}")
    length = parse_instant(window["local"]["end"]) - parse_instant(window["local"]["start"])
    expect("the length of the night by the local times of curfew/explain", length, wanted=expected.lasts)


def flagged(tried: Json, expected: Sequence[Trip]) -> None:
    """A dry run flags these times and nothing else, and its minutes are their sum."""
    found = [(entry["startTime"], entry["endTime"]) for entry in tried["flagged"]]
    _same_times("curfew/dry-run flags", found, expected)
    minutes = sum((end - start) // timedelta(minutes=1) for start, end in expected)
    expect("the minutes of curfew/dry-run", tried["minutes"], wanted=minutes)


def told_late(violations: Sequence[Json], trips: Sequence[Trip]) -> None:
    """There is one violation for each trip, from start to stop, each marked as detected late."""
    found = [(entry["timestamp"], entry["endedAt"]) for entry in violations]
    _same_times("curfew/violations lists", found, trips)
    for entry in violations:
        what = entry["violationId"]
        expect(f"resolution of {what}", entry["resolution"], wanted="ENGINE_STOP")
        expect(f"detectedLate of {what}", entry["detectedLate"], wanted=True)


def quiet(events: Iterable[CurfewEvent], violation_ids: Iterable[str]) -> int:
    """The stream told of these violations, and of nothing by an alert that is fresh; return how many events."""
    found = list(events)
    for violation_id in violation_ids:
        if not any(event.violation_id == violation_id and event.type == "CURFEW_VIOLATION" for event in found):
            raise StoryFailed(f"the stream did not tell of {violation_id}")
    for event in found:
        what = f"{event.type} of {event.violation_id} on the stream"
        expect(f"priority of {what}", event.priority, wanted="LOW")
        expect(f"detectedLate of {what}", event.data.get("detectedLate"), wanted=True)
    return len(found)


def received(what: str, told: str | None, sent_at: datetime, receipt_at: datetime) -> None:
    """An event's time is that of its receiving: between sending and receipt, whatever the vehicle's clock said."""
    if told is None or not sent_at - _SKEW <= parse_instant(told) <= receipt_at + _SKEW:
        raise StoryFailed(f"{what} is at {told}, expected the time of receiving, {sent_at} to {receipt_at}")


def corrections_left(commands: Iterable[Json], now: datetime) -> int:
    """Return how many clock corrections an hour still allows, from the TIME_SYNC commands so far."""
    issued = [parse_instant(command["issuedAt"]) for command in commands]
    return max(0, CORRECTIONS_MOST - sum(at > now - _HOUR for at in issued))


def block_taken(block: Json, window_end: datetime) -> None:
    """The vehicle has executed the block, which holds until the curfew's end."""
    expect("outcome of the start block", block["outcome"], wanted="EXECUTED")
    expect("the vehicle's answer to the start block", block["ackStatus"], wanted="EXECUTED")
    if not is_at(block["parameters"]["until"], window_end):
        raise StoryFailed(f"the start block lasts until {block['parameters']['until']}, expected {window_end}")


def block_refused(block: Json) -> None:
    """The vehicle has refused the block because its engine runs."""
    expect("outcome of the start block", block["outcome"], wanted="REJECTED")
    expect("the reason to refuse the start block", block["ackReason"], wanted="the engine is running")


def block_void(block: Json, now: datetime) -> None:
    """The block is over without the vehicle ever having answered it."""
    expect("the vehicle's answer to the start block", block["ackStatus"], wanted=None)
    if block["outcome"] not in {"EXPIRED", "WITHDRAWN"}:
        raise StoryFailed(f"outcome of the start block is {block['outcome']!r}, expected EXPIRED or WITHDRAWN")
    if not parse_instant(block["expiresAt"]) <= now:
        raise StoryFailed(f"the start block is void only at {block['expiresAt']}, after {now}")


def _same_times(what: str, found: Sequence[tuple[str, str | None]], expected: Sequence[Trip]) -> None:
    if len(found) != len(expected) or not all(
        is_at(start, trip[0]) and is_at(end, trip[1]) for (start, end), trip in zip(found, expected, strict=False)
    ):
        raise StoryFailed(f"{what} {found}, expected {[(f'{start}', f'{end}') for start, end in expected]}")
