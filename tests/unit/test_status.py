"""What `tcu status` says of each process."""

from datetime import UTC, datetime, timedelta

import pytest

from admin.status import readiness
from db.processes import Process

NOW = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ready", "silent_s", "told"),
    [(True, 0, "yes"), (True, 14.9, "yes"), (False, 14.9, "no"), (True, 15, "silent"), (False, 1844, "silent")],
)
def test_a_silent_process_is_not_told_as_ready(ready: bool, silent_s: float, told: str) -> None:
    last = Process("api@vm:1", NOW, NOW - timedelta(seconds=silent_s), ready, {})
    assert readiness(last, now=NOW) == told


def test_a_worker_that_stands_by_is_told_so() -> None:
    last = Process("ingest@vm:2", NOW, NOW, ready=False, figures={"standing_by": True})
    assert readiness(last, now=NOW) == "standing by"
