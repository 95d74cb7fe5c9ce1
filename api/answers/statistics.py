"""Counts of a period as the guides' statistics and performance answers."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from api.answers.words import rsa_duration, sos_duration, whole_seconds
from db.agents import Agent
from db.statistics import AgentFigures, AgentKind, CurrencyFigures, RsaFigures, SosFigures, TeamMember
from rules.statistics import mean, peak_days, peak_hours, percentage, percentile, whole_mean
from schemas import statistics as wire
from schemas.rsa import ServiceType
from schemas.sos import Availability, DispatchService, EmergencyType

_MINUTE_S = 60


class _OfKind(Protocol):
    @property
    def overall(self) -> bool: ...
    @property
    def kind(self) -> str | None: ...


_Kind = TypeVar("_Kind", bound=_OfKind)


def sos_statistics(figures: SosFigures, period: wire.Period) -> wire.SosStatisticsResponse:
    """Return the SOS statistics; every emergency type and service is there, also with no incident."""
    overall, by_kind = _split(figures.kinds)
    counts = {kind: row.total for kind, row in by_kind.items()}
    return wire.SosStatisticsResponse(
        period=period,
        summary=wire.SosSummary(
            total_incidents=overall.total,
            active_incidents=figures.now.active,
            resolved_today=figures.now.ended_today,
            average_response_time=response_time(overall.response_s),
            average_response_seconds=whole_seconds(overall.response_s),
            resolution_rate=percentage(overall.succeeded, overall.judged),
            customer_satisfaction=None,  # nobody asks the customer after an SOS
        ),
        emergency_types={kind: _share(counts.get(kind, 0), overall.total) for kind in EmergencyType},
        services_dispatched={
            service: _share(figures.services.get(service, 0), overall.total) for service in DispatchService
        },
        time_stats=wire.SosTimeStats(
            peak_hours=peak_hours(figures.times),
            peak_days=peak_days(figures.times, since=figures.since, until=figures.until),
            average_call_duration=sos_duration(figures.calls.average_s),
            average_call_duration_seconds=whole_seconds(figures.calls.average_s),
            longest_call_duration=sos_duration(figures.calls.longest_s),
            longest_call_duration_seconds=figures.calls.longest_s,
        ),
        agent_stats=_agent_stats(figures.team),
        generated_at=figures.until,
    )


def rsa_statistics(figures: RsaFigures, period: wire.Period) -> wire.RsaStatisticsResponse:
    """Return the RSA statistics; every service type and partner is there, also with no request."""
    overall, by_kind = _split(figures.kinds)
    counts = {kind: row.total for kind, row in by_kind.items()}
    return wire.RsaStatisticsResponse(
        period=period,
        summary=wire.RsaSummary(
            total_requests=overall.total,
            active_requests=figures.now.active,
            completed_today=figures.now.ended_today,
            average_response_time=rsa_duration(overall.response_s),
            average_response_seconds=whole_seconds(overall.response_s),
            success_rate=percentage(overall.succeeded, overall.judged),
            customer_satisfaction=mean(overall.rating_sum, overall.ratings),
        ),
        service_types={kind: _share(counts.get(kind, 0), overall.total) for kind in ServiceType},
        partners={
            sent.partner: wire.PartnerStats(
                requests=sent.requests, success_rate=percentage(sent.succeeded, sent.judged)
            )
            for sent in figures.partners
        },
        time_stats=wire.RsaTimeStats(
            peak_hours=peak_hours(figures.times),
            peak_days=peak_days(figures.times, since=figures.since, until=figures.until),
            average_service_time=rsa_duration(overall.service_s),
            average_service_seconds=whole_seconds(overall.service_s),
            longest_service_time=rsa_duration(overall.longest_service_s),
            longest_service_seconds=whole_seconds(overall.longest_service_s),
        ),
        cost_stats=_cost_stats(figures.costs),
        generated_at=figures.until,
    )


def sos_performance(agent: Agent, figures: AgentFigures, period: wire.Period) -> wire.SosPerformanceResponse:
    """Return a counselor's SOS performance."""
    overall, by_kind = _split(figures.kinds)
    return wire.SosPerformanceResponse(
        agent_id=agent.agent_id,
        agent_name=agent.name,
        period=period,
        performance=wire.SosPerformance(
            total_handled=overall.handled,
            average_handling_time=sos_duration(overall.handling_s),
            average_handling_seconds=whole_seconds(overall.handling_s),
            resolution_rate=percentage(overall.succeeded, overall.judged),
            customer_satisfaction=mean(overall.rating_sum, overall.ratings),
            response_rate=percentage(overall.connected, overall.handled),
            first_call_resolution=percentage(overall.first_call, overall.succeeded),
        ),
        emergency_breakdown={kind: _breakdown(by_kind.get(kind)) for kind in EmergencyType},
        time_analysis=_time_analysis(figures, overall, sos_duration),
        quality_metrics=_quality(overall),
        rankings=_rankings(agent, figures.team),
        last_activity=overall.last_activity_at,
        generated_at=figures.until,
    )


def rsa_performance(agent: Agent, figures: AgentFigures, period: wire.Period) -> wire.RsaPerformanceResponse:
    """Return a counselor's RSA performance."""
    overall, by_kind = _split(figures.kinds)
    return wire.RsaPerformanceResponse(
        agent_id=agent.agent_id,
        agent_name=agent.name,
        period=period,
        performance=wire.RsaPerformance(
            total_handled=overall.handled,
            average_handling_time=rsa_duration(overall.handling_s),
            average_handling_seconds=whole_seconds(overall.handling_s),
            success_rate=percentage(overall.succeeded, overall.judged),
            customer_satisfaction=mean(overall.rating_sum, overall.ratings),
            response_rate=percentage(overall.connected, overall.handled),
            first_call_resolution=percentage(overall.first_call, overall.succeeded),
        ),
        service_breakdown={kind: _breakdown(by_kind.get(kind)) for kind in ServiceType},
        time_analysis=_time_analysis(figures, overall, rsa_duration),
        quality_metrics=_quality(overall),
        rankings=_rankings(agent, figures.team),
        last_activity=overall.last_activity_at,
        generated_at=figures.until,
    )


def response_time(seconds: float | None) -> str | None:
    """Return a time as the SOS statistics print it: "30 seconds", "1.5 minutes", "2 minutes"; None for none."""
    if seconds is None or round(seconds) < _MINUTE_S:
        return sos_duration(seconds)
    minutes = mean(round(seconds), _MINUTE_S)
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


def _split(rows: Iterable[_Kind]) -> tuple[_Kind, dict[str, _Kind]]:
    """Return the row over all, and those of the types that somebody named."""
    overall = None
    by_kind = {}
    for row in rows:
        if row.overall:
            overall = row
        elif row.kind is not None:
            by_kind[row.kind] = row
    assert overall is not None  # noqa: S101 - an aggregate over nothing is a row too
    return overall, by_kind


def _share(count: int, total: int) -> wire.Share:
    return wire.Share(count=count, percentage=percentage(count, total))


def _agent_stats(team: list[TeamMember]) -> wire.AgentStats:
    top = team[0] if team and team[0].handled else None
    return wire.AgentStats(
        total_agents=len(team),
        active_agents=sum(member.availability != Availability.OFFLINE for member in team),
        average_calls_per_agent=mean(sum(member.handled for member in team), len(team)),
        top_agent=top and wire.TopAgent(agent_id=top.agent_id, name=top.name, handled_incidents=top.handled),
    )


def _cost_stats(costs: list[CurrencyFigures]) -> wire.CostStats:
    most = costs[0] if costs else None
    return wire.CostStats(
        total_revenue=most.total if most else 0,
        average_cost_per_service=whole_mean(most.total, most.services) if most else None,
        currency=most.currency if most else None,
        by_currency={
            cost.currency: wire.CurrencyStats(
                services=cost.services,
                total_revenue=cost.total,
                average_cost_per_service=whole_mean(cost.total, cost.services),
            )
            for cost in costs
        },
    )


def _breakdown(row: AgentKind | None) -> wire.Breakdown:
    if row is None:
        return wire.Breakdown(count=0, avg_time=None, avg_seconds=None, satisfaction=None)
    return wire.Breakdown(
        count=row.handled,
        avg_time=rsa_duration(row.handling_s),  # both guides abbreviate here
        avg_seconds=whole_seconds(row.handling_s),
        satisfaction=mean(row.rating_sum, row.ratings),
    )


def _time_analysis(
    figures: AgentFigures, overall: AgentKind, duration: Callable[[float | None], str | None]
) -> wire.TimeAnalysis:
    return wire.TimeAnalysis(
        total_work_hours=None,
        average_calls_per_hour=None,
        peak_hours=peak_hours(figures.times),
        average_call_duration=duration(overall.call_s),
        average_call_duration_seconds=whole_seconds(overall.call_s),
    )


def _quality(overall: AgentKind) -> wire.QualityMetrics:
    return wire.QualityMetrics(
        compliance_rate=None,
        documentation_accuracy=None,
        escalation_rate=percentage(overall.escalated, overall.handled),
        customer_complaints=None,
    )


def _rankings(agent: Agent, team: list[TeamMember]) -> wire.Rankings:
    own = next((member for member in team if member.agent_id == agent.agent_id and member.handled), None)
    return wire.Rankings(
        team_rank=own.rank if own else None,
        team_size=len(team),
        percentile=percentile(own.behind, len(team)) if own else None,
    )
