"""The bounded buffer between the broker session, which fills it, and the lane, which stores from it."""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Condition
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ingest.decode import Step


class Received(NamedTuple):
    """A message as it came, and which delivery it was: packet id (none at QoS 0) and connection (MQTT 5 §4.3.2).

    `step` is what it was decoded to, None where nobody has yet.
    """

    topic: str
    payload: bytes
    received_at: datetime
    packet_id: int | None = None
    connection: int = 0
    step: "Step | None" = None

    def as_step(self, step: "Step | None") -> "Received":
        """Return the same with its step, in half of the time that `_replace` takes."""
        return Received(self.topic, self.payload, self.received_at, self.packet_id, self.connection, step)


class Inbox:
    """Messages waiting to be stored, in the order received.

    `full` turns true at a bound of messages or bytes, and false again at half of both: the session then pauses and
    resumes reading, so that a backlog waits in the broker and not in this process. `on_room` is called on the way back.
    """

    def __init__(self, *, messages_max: int, bytes_max: int, on_room: Callable[[], None]) -> None:
        self._waiting: deque[Received] = deque()
        self._bytes = 0
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._changed = Condition()
        self._on_room = on_room
        self._closed = False
        self.full = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def oldest_at(self) -> datetime | None:
        """When the message that has waited longest was received, None while nothing waits."""
        with self._changed:
            return self._waiting[0].received_at if self._waiting else None

    def put(self, messages: Sequence[Received]) -> None:
        """Add messages. Never waits: the session stops reading while `full`."""
        with self._changed:
            self._waiting.extend(messages)
            self._bytes += sum(len(message.payload) for message in messages)
            self.full = self.full or len(self._waiting) >= self._messages_max or self._bytes >= self._bytes_max
            self._changed.notify()

    def take(self, *, most: int, linger_s: float, wait_s: float | None = None) -> list[Received]:
        """Wait for messages and return up to `most`, giving a small batch `linger_s` to grow.

        Empty when closed, or when none came within `wait_s`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout=wait_s)
            if not self._closed and len(self._waiting) < most:
                self._changed.wait_for(lambda: len(self._waiting) >= most or self._closed, timeout=linger_s)
            if self._closed:
                return []
            batch = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._bytes -= sum(len(message.payload) for message in batch)
            room = self._make_room()
        if room:
            self._on_room()
        return batch

    def clear(self) -> None:
        """Drop what waits: the connection is gone, and the broker will deliver it all again."""
        with self._changed:
            self._waiting.clear()
            self._bytes = 0
            self._make_room()

    def close(self) -> None:
        """Let `take` return at once, from now on with nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _make_room(self) -> bool:
        half_empty = len(self._waiting) <= self._messages_max // 2 and self._bytes <= self._bytes_max // 2
        room = self.full and half_empty
        self.full = self.full and not half_empty
        return room
