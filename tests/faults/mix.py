"""A run of random faults with quiet between them, under load, and the check at its end. The mix is data."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from threading import Event, Thread
from types import TracebackType
from typing import Self

from stack.server import Server, ServerFailed, wait_until
from tests.faults import faults
from tests.faults.faults import Fault
from tests.faults.fleet import Fleet, Plan
from tests.faults.ledger import findings
from tests.faults.stand import Stand, resident_mb
from tests.faults.stored import read_stored


@dataclass(frozen=True, slots=True)
class Turn:
    """A fault and for how many seconds it lasts, from … to."""

    fault: Fault
    lasts_s: tuple[float, float]


KILLS = (
    Turn(faults.urgent_worker_killed, (0, 0.5)),
    Turn(faults.engine_worker_killed, (0, 0.5)),
    Turn(faults.bulk_worker_killed, (0, 0.5)),
    Turn(faults.api_killed, (0, 0.5)),
    Turn(faults.jobs_killed, (0, 0.5)),
    Turn(faults.broker_killed, (0, 0.5)),
    Turn(faults.broker_killed_after_a_save, (0, 0.5)),
    Turn(faults.postgres_killed, (0, 0.5)),
    Turn(faults.postgres_stopped_at_once, (0, 0.5)),
)
FREEZES = (
    Turn(faults.worker_backends_frozen, (1, 2)),
    Turn(faults.api_backends_frozen, (1, 2)),
    Turn(faults.urgent_worker_frozen, (1, 2)),
    Turn(faults.engine_worker_frozen, (1, 2)),
    Turn(faults.bulk_worker_frozen, (1, 2)),
    Turn(faults.broker_cut_off, (1, 2)),
    Turn(faults.database_cut_off, (1, 2)),
)

ABUSES = (
    Turn(faults.sessions_stolen, (0.5, 1)),
    Turn(faults.garbage_sent, (0.5, 1)),
    Turn(faults.broker_connections_forgotten, (1, 2)),
)
DISKS = (
    Turn(faults.database_disk_full, (2, 3)),
    Turn(faults.broker_disk_full, (2, 3)),
)


@dataclass(frozen=True, slots=True)
class Healed:
    """What a fault did, in seconds: how long it lasted, and how long after its healing each process was ready.

    `drained_after_s` is when all that had no receipt at the healing had one, and nothing waited in the worker; None
    where that took longer than anybody waits for it. `worker_grew_mb` is None where another worker came of it.
    """

    fault: str
    lasted_s: float
    ready_after_s: dict[str, float]
    drained_after_s: float | None
    worker_grew_mb: float | None


@dataclass(slots=True)
class Outcome:
    """A run: what was found wrong with it, and what was measured."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    healed: list[Healed] = field(default_factory=list)
    sent: int = 0
    receipted: int = 0
    notes: list[str] = field(default_factory=list)


def run(
    stand: Stand,
    plan: Plan,
    turns: Iterable[Turn],
    *,
    seed: int,
    quiet_s: tuple[float, float],
    settle_s: float,
    tell: Callable[[Healed], None] = lambda _: None,
) -> Outcome:
    """Hurt the stand by each turn, in this order, while a fleet drives; then compare what it was promised."""
    rng = Random(seed)
    outcome = Outcome(seed)
    with Fleet(stand, plan, seed=seed) as fleet:
        for turn in turns:
            time.sleep(rng.uniform(*quiet_s))
            outcome.healed.append(suffer(stand, fleet, turn, rng, drain_s=settle_s))
            tell(outcome.healed[-1])
        time.sleep(rng.uniform(*quiet_s))
        fleet.settle(wait_s=settle_s)
        outcome.sent = len(fleet.ledger)
        outcome.receipted = outcome.sent - fleet.waiting()
        outcome.notes = fleet.notes
        with stand.connect() as conn:
            outcome.wrong = findings(fleet.ledger, read_stored(conn, fleet.vins), driven=fleet.driven)
    return outcome


def suffer(stand: Stand, fleet: Fleet, turn: Turn, rng: Random, *, drain_s: float) -> Healed:
    """Inject one fault, let it last, heal it, and wait until everybody is ready again and nothing waits."""
    lasts_s = rng.uniform(*turn.lasts_s)
    with _Growth(tuple(stand.workers.values())) as growth:
        with turn.fault(stand):
            time.sleep(lasts_s)
        healed_at = datetime.now(UTC)
        waiting = [entry for entry in tuple(fleet.ledger) if entry.result is None]
        try:
            ready_after_s = stand.wait_ready(healed_at)
        except TimeoutError as error:
            raise TimeoutError(f"after {turn.fault.__name__} for {lasts_s:.2f} s: {error}") from error

        def drained() -> bool:
            return all(entry.result is not None for entry in waiting) and stand.drained(healed_at)

        drained_after_s = None
        with suppress(TimeoutError):
            wait_until(drained, wait_s=drain_s)
            drained_after_s = round((datetime.now(UTC) - healed_at).total_seconds(), 2)
    return Healed(turn.fault.__name__, round(lasts_s, 2), ready_after_s, drained_after_s, growth.most_mb())


class _Growth:
    """Looks all the time at how much memory each of the workers holds, also while they take what has waited."""

    def __init__(self, workers: Sequence[Server]) -> None:
        self._workers = workers
        self._pids = [worker.pid for worker in workers]
        self._before_mb = [resident_mb(worker) for worker in workers]
        self._most_mb = list(self._before_mb)
        self._stopping = Event()
        self._thread = Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def most_mb(self) -> float | None:
        """Return by how much the one grew that grew most; None where one was started anew."""
        if [worker.pid for worker in self._workers] != self._pids:
            return None
        grew = [most - before for most, before in zip(self._most_mb, self._before_mb, strict=True)]
        return round(max(grew), 1)

    def _look(self) -> None:
        while not self._stopping.wait(0.1):
            for place, worker in enumerate(self._workers):
                with suppress(ServerFailed, OSError, ValueError):  # killed, just now perhaps
                    self._most_mb[place] = max(self._most_mb[place], resident_mb(worker))
