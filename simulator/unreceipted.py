"""What a vehicle has told and not yet got a receipt for; it keeps these messages and sends them again.

A broker's PUBACK is not durable, so only `down/receipt` lets a message be forgotten (design, MQTT contract: Delivery).
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.topics import Uplink

FIRST_WAIT_S = 3.0
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Unreceipted:
    """One kept message; `due_s` is when to send it next, by a monotonic clock in seconds."""

    number: int
    message_id: str
    kind: Uplink
    payload: bytes
    attempts: int = 0
    due_s: float = 0.0


class UnreceiptedStore:
    """The kept messages of one vehicle, oldest first; in a folder too if it is given one, to outlive the process."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._kept: dict[str, Unreceipted] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for kept in sorted(map(_read, folder.glob("*.json")), key=lambda kept: kept.number):
                self._kept[kept.message_id] = kept
        self._next_number = max((kept.number for kept in self._kept.values()), default=0) + 1

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Unreceipted]:
        return iter(tuple(self._kept.values()))

    def keep(self, message_id: str, kind: Uplink, payload: bytes) -> None:
        """Keep a message, due at once. With a folder it is on the disk before this returns."""
        kept = Unreceipted(self._next_number, message_id, kind, payload)
        self._next_number += 1
        if self._folder is not None:
            _write(self._folder, kept)
        self._kept[message_id] = kept

    def due(self, now_s: float) -> list[Unreceipted]:
        """Return the messages whose time to be sent has come, oldest first."""
        return [kept for kept in self._kept.values() if kept.due_s <= now_s]

    def next_due_s(self) -> float | None:
        """Return when the next message is due, None where nothing is kept."""
        return min((kept.due_s for kept in self._kept.values()), default=None)

    def sent(self, message_id: str, now_s: float) -> None:
        """Note that a message went out: it is due again after a wait that doubles each time."""
        kept = self._kept.get(message_id)
        if kept is not None:  # the receipt may overtake the broker's PUBACK
            wait_s = min(FIRST_WAIT_S * 2**kept.attempts, LONGEST_WAIT_S)
            self._kept[message_id] = replace(kept, attempts=kept.attempts + 1, due_s=now_s + wait_s)

    def all_due(self) -> None:
        """Make every message due at once, as after a reconnect."""
        for message_id, kept in self._kept.items():
            self._kept[message_id] = replace(kept, due_s=0.0)

    def settle(self, message_id: str) -> Unreceipted | None:
        """Forget the message that a receipt names and return it, None where it is not kept."""
        kept = self._kept.pop(message_id, None)
        if kept is not None and self._folder is not None:
            _path(self._folder, kept).unlink(missing_ok=True)
        return kept


def _path(folder: Path, kept: Unreceipted) -> Path:
    return folder / f"{kept.number:09d}-{kept.message_id}.json"


def _write(folder: Path, kept: Unreceipted) -> None:
    record = {
        "number": kept.number,
        "messageId": kept.message_id,
        "kind": kept.kind,
        "payload": kept.payload.decode(),
    }
    path = _path(folder, kept)
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _read(path: Path) -> Unreceipted:
    record = json.loads(path.read_text(encoding="utf-8"))
    return Unreceipted(record["number"], record["messageId"], Uplink(record["kind"]), record["payload"].encode())
