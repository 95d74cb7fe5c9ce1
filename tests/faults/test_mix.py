"""A mix of faults in a random order: no promise is lost, and nothing happens twice. The long one is `make soak`."""

from random import Random

from tests.faults import mix
from tests.faults.fleet import Plan
from tests.faults.stand import Stand

FLEET = Plan(pressing=10, under_curfew=3, astray=4, per_second=25)


def test_whoever_is_killed_no_promise_is_lost_and_nothing_happens_twice(product: Stand) -> None:
    seed = Random().randrange(10**6)
    turns = Random(seed).sample(mix.KILLS, len(mix.KILLS))
    outcome = mix.run(product, FLEET, turns, seed=seed, quiet_s=(0.2, 0.8), settle_s=30)
    assert outcome.wrong == [], f"seed {seed}"
    assert all(set(healed.ready_after_s) == {"worker", "api", "jobs"} for healed in outcome.healed)
    assert outcome.receipted > 50
