"""The checker finds what it is there to find."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from schemas.receipt import ReceiptResult
from schemas.topics import Uplink
from tests.faults.ledger import Claimed, Command, Entry, Stored, Violation, findings

CAR = "KMHFAVLTS00000001"
NIGHT = datetime(2026, 3, 9, 22, tzinfo=UTC)


def minutes(number: float) -> datetime:
    return NIGHT + timedelta(minutes=number)


STORED = ReceiptResult.STORED
ENTRIES = [
    Entry(CAR, Uplink.SOS, "s1", 0, None, STORED, "SOS_1"),
    Entry(CAR, Uplink.SOS, "s2", 0, None, ReceiptResult.DUPLICATE, "SOS_1"),
    Entry(CAR, Uplink.SOS, "s3", 1, None, STORED, "SOS_2"),
    Entry(CAR, Uplink.RSA, "r1", 0, None, STORED, "RSA_1"),
    Entry(CAR, Uplink.CALL, "c1", 0, None, STORED, "SOS_1"),
    Entry(CAR, Uplink.ENGINE, "e1", 0, None, STORED),
    Entry(CAR, Uplink.COMMAND_ACK, "a1", 0, "warn", STORED),
]
GOOD = Stored(
    claimed={e.message_id: Claimed(CAR, e.kind, e.cid) for e in ENTRIES},
    engine=Counter(e1=1),
    status=Counter(p1=1),
    incidents={"SOS_1": CAR, "SOS_2": CAR, "RSA_1": CAR},
    calls=Counter(SOS_1=1, SOS_2=1),
    violations=[Violation(CAR, minutes(0), minutes(5)), Violation(CAR, minutes(6), None)],
    commands={
        "warn": Command(CAR, "IN_VEHICLE_WARNING", minutes(0), "EXECUTED"),
        **{f"sync{n}": Command(CAR, "TIME_SYNC", minutes(n), None) for n in range(3)},
        "later": Command(CAR, "TIME_SYNC", minutes(60), None),
    },
)
DRIVEN = {CAR: [minutes(0), minutes(6)]}


def test_where_every_promise_was_kept_nothing_is_found() -> None:
    assert findings(ENTRIES, GOOD, driven=DRIVEN) == []


def without(message_id: str) -> Stored:
    return replace(GOOD, claimed={k: v for k, v in GOOD.claimed.items() if k != message_id})


BROKEN = {
    "a lost message": (without("e1"), "lost engine e1"),
    "a lost engine event": (replace(GOOD, engine=Counter()), "0 engine events"),
    "an engine event stored twice": (replace(GOOD, engine=Counter(e1=2)), "2 engine events"),
    "a message of another vehicle": (
        replace(GOOD, claimed={**GOOD.claimed, "e1": Claimed("another", "engine", None)}),
        "lost engine e1",
    ),
    "a lost incident": (replace(GOOD, incidents={"SOS_2": CAR, "RSA_1": CAR}), "lost sos s1"),
    "a press that belongs to another incident": (
        replace(GOOD, claimed={**GOOD.claimed, "s1": Claimed(CAR, "sos", "SOS_2")}),
        "was told SOS_1, the message belongs to SOS_2",
    ),
    "a duplicate incident": (replace(GOOD, incidents={**GOOD.incidents, "SOS_3": CAR}), "duplicate incident SOS_3"),
    "a lost call": (replace(GOOD, calls=Counter(SOS_2=1)), "SOS_1 has 0 calls"),
    "a duplicate status": (replace(GOOD, status=Counter(p1=2)), "duplicate status p1"),
    "a missing violation": (replace(GOOD, violations=GOOD.violations[:1]), f"of no violation: {minutes(6):%H:%M:%S}"),
    "a duplicate violation": (
        replace(GOOD, violations=[Violation(CAR, minutes(0), minutes(5)), Violation(CAR, minutes(4), None)]),
        "duplicate violation",
    ),
    "a lost command": (
        replace(GOOD, commands={k: v for k, v in GOOD.commands.items() if k != "warn"}),
        "its command is unknown",
    ),
    "a fourth clock command in an hour": (
        replace(GOOD, commands={**GOOD.commands, "sync4": Command(CAR, "TIME_SYNC", minutes(59), None)}),
        "5 TIME_SYNC",
    ),
    "more warnings than violations": (
        replace(
            GOOD,
            commands={**GOOD.commands}
            | {f"w{n}": Command(CAR, "IN_VEHICLE_WARNING", minutes(n), None) for n in range(2)},
        ),
        "3 warnings",
    ),
}


@pytest.mark.parametrize(("stored", "said"), BROKEN.values(), ids=BROKEN)
def test_it_finds(stored: Stored, said: str) -> None:
    assert [line for line in findings(ENTRIES, stored, driven=DRIVEN) if said in line]


BROKEN_PROMISES = {
    "no receipt": (Entry(CAR, Uplink.ENGINE, "e1"), "engine e1 of KMHFAVLTS00000001 has no receipt"),
    "a sound message in quarantine": (
        Entry(CAR, Uplink.ENGINE, "e1", result=ReceiptResult.QUARANTINED),
        "was quarantined",
    ),
    "two incidents for one emergency": (Entry(CAR, Uplink.SOS, "s3", 0, None, STORED, "SOS_2"), "duplicate incidents"),
    "one incident for two emergencies": (Entry(CAR, Uplink.SOS, "s2", 2, None, STORED, "SOS_1"), "took in 2"),
}


@pytest.mark.parametrize(("entry", "said"), BROKEN_PROMISES.values(), ids=BROKEN_PROMISES)
def test_it_finds_of_a_vehicle(entry: Entry, said: str) -> None:
    entries = [entry if one.message_id == entry.message_id else one for one in ENTRIES]
    assert [line for line in findings(entries, GOOD, driven=DRIVEN) if said in line]
