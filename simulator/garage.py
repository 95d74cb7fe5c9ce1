"""The vehicles that a run may play."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from random import Random

from simulator.settings import Broker, Certificate
from simulator.tcu import Tcu
from simulator.unreceipted import UnreceiptedStore


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
