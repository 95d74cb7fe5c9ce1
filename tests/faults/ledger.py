"""What vehicles sent and were promised, against what the database holds. Pure: the checker of every fault test."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from schemas.base import format_instant, parse_instant
from schemas.command import CommandType
from schemas.receipt import ReceiptResult
from schemas.topics import Uplink

TIME_SYNC_MOST = 3
"""An hour and vehicle (design, section 4, Time)."""
HOUR = timedelta(hours=1)


@dataclass(slots=True)
class Entry:
    """One message that its vehicle keeps until the receipt, and what the receipt said; None while there is none.

    `episode` tells presses of one emergency from those of the next of the same vehicle; `command_id` is what a
    command-ack answers.
    """

    vin: str
    kind: Uplink
    message_id: str
    episode: int = 0
    command_id: str | None = None
    result: ReceiptResult | None = None
    cid: str | None = None


class Claimed(NamedTuple):
    """A row of `received_messages`."""

    vin: str
    kind: str
    cid: str | None


class Violation(NamedTuple):
    """A curfew violation that was not taken back; `ended_at` is None while it lasts."""

    vin: str
    started_at: datetime
    ended_at: datetime | None


class Command(NamedTuple):
    """A command that was sent to a vehicle."""

    vin: str
    type: str
    issued_at: datetime
    ack_status: str | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds. Counts are per messageId; incidents, calls and commands per their own id."""

    claimed: Mapping[str, Claimed] = field(default_factory=dict)
    engine: Counter[str] = field(default_factory=Counter)
    status: Counter[str] = field(default_factory=Counter)
    incidents: Mapping[str, str] = field(default_factory=dict)
    """The VIN of each cid, SOS and RSA."""
    calls: Counter[str] = field(default_factory=Counter)
    """Voice calls of each cid."""
    violations: Sequence[Violation] = ()
    commands: Mapping[str, Command] = field(default_factory=dict)


def findings(entries: Sequence[Entry], stored: Stored, *, driven: Mapping[str, Sequence[datetime]]) -> list[str]:
    """Return what is wrong, one line each; empty where every promise was kept, once.

    `driven` is when each vehicle that is under curfew all day started its engine, which it stopped again each time.
    """
    return [
        *_unreceipted(entries),
        *_lost(entries, stored),
        *_duplicate_incidents(entries, stored),
        *(f"duplicate status {one}: stored {count} times" for one, count in stored.status.items() if count > 1),
        *_wrong_violations(stored, driven),
        *_duplicate_commands(stored),
    ]


def _unreceipted(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.result is None:
            yield f"{_named(entry)} has no receipt"
        elif entry.result is ReceiptResult.QUARANTINED:
            yield f"{_named(entry)} was quarantined, and nothing was wrong with it"


def _lost(entries: Sequence[Entry], stored: Stored) -> Iterator[str]:
    for entry in entries:
        if entry.result not in {ReceiptResult.STORED, ReceiptResult.DUPLICATE}:
            continue
        claimed = stored.claimed.get(entry.message_id)
        if claimed is None or (claimed.vin, claimed.kind) != (entry.vin, entry.kind):
            yield f"lost {_named(entry)}: receipted, and the database does not know it"
        elif (why := _without_effect(entry, claimed, stored)) is not None:
            yield f"lost {_named(entry)}: receipted, and {why}"


def _without_effect(entry: Entry, claimed: Claimed, stored: Stored) -> str | None:
    match entry.kind:
        case Uplink.ENGINE:
            count = stored.engine[entry.message_id]
            return None if count == 1 else f"{count} engine events are stored"
        case Uplink.SOS | Uplink.RSA | Uplink.CALL:
            if entry.cid is None or claimed.cid != entry.cid or stored.incidents.get(entry.cid) != entry.vin:
                return f"the vehicle was told {entry.cid}, the message belongs to {claimed.cid}"
            if entry.kind is Uplink.CALL and stored.calls[entry.cid] != 1:
                return f"{entry.cid} has {stored.calls[entry.cid]} calls"
            return None
        case Uplink.COMMAND_ACK:
            command = stored.commands.get(entry.command_id or "")
            return None if command is not None and command.vin == entry.vin else "its command is unknown"
        case _:
            raise ValueError(f"{entry.kind} has no receipt")


def _duplicate_incidents(entries: Sequence[Entry], stored: Stored) -> Iterator[str]:
    told: dict[tuple[str, Uplink, int], set[str]] = defaultdict(set)
    for entry in entries:
        if entry.kind in {Uplink.SOS, Uplink.RSA} and entry.cid is not None:
            told[entry.vin, entry.kind, entry.episode].add(entry.cid)
    for (vin, kind, episode), cids in told.items():
        if len(cids) > 1:
            yield f"duplicate incidents of {kind} {episode} of {vin}: {', '.join(sorted(cids))}"
    episodes = Counter(cid for cids in told.values() for cid in cids)
    yield from (f"{cid} took in {count} emergencies" for cid, count in episodes.items() if count > 1)
    for cid, vin in stored.incidents.items():
        if cid not in episodes:
            yield f"duplicate incident {cid} of {vin}: nobody was told of it"


def _wrong_violations(stored: Stored, driven: Mapping[str, Sequence[datetime]]) -> Iterator[str]:
    of_vin: dict[str, list[Violation]] = defaultdict(list)
    for violation in stored.violations:
        of_vin[violation.vin].append(violation)
    for vin in sorted({*of_vin, *driven}):
        found = sorted(of_vin[vin], key=lambda violation: violation.started_at)
        starts = [_as_on_the_wire(at) for at in driven.get(vin, ())]
        if len(found) != len(starts):
            told = {violation.started_at for violation in found}
            without = ", ".join(f"{at:%H:%M:%S.%f}" for at in starts if at not in told)
            yield f"{len(found)} violations of {vin}, which drove {len(starts)} times; of no violation: {without}"
        for one, next_one in pairwise(found):
            if one.ended_at is None or next_one.started_at < one.ended_at:
                yield f"duplicate violation of {vin} at {next_one.started_at:%H:%M:%S}"


def _as_on_the_wire(at: datetime) -> datetime:
    return parse_instant(format_instant(at))


def _duplicate_commands(stored: Stored) -> Iterator[str]:
    syncs: dict[str, list[datetime]] = defaultdict(list)
    for command in stored.commands.values():
        if command.type == CommandType.TIME_SYNC:
            syncs[command.vin].append(command.issued_at)
    for vin, unsorted in syncs.items():
        times = sorted(unsorted)
        if any(later - first < HOUR for first, later in zip(times, times[TIME_SYNC_MOST:], strict=False)):
            yield f"duplicate commands: {len(times)} TIME_SYNC to {vin}"
    warnings = Counter(c.vin for c in stored.commands.values() if c.type == CommandType.IN_VEHICLE_WARNING)
    violations = Counter(violation.vin for violation in stored.violations)
    for vin, count in warnings.items():
        if count > violations[vin]:
            yield f"duplicate commands: {count} warnings to {vin} for {violations[vin]} violations"


def _named(entry: Entry) -> str:
    return f"{entry.kind} {entry.message_id} of {entry.vin}"
