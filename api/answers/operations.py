"""Processes, quarantine and samples as answers."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from db.messages import Quarantined
from db.operations import Sample
from db.processes import STALE_AFTER, Process, kind_of
from schemas import operations as wire
from schemas.topics import LaneName

_SHOWN = 2000
"""Bytes of a payload that a list shows; `tcu quarantine show` gives all."""


def quarantine_entry(item: Quarantined) -> wire.QuarantineEntry:
    """Return a quarantined message."""
    return wire.QuarantineEntry(
        quarantine_id=item.quarantine_id,
        topic=item.topic,
        vin=item.vin,
        kind=item.kind,
        reason=item.reason,
        detail=item.detail,
        cid=item.cid,
        first_received_at=item.first_received_at,
        received_at=item.received_at,
        times_received=item.times_received,
        replayed_at=item.replayed_at,
        size=len(item.payload),
        payload=item.payload[:_SHOWN].decode(errors="replace"),
    )


def process_list(found: Sequence[Process], *, now: datetime) -> wire.ProcessList:
    """Return the processes, and the jobs of the one that leads."""
    leading = [p for p in found if now - p.beat_at < STALE_AFTER and p.kind == "rules" and p.ready]
    jobs = leading[0].figures.get("jobs", {}) if leading else {}
    return wire.ProcessList(
        processes=tuple(_process_entry(process, now=now) for process in found),
        jobs=tuple(
            wire.JobEntry(
                name=name,
                every_seconds=job["every_s"],
                last_run=job["ran_at"],
                took_seconds=job["took_s"],
                failures=job["failures"],
            )
            for name, job in sorted(jobs.items())
        ),
    )


def _process_entry(process: Process, *, now: datetime) -> wire.ProcessEntry:
    """Return a process."""
    return wire.ProcessEntry(
        name=process.name,
        kind=process.kind,
        alive=now - process.beat_at < STALE_AFTER,
        ready=process.ready,
        started_at=process.started_at,
        beat_at=process.beat_at,
        figures={name: figure for name, figure in process.figures.items() if name != "jobs"},
    )


def samples(found: Sequence[Sample]) -> tuple[wire.OperationsSample, ...]:
    """Return the samples with rates; the first has none, for there is nothing before it."""
    return tuple(_sample(before, sample) for before, sample in pairwise([None, *found]) if sample is not None)


def _sample(before: Sample | None, sample: Sample) -> wire.OperationsSample:
    ingest, api = _figures("ingest", sample), _figures("api", sample)
    waiting = [count for lane in LaneName for count in _named(ingest, f"{lane}_waiting")]
    streams = _named(api, "openStreams")
    return wire.OperationsSample(
        at=sample.sampled_at,
        urgent_per_second=_rate("ingest", "urgent_stored", before, sample),
        engine_per_second=_rate("ingest", "engine_stored", before, sample),
        bulk_per_second=_rate("ingest", "bulk_stored", before, sample),
        events_per_second=_rate("rules", "events_numbered", before, sample),
        lag_seconds=max(_named(ingest, "lag_s"), default=None),
        waiting=int(sum(waiting)) if waiting else None,
        stream_lag_seconds=max(_named(api, "streamLagSeconds"), default=None),
        open_streams=int(sum(streams)) if streams else None,
        connected_vehicles=sample.connected_vehicles,
        quarantined=sample.quarantined,
    )


def _rate(kind: str, name: str, before: Sample | None, sample: Sample) -> float | None:
    """Return how fast a counter grew, summed over the processes that were there before."""
    if before is None:
        return None
    seconds = (sample.sampled_at - before.sampled_at).total_seconds()
    grown = [
        figures[name] - before.processes[process][name]
        for process, figures in sample.processes.items()
        if kind_of(process) == kind and name in figures and name in before.processes.get(process, {})
    ]
    return round(sum(grown) / seconds, 2) if grown and seconds > 0 else None


def _figures(kind: str, sample: Sample) -> list[dict[str, Any]]:
    return [figures for name, figures in sample.processes.items() if kind_of(name) == kind]


def _named(figures: Iterable[dict[str, Any]], name: str) -> list[float]:
    return [one[name] for one in figures if one.get(name) is not None]
