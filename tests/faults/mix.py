"""A run of random faults with quiet between them, under load, and the check at its end. The mix is data."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from tests.faults import faults
from tests.faults.faults import Fault
from tests.faults.fleet import Fleet, Plan
from tests.faults.ledger import findings
from tests.faults.stand import Stand
from tests.faults.stored import read_stored


@dataclass(frozen=True, slots=True)
class Turn:
    """A fault and for how many seconds it lasts, from … to."""

    fault: Fault
    lasts_s: tuple[float, float]


KILLS = (
    Turn(faults.worker_killed, (0, 0.5)),
    Turn(faults.api_killed, (0, 0.5)),
    Turn(faults.jobs_killed, (0, 0.5)),
    Turn(faults.broker_killed, (0, 0.5)),
    Turn(faults.postgres_killed, (0, 0.5)),
    Turn(faults.postgres_stopped_at_once, (0, 0.5)),
)
FREEZES = (
    Turn(faults.worker_backends_frozen, (1, 2)),
    Turn(faults.api_backends_frozen, (1, 2)),
    Turn(faults.worker_frozen, (1, 2)),
    Turn(faults.broker_cut_off, (1, 2)),
    Turn(faults.database_cut_off, (1, 2)),
)


@dataclass(frozen=True, slots=True)
class Healed:
    """What a fault did: how long it lasted, and how many seconds after its healing each process was ready."""

    fault: str
    lasted_s: float
    ready_after_s: dict[str, float]


@dataclass(slots=True)
class Outcome:
    """A run: what was found wrong with it, and what was measured."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    healed: list[Healed] = field(default_factory=list)
    receipted: int = 0
    drained_in_s: float = 0.0
    notes: list[str] = field(default_factory=list)


def run(
    stand: Stand,
    plan: Plan,
    turns: Sequence[Turn],
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
            outcome.healed.append(suffer(stand, turn, rng))
            tell(outcome.healed[-1])
        time.sleep(rng.uniform(*quiet_s))
        began = time.monotonic()
        fleet.settle(wait_s=settle_s)
        outcome.drained_in_s = time.monotonic() - began
        outcome.receipted = len(fleet.ledger) - fleet.waiting()
        outcome.notes = fleet.notes
        with stand.connect() as conn:
            outcome.wrong = findings(fleet.ledger, read_stored(conn, fleet.vins), driven=fleet.driven)
    return outcome


def suffer(stand: Stand, turn: Turn, rng: Random) -> Healed:
    """Inject one fault, let it last, heal it, and wait until everybody is ready again."""
    lasts_s = rng.uniform(*turn.lasts_s)
    with turn.fault(stand):
        time.sleep(lasts_s)
    return Healed(turn.fault.__name__, round(lasts_s, 2), stand.wait_ready(datetime.now(UTC)))
