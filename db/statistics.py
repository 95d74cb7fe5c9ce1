"""Counts and means over the incidents of a period, for statistics; `docs/statistics.md` defines every figure.

A period is the whole days before an instant, half-open, by the incidents' `occurred_at`. Test calls never count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("statistics")

Times = Mapping[tuple[int, int], int]
"""Incidents by UTC weekday (1 is Monday) and hour; those without incidents are left out."""


@dataclass(frozen=True, slots=True)
class Now:
    """Open at this moment, and ended well since the start of the UTC day."""

    active: int
    ended_today: int


@dataclass(frozen=True, slots=True)
class SosKind:
    """Incidents of one emergency type, or of all (`overall`); `judged` is what a rate of success is taken of."""

    overall: bool
    kind: str | None
    total: int
    judged: int
    succeeded: int
    response_s: float | None


@dataclass(frozen=True, slots=True)
class RsaKind:
    """Requests of one service type (None: nobody said which), or of all (`overall`)."""

    overall: bool
    kind: str | None
    total: int
    judged: int
    succeeded: int
    response_s: float | None
    service_s: float | None
    longest_service_s: float | None
    rating_sum: int
    ratings: int


@dataclass(frozen=True, slots=True)
class Calls:
    """How long calls were, in seconds; None where there was none."""

    average_s: float | None
    longest_s: int | None


@dataclass(frozen=True, slots=True)
class TeamMember:
    """A counselor's place: `rank` 1 succeeded most often, equals share one; `behind` counts who did less often."""

    agent_id: str
    name: str
    availability: str
    handled: int
    succeeded: int
    rank: int
    behind: int


@dataclass(frozen=True, slots=True)
class PartnerFigures:
    """Requests last dispatched to a partner."""

    partner: str
    requests: int
    judged: int
    succeeded: int


@dataclass(frozen=True, slots=True)
class CurrencyFigures:
    """What services cost in one currency, in its minor units."""

    currency: str
    services: int
    total: int


@dataclass(frozen=True, slots=True)
class AgentKind:
    """A counselor's incidents of one type (None: nobody said which), or of all (`overall`)."""

    overall: bool
    kind: str | None
    handled: int
    judged: int
    succeeded: int
    connected: int
    first_call: int
    escalated: int
    handling_s: float | None
    call_s: float | None
    rating_sum: int
    ratings: int
    last_activity_at: datetime | None


@dataclass(frozen=True, slots=True)
class SosFigures:
    """Everything the SOS statistics are made of; the team with who handled most first."""

    since: datetime
    until: datetime
    now: Now
    kinds: list[SosKind]
    services: dict[str, int]
    times: Times
    calls: Calls
    team: list[TeamMember]


@dataclass(frozen=True, slots=True)
class RsaFigures:
    """Everything the RSA statistics are made of; the currency of most services first."""

    since: datetime
    until: datetime
    now: Now
    kinds: list[RsaKind]
    partners: list[PartnerFigures]
    times: Times
    costs: list[CurrencyFigures]


@dataclass(frozen=True, slots=True)
class AgentFigures:
    """Everything a counselor's performance is made of."""

    since: datetime
    until: datetime
    kinds: list[AgentKind]
    times: Times
    team: list[TeamMember]


def begin_snapshot(conn: Connection) -> None:
    """Make all figures of this transaction those of one instant. Must come before any other statement of it."""
    conn.execute(_SQL["snapshot"])


def sos(conn: Connection, *, days: int, now: datetime) -> SosFigures:
    """Return the figures of all SOS incidents of the days before an instant."""
    window = _window(days, now)
    return SosFigures(
        since=window["since"],
        until=now,
        now=_now(conn, "sos_now", window),
        kinds=_sos_kinds(conn, window),
        services=dict(conn.execute(_SQL["sos_services"], window).fetchall()),
        times=_times(conn, "sos_times", window),
        calls=_calls(conn, window),
        team=_team(conn, "sos_team", window),
    )


def rsa(conn: Connection, *, days: int, now: datetime) -> RsaFigures:
    """Return the figures of all RSA requests of the days before an instant."""
    window = _window(days, now)
    with conn.cursor(row_factory=class_row(RsaKind)) as cursor:
        kinds = cursor.execute(_SQL["rsa_kinds"], window).fetchall()
    with conn.cursor(row_factory=class_row(PartnerFigures)) as cursor:
        partners = cursor.execute(_SQL["rsa_partners"], window).fetchall()
    costs = conn.execute(_SQL["rsa_costs"], window).fetchall()
    return RsaFigures(
        since=window["since"],
        until=now,
        now=_now(conn, "rsa_now", window),
        kinds=kinds,
        partners=partners,
        times=_times(conn, "rsa_times", window),
        costs=[CurrencyFigures(currency, services, int(total)) for currency, services, total in costs],
    )


def sos_agent(conn: Connection, agent_id: str, *, days: int, now: datetime) -> AgentFigures:
    """Return the figures of one counselor's SOS incidents of the days before an instant."""
    return _agent(conn, "sos", agent_id, days=days, now=now)


def rsa_agent(conn: Connection, agent_id: str, *, days: int, now: datetime) -> AgentFigures:
    """Return the figures of one counselor's RSA requests of the days before an instant."""
    return _agent(conn, "rsa", agent_id, days=days, now=now)


def _agent(conn: Connection, service: str, agent_id: str, *, days: int, now: datetime) -> AgentFigures:
    window = _window(days, now)
    with conn.cursor(row_factory=class_row(AgentKind)) as cursor:
        kinds = cursor.execute(_SQL[f"{service}_agent"], {**window, "agent_id": agent_id}).fetchall()
    return AgentFigures(
        since=window["since"],
        until=now,
        kinds=kinds,
        times=_times(conn, f"{service}_agent_times", {**window, "agent_id": agent_id}),
        team=_team(conn, f"{service}_team", window),
    )


def _window(days: int, now: datetime) -> dict[str, datetime]:
    day_start = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return {"since": now - timedelta(days=days), "until": now, "day_start": day_start}


def _now(conn: Connection, name: str, window: Mapping[str, datetime]) -> Now:
    with conn.cursor(row_factory=class_row(Now)) as cursor:
        return cursor.execute(_SQL[name], window).fetchall()[0]


def _sos_kinds(conn: Connection, window: Mapping[str, datetime]) -> list[SosKind]:
    with conn.cursor(row_factory=class_row(SosKind)) as cursor:
        return cursor.execute(_SQL["sos_kinds"], window).fetchall()


def _times(conn: Connection, name: str, values: Mapping[str, object]) -> Times:
    return {(weekday, hour): count for weekday, hour, count in conn.execute(_SQL[name], values)}


def _calls(conn: Connection, window: Mapping[str, datetime]) -> Calls:
    with conn.cursor(row_factory=class_row(Calls)) as cursor:
        return cursor.execute(_SQL["sos_calls"], window).fetchall()[0]


def _team(conn: Connection, name: str, window: Mapping[str, datetime]) -> list[TeamMember]:
    with conn.cursor(row_factory=class_row(TeamMember)) as cursor:
        return cursor.execute(_SQL[name], window).fetchall()
