"""What `tcu status` says of each process."""

from datetime import UTC, datetime, timedelta

import pytest

from admin.status import missing, readiness
from db.processes import Process, worker_name
from schemas.topics import LaneName

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


@pytest.mark.parametrize(
    ("ready", "wanted", "told"),
    [
        (["ingest@vm:1", "api@vm:2"], ["ingest", "api"], []),
        (["ingest-urgent@vm:1"], ["ingest", "api"], ["ingest-engine", "ingest-bulk", "api"]),
        (["ingest-urgent@vm:1", "ingest-bulk@vm:2", "ingest-engine@vm:3"], ["ingest"], []),
        (["ingest-urgent@vm:1"], ["ingest-urgent"], []),
        (["ingest@vm:1"], ["ingest-bulk"], []),
        (["ingest-bulk@vm:1"], ["ingest", "ingest-urgent"], ["ingest-urgent", "ingest-engine"]),
        ([], ["rules", "ingest"], ["rules", "ingest-urgent", "ingest-engine", "ingest-bulk"]),
    ],
)
def test_a_worker_is_missed_for_each_lane_that_nobody_serves(
    ready: list[str], wanted: list[str], told: list[str]
) -> None:
    known = [Process(name, NOW, NOW, ready=True, figures={}) for name in ready]
    assert missing(known, wanted, now=NOW) == told


@pytest.mark.parametrize(
    ("lanes", "name"),
    [
        (tuple(LaneName), "ingest@vm:1"),
        ((LaneName.URGENT,), "ingest-urgent@vm:1"),
        ((LaneName.ENGINE,), "ingest-engine@vm:1"),
        ((LaneName.BULK,), "ingest-bulk@vm:1"),
    ],
)
def test_a_workers_name_tells_its_lanes(lanes: tuple[LaneName, ...], name: str) -> None:
    assert worker_name(lanes, "vm:1") == name
    process = Process(name, NOW, NOW, ready=True, figures={})
    assert (process.kind, process.lanes) == ("ingest", frozenset(lanes))
    assert Process("api@ingest-host:1", NOW, NOW, ready=True, figures={}).lanes == frozenset()
