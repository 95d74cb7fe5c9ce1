"""What has arrived so far, for those who wait for something particular."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Arrival(Generic[T]):
    """Something that arrived, and when by the event loop's clock, in seconds."""

    what: T
    at_s: float


class Seen(Generic[T]):
    """The latest arrivals; nobody misses what came before they began to wait."""

    def __init__(self) -> None:
        self._arrivals: deque[Arrival[T]] = deque(maxlen=_KEPT)
        self._waiting: list[tuple[Callable[[T], bool], asyncio.Future[Arrival[T]]]] = []

    def add(self, what: T) -> None:
        """Note an arrival and wake those who wait for it."""
        arrival = Arrival(what, asyncio.get_running_loop().time())
        self._arrivals.append(arrival)
        for matches, answer in self._waiting:
            if not answer.done() and matches(what):
                answer.set_result(arrival)

    def so_far(self) -> list[T]:
        """Return what has arrived, oldest first."""
        return [arrival.what for arrival in self._arrivals]

    async def first(self, matches: Callable[[T], bool], *, timeout_s: float) -> Arrival[T]:
        """Return the earliest arrival that matches, past ones included. Raises TimeoutError."""
        for arrival in self._arrivals:
            if matches(arrival.what):
                return arrival
        answer: asyncio.Future[Arrival[T]] = asyncio.get_running_loop().create_future()
        waiter = (matches, answer)
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        finally:
            self._waiting.remove(waiter)
