"""A mix of faults in a random order: no promise is lost, and nothing happens twice. The long one is `make soak`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import httpx
import pytest

from schemas.base import format_instant
from schemas.topics import LaneName, Uplink
from stack.server import wait_until
from tests.faults import faults, mix
from tests.faults.fleet import Plan
from tests.faults.stand import Stand, resident_mb
from tests.tcu import Tcu, message

FLEET = Plan(pressing=10, under_curfew=3, astray=4, per_second=25)
LOADED = Plan(pressing=20, under_curfew=3, astray=4, per_second=50)


def check(product: Stand, turns: Sequence[mix.Turn], plan: Plan = FLEET) -> mix.Outcome:
    """Run these faults in a random order; nobody is lost, nothing happens twice, and everybody comes back."""
    seed = Random().randrange(10**8)
    outcome = mix.run(product, plan, Random(seed).sample(turns, len(turns)), seed=seed, quiet_s=(0.2, 0.8), settle_s=40)
    assert outcome.wrong == [], f"seed {seed}: {outcome.healed}"
    asked = {"api", "rules", *(f"ingest-{lane}" for lane in LaneName)}
    assert [set(healed.ready_after_s) for healed in outcome.healed] == [asked] * len(turns)
    assert None not in [healed.drained_after_s for healed in outcome.healed], outcome.healed
    assert outcome.receipted > 50
    return outcome


def test_whoever_is_killed_no_promise_is_lost_and_nothing_happens_twice(product: Stand) -> None:
    check(product, mix.KILLS)


def test_whoever_is_frozen_cut_off_or_robbed_no_promise_is_lost_and_nothing_happens_twice(product: Stand) -> None:
    check(product, mix.FREEZES + mix.ABUSES)


def test_on_full_disks_no_promise_is_lost_and_nothing_happens_twice(product: Stand) -> None:
    for disk in (product.database_disk, product.broker_disk):
        if disk.why_not is not None:
            pytest.skip(disk.why_not)
    check(product, mix.DISKS)


def test_while_the_database_is_away_the_worker_waits_in_bounded_memory(product: Stand) -> None:
    outcome = check(product, [mix.Turn(faults.database_away, (18, 20))], LOADED)
    (away,) = outcome.healed
    assert away.worker_grew_mb is not None
    assert away.worker_grew_mb <= 50


def test_a_full_buffer_of_engine_events_is_held_in_bounded_memory_and_stored(product: Stand) -> None:
    """As many as ten minutes without the database bring; the broker keeps what is beyond the worker's bound."""
    vin, count, since = "KMHFULL0000000001", 12_000, datetime.now(UTC) - timedelta(minutes=2)

    def stored() -> bool:
        nonlocal most_mb
        most_mb = max(most_mb, resident_mb(worker))
        with product.connect() as conn:
            row = conn.execute("SELECT count(*) FROM engine_events WHERE vin = %s", (vin,)).fetchone()
        return row == (count,)

    def paused() -> bool:
        return 'tcu_ingest_reading_paused{lane="engine"} 1.0' in httpx.get(f"{url}/metrics").text

    worker, url = product.workers[LaneName.ENGINE], product.worker_urls[LaneName.ENGINE]
    before_mb = most_mb = resident_mb(worker)
    vehicle = Tcu(product.broker, product.pki_dir, vin)
    try:
        with faults.database_away(product):
            for number in range(count):
                at = format_instant(since + timedelta(milliseconds=5 * number))
                body = message(timestamp=at, event="START" if number % 2 else "STOP")
                vehicle.publish_soon(Uplink.ENGINE, json.dumps(body).encode())
            wait_until(paused, wait_s=40)
        wait_until(stored, wait_s=60)
    finally:
        vehicle.close()
    assert most_mb - before_mb <= 50
