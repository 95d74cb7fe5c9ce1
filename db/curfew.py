"""Curfew policies, exceptions, consent, and what was judged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from db.pool import Connection
from db.statements import statements

_SQL = statements("curfew")


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of a vehicle's policy; `windows` as a list of {days, start, end}."""

    policy_id: int
    vin: str
    valid_from: datetime
    set_by: str
    enabled: bool
    timezone: str
    windows: list[dict[str, Any]]
    actions: list[str]


@dataclass(frozen=True, slots=True)
class CurfewException:
    """A temporary release; it ends early where it was cancelled."""

    exception_number: int
    vin: str
    reason: str
    start_time: datetime
    end_time: datetime
    created_at: datetime
    created_by: str
    cancelled_at: datetime | None
    announced: str


@dataclass(frozen=True, slots=True)
class Consent:
    """The driver granted or withdrew consent from an instant on."""

    purpose: str
    granted: bool
    effective_at: datetime
    recorded_by: str


@dataclass(frozen=True, slots=True)
class Watched:
    """A vehicle with a policy: whether its engine ran when last seen."""

    vin: str
    running: bool
    seen_at: datetime | None
    judged_at: datetime
    next_at: datetime | None
    quiet_since: datetime | None
    quiet_until: datetime | None
    block_from: datetime | None
    unjudged_since: datetime | None = None
    unjudged_until: datetime | None = None


@dataclass(slots=True)
class StatusSeen:
    """What one batch of status showed of a vehicle's engine; `runs` is None where it ran and stood."""

    vin: str
    first_at: datetime
    last_at: datetime
    runs: bool | None
    last_runs: bool


@dataclass(frozen=True, slots=True)
class StoredViolation:
    """One row of `curfew_violations` that was not retracted."""

    violation_number: int
    vin: str
    started_at: datetime
    ended_at: datetime | None
    resolution: str | None
    severity: str
    latitude: float | None
    longitude: float | None
    detected_late: bool
    detected_at: datetime


def add_policy(
    conn: Connection,
    *,
    vin: str,
    valid_from: datetime,
    set_by: str,
    enabled: bool,
    timezone: str,
    windows: list[dict[str, Any]],
    actions: Sequence[str],
) -> int:
    """Add a version of the vehicle's policy, watch the vehicle from now on, and return the version's id."""
    conn.execute(_SQL["watch"], {"vin": vin, "at": valid_from})
    row = conn.execute(
        _SQL["add_policy"],
        {
            "vin": vin,
            "valid_from": valid_from,
            "set_by": set_by,
            "enabled": enabled,
            "timezone": timezone,
            "windows": Jsonb(windows),
            "actions": list(actions),
        },
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING always returns
    return int(row[0])


def policies(conn: Connection, vin: str) -> list[Policy]:
    """Return all versions of the vehicle's policy, oldest first."""
    with conn.cursor(row_factory=class_row(Policy)) as cursor:
        return cursor.execute(_SQL["policies"], {"vin": vin}).fetchall()


def add_exception(
    conn: Connection,
    *,
    vin: str,
    reason: str,
    start_time: datetime,
    end_time: datetime,
    created_at: datetime,
    created_by: str,
) -> CurfewException:
    """Add a temporary release."""
    values = {
        "vin": vin,
        "reason": reason,
        "start_time": start_time,
        "end_time": end_time,
        "created_at": created_at,
        "created_by": created_by,
    }
    with conn.cursor(row_factory=class_row(CurfewException)) as cursor:
        return cursor.execute(_SQL["add_exception"], values).fetchall()[0]


def exceptions(conn: Connection, vin: str) -> list[CurfewException]:
    """Return the vehicle's exceptions, latest start first, cancelled ones too."""
    with conn.cursor(row_factory=class_row(CurfewException)) as cursor:
        return cursor.execute(_SQL["exceptions"], {"vin": vin}).fetchall()


def cancel_exception(conn: Connection, vin: str, exception_number: int, *, at: datetime) -> CurfewException | None:
    """End an exception early; None where there is no such one that has not ended."""
    values = {"vin": vin, "exception_number": exception_number, "at": at}
    with conn.cursor(row_factory=class_row(CurfewException)) as cursor:
        return cursor.execute(_SQL["cancel_exception"], values).fetchone()


def exceptions_to_announce(conn: Connection, *, now: datetime) -> list[CurfewException]:
    """Return, and lock, exceptions that have begun or ended since an event last told of them."""
    with conn.cursor(row_factory=class_row(CurfewException)) as cursor:
        return cursor.execute(_SQL["exceptions_to_announce"], {"now": now}).fetchall()


def set_announced(conn: Connection, exception_number: int, announced: str) -> None:
    """Note which status an event has told."""
    conn.execute(_SQL["set_announced"], {"exception_number": exception_number, "announced": announced})


def add_consent(
    conn: Connection, *, vin: str, purpose: str, granted: bool, effective_at: datetime, recorded_by: str
) -> None:
    """Record that the driver granted or withdrew consent."""
    conn.execute(
        _SQL["add_consent"],
        {
            "vin": vin,
            "purpose": purpose,
            "granted": granted,
            "effective_at": effective_at,
            "recorded_by": recorded_by,
        },
    )


def consents(conn: Connection, vin: str, purpose: str) -> list[Consent]:
    """Return the driver's grants and withdrawals, oldest first."""
    with conn.cursor(row_factory=class_row(Consent)) as cursor:
        return cursor.execute(_SQL["consents"], {"vin": vin, "purpose": purpose}).fetchall()


def emergencies(conn: Connection, vin: str) -> list[tuple[datetime, datetime]]:
    """Return when the vehicle had an open SOS."""
    return [(start, end) for start, end in conn.execute(_SQL["emergencies"], {"vin": vin}).fetchall()]


def news(conn: Connection, seen: Sequence[tuple[str, datetime, bool | None]], *, now: datetime) -> list[Watched]:
    """Return those vehicles with a policy that do not simply go on as they were last seen, or wait for a block, by VIN.

    `seen` tells of each vehicle of a batch (VIN, first sight, whether the engine ran; None where it did and did not).
    """
    vins, firsts, runs = zip(*seen, strict=True)
    values = {"vins": list(vins), "firsts": list(firsts), "runs": list(runs), "now": now}
    with conn.cursor(row_factory=class_row(Watched)) as cursor:
        return cursor.execute(_SQL["news"], values).fetchall()


def note_seen(conn: Connection, seen: Sequence[StatusSeen], *, now: datetime) -> None:
    """Note what a batch of status showed, once per vehicle; what is to be judged for it waits for `due`."""
    # Joined texts, which PostgreSQL takes apart: psycopg's lists cost more than the whole COPY of the batch.
    values = {
        "vins": ",".join([one.vin for one in seen]),
        "firsts": ",".join([str(one.first_at) for one in seen]),
        "lasts": ",".join([str(one.last_at) for one in seen]),
        "runs": ",".join(["" if one.runs is None else str(one.runs) for one in seen]),
        "last_runs": ",".join([str(one.last_runs) for one in seen]),
        "now": now,
    }
    conn.execute(_SQL["note_seen"], values)


def leave_to_job(conn: Connection, vin: str, *, since: datetime, until: datetime, now: datetime) -> None:
    """Let `due` name a watched vehicle at once, to be judged over this time too."""
    conn.execute(_SQL["leave_to_job"], {"vin": vin, "since": since, "until": until, "now": now})


def lock_exceptions(conn: Connection, vin: str) -> None:
    """Keep others from cancelling or announcing the vehicle's exceptions until the caller's commit."""
    conn.execute(_SQL["lock_exceptions"], {"vin": vin})


def lock_watches(conn: Connection, vins: Iterable[str]) -> None:
    """Keep others from judging these vehicles, and from touching their commands, until the caller's commit."""
    conn.execute(_SQL["lock_watches"], {"vins": list(vins)})


def lock_watch(conn: Connection, vin: str) -> Watched | None:
    """Return the watched vehicle and keep others from judging it until the caller's commit."""
    with conn.cursor(row_factory=class_row(Watched)) as cursor:
        return cursor.execute(_SQL["lock_watch"], {"vin": vin}).fetchone()


def set_watch(conn: Connection, watch: Watched) -> None:
    """Note how the engine was last seen, and when the vehicle was judged."""
    conn.execute(_SQL["set_watch"], {name: getattr(watch, name) for name in Watched.__slots__})


def set_seen(conn: Connection, seen: Sequence[tuple[str, bool, datetime]]) -> None:
    """Note how engines were last seen, as (VIN, running, when), where no judgement is needed for it."""
    vins, running, seen_ats = zip(*seen, strict=True)
    conn.execute(_SQL["set_seen"], {"vins": list(vins), "running": list(running), "seen_ats": list(seen_ats)})


def due(conn: Connection, *, now: datetime, limit: int) -> list[str]:
    """Return the VINs of vehicles to judge, longest overdue first."""
    return [vin for (vin,) in conn.execute(_SQL["due"], {"now": now, "limit": limit})]


def observations(conn: Connection, vin: str, since: datetime, until: datetime) -> list[tuple[datetime, bool]]:
    """Return what the engine was seen to do within [since, until]: when, and whether it ran.

    The first sight, the last, and each that differs from the one before: the others say nothing new.
    """
    rows = conn.execute(_SQL["observations"], {"vin": vin, "since": since, "until": until}).fetchall()
    return [(at, running) for at, running in rows]


def edges(
    conn: Connection, vin: str, *, begin: datetime, since: datetime, until: datetime, end: datetime
) -> list[tuple[datetime, bool]]:
    """Return the first and the last sights of the engine within (begin, since) and within (until, end].

    Where it was not seen standing within either, these show what it did there; as (when, whether it ran), in no order.
    """
    values = {"vin": vin, "begin": begin, "since": since, "until": until, "end": end}
    return [(at, running) for at, running in conn.execute(_SQL["edges"], values).fetchall()]


def stretch(
    conn: Connection, vin: str, *, since: datetime, until: datetime, oldest: datetime, latest: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return when the engine was last seen standing before `since`, and first after `until`, within the outer two."""
    values = {"vin": vin, "since": since, "until": until, "oldest": oldest, "latest": latest}
    rows = conn.execute(_SQL["stretch"], values).fetchall()
    return rows[0][0], rows[0][1]


def newest_sight(conn: Connection, vin: str, *, after: datetime, latest: datetime) -> datetime | None:
    """Return when the engine was last seen within (after, latest], running or not; None where it was not."""
    row = conn.execute(_SQL["newest_sight"], {"vin": vin, "after": after, "latest": latest}).fetchone()
    return None if row is None else row[0]


def place_near(conn: Connection, vin: str, at: datetime) -> tuple[float, float] | None:
    """Return latitude and longitude where the vehicle was last seen up to an instant."""
    row = conn.execute(_SQL["place_near"], {"vin": vin, "at": at}).fetchone()
    return (row[0], row[1]) if row else None


def violations_between(conn: Connection, vin: str, since: datetime, until: datetime) -> list[StoredViolation]:
    """Return the violations that overlap [since, until), oldest first."""
    with conn.cursor(row_factory=class_row(StoredViolation)) as cursor:
        return cursor.execute(_SQL["violations_between"], {"vin": vin, "since": since, "until": until}).fetchall()


def violations_begun(conn: Connection, vin: str, since: datetime, until: datetime) -> list[StoredViolation]:
    """Return the violations that began within [since, until), oldest first."""
    with conn.cursor(row_factory=class_row(StoredViolation)) as cursor:
        return cursor.execute(_SQL["violations_begun"], {"vin": vin, "since": since, "until": until}).fetchall()


def add_violation(
    conn: Connection,
    *,
    vin: str,
    started_at: datetime,
    ended_at: datetime | None,
    resolution: str | None,
    severity: str,
    place: tuple[float, float] | None,
    detected_late: bool,
    detected_at: datetime,
) -> int:
    """Add a violation and return its number."""
    row = conn.execute(
        _SQL["add_violation"],
        {
            "vin": vin,
            "started_at": started_at,
            "ended_at": ended_at,
            "resolution": resolution,
            "severity": severity,
            "latitude": place[0] if place else None,
            "longitude": place[1] if place else None,
            "detected_late": detected_late,
            "detected_at": detected_at,
        },
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING always returns
    return int(row[0])


def set_violation(conn: Connection, violation: StoredViolation) -> None:
    """Save what a new judgement changed."""
    names = ("violation_number", "started_at", "ended_at", "resolution", "severity", "detected_late")
    conn.execute(_SQL["set_violation"], {name: getattr(violation, name) for name in names})


def retract_violation(conn: Connection, violation_number: int, *, at: datetime) -> None:
    """Take a violation back: later data, or an exception for the past, showed that it does not stand."""
    conn.execute(_SQL["retract_violation"], {"violation_number": violation_number, "at": at})


def violations_page(
    conn: Connection,
    vin: str,
    *,
    limit: int,
    offset: int,
    severity: str | None = None,
    resolved: bool | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[list[StoredViolation], int]:
    """Return a page of violations, newest first, and how many there are in all."""
    values = {
        "vin": vin,
        "limit": limit,
        "offset": offset,
        "severity": severity,
        "resolved": resolved,
        "since": since,
        "until": until,
    }
    rows = conn.execute(_SQL["violations_page"], values).fetchall()
    found = [StoredViolation(*row[:-1]) for row in rows]
    if rows or offset == 0:
        return found, rows[0][-1] if rows else 0
    # Past the last page nothing carries the count along.
    _, total = violations_page(
        conn, vin, limit=1, offset=0, severity=severity, resolved=resolved, since=since, until=until
    )
    return found, total


def count_violations(
    conn: Connection, vin: str, *, since: datetime | None = None, until: datetime | None = None
) -> int:
    """Return how many violations began within [since, until)."""
    row = conn.execute(_SQL["count_violations"], {"vin": vin, "since": since, "until": until}).fetchone()
    return int(row[0]) if row else 0
