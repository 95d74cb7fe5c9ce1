"""The vehicles that a run may play."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random

from simulator.settings import Broker, Certificate
from simulator.tcu import Tcu
from simulator.unreceipted import UnreceiptedStore

_CONNECT_S = 60.0
_AT_ONCE = 50
"""So many vehicles connect side by side: each needs a TLS handshake of some milliseconds on either side."""


class Garage:
    """Makes vehicles by their VIN, each with its certificate; the seed settles how they pause between attempts."""

    def __init__(
        self, broker: Broker, certificates: Mapping[str, Certificate], seed: int, notify: Callable[[str], None]
    ) -> None:
        self._broker = broker
        self._certificates = certificates
        self._seed = seed
        self._notify = notify

    def tcu(
        self, vin: str, *, unreceipted: UnreceiptedStore | None = None, clock_offset: timedelta = timedelta(0)
    ) -> Tcu:
        """Return a vehicle that is not in coverage yet. It may keep its unreceipted messages in a store of yours."""
        return Tcu(
            vin=vin,
            broker=self._broker,
            certificate=self._certificates[vin],
            unreceipted=UnreceiptedStore() if unreceipted is None else unreceipted,
            jitter=Random(f"{self._seed}:{vin}:jitter"),
            notify=self._notify,
            clock_offset=clock_offset,
        )


@asynccontextmanager
async def in_coverage(tcus: Sequence[Tcu], stop: asyncio.Event) -> AsyncIterator[None]:
    """Connect many vehicles, some at a time and no more after `stop`, and let them all leave in the end.

    Raises Unreachable where one cannot connect.
    """
    some_at_a_time = [tcus[first : first + _AT_ONCE] for first in range(0, len(tcus), _AT_ONCE)]
    try:
        for some in some_at_a_time:
            for tcu in some:
                tcu.go_online()
            for tcu in some:
                await tcu.connected(timeout_s=_CONNECT_S)
            if stop.is_set():
                break
        yield
    finally:
        for some in some_at_a_time:
            await asyncio.gather(*(tcu.go_offline() for tcu in some))
