"""Statistics and performance of SOS and RSA; `docs/statistics.md` defines every figure.

Percentages are 0 to 100 with one decimal. Null says that there is nothing to compute the figure from.
"""

from enum import StrEnum

from schemas.base import Instant, Wire
from schemas.rsa import ServiceType
from schemas.sos import DispatchService, EmergencyType


class Period(StrEnum):
    """The whole days before now that figures are taken of."""

    DAY = "1d"
    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"
    YEAR = "365d"

    @property
    def days(self) -> int:
        """How many days it has."""
        return int(self.value.removesuffix("d"))


class Share(Wire):
    """How many, and how many of a hundred of the period's incidents."""

    count: int
    percentage: float | None


class SosSummary(Wire):
    """The service as a whole; active now, resolved since the start of the UTC day, the rest of the period."""

    total_incidents: int
    active_incidents: int
    resolved_today: int
    average_response_time: str | None
    average_response_seconds: int | None
    resolution_rate: float | None
    customer_satisfaction: float | None


class SosTimeStats(Wire):
    """When incidents happen, in UTC, and how long calls last."""

    peak_hours: tuple[str, ...]
    peak_days: tuple[str, ...]
    average_call_duration: str | None
    average_call_duration_seconds: int | None
    longest_call_duration: str | None
    longest_call_duration_seconds: int | None


class TopAgent(Wire):
    """The counselor with most of the period's incidents."""

    agent_id: str
    name: str
    handled_incidents: int


class AgentStats(Wire):
    """The team: how many counselors there are and are on duty now, and how the period's incidents spread over them."""

    total_agents: int
    active_agents: int
    average_calls_per_agent: float | None
    top_agent: TopAgent | None


class SosStatisticsResponse(Wire):
    """The SOS guide's SOS Statistics Response."""

    period: Period
    summary: SosSummary
    emergency_types: dict[EmergencyType, Share]
    services_dispatched: dict[DispatchService, Share]
    time_stats: SosTimeStats
    agent_stats: AgentStats
    generated_at: Instant


class RsaSummary(Wire):
    """The service as a whole; active now, completed since the start of the UTC day, the rest of the period."""

    total_requests: int
    active_requests: int
    completed_today: int
    average_response_time: str | None
    average_response_seconds: int | None
    success_rate: float | None
    customer_satisfaction: float | None


class PartnerStats(Wire):
    """The period's requests that were last dispatched to the partner, and how many of the ended ones went well."""

    requests: int
    success_rate: float | None


class RsaTimeStats(Wire):
    """When requests come, in UTC, and how long the partners' service takes."""

    peak_hours: tuple[str, ...]
    peak_days: tuple[str, ...]
    average_service_time: str | None
    average_service_seconds: int | None
    longest_service_time: str | None
    longest_service_seconds: int | None


class CurrencyStats(Wire):
    """What services cost in one currency, in its minor units."""

    services: int
    total_revenue: int
    average_cost_per_service: int | None


class CostStats(Wire):
    """What services cost, in minor units of the currency of most of them; `byCurrency` has them all."""

    total_revenue: int
    average_cost_per_service: int | None
    currency: str | None
    by_currency: dict[str, CurrencyStats]


class RsaStatisticsResponse(Wire):
    """The RSA guide's RSA Statistics Response."""

    period: Period
    summary: RsaSummary
    service_types: dict[ServiceType, Share]
    partners: dict[str, PartnerStats]
    time_stats: RsaTimeStats
    cost_stats: CostStats
    generated_at: Instant


class Breakdown(Wire):
    """A counselor's incidents of one type; the mean time from assignment (RSA: request) to closing."""

    count: int
    avg_time: str | None
    avg_seconds: int | None
    satisfaction: float | None


class Performance(Wire):
    """What SOS and RSA performance have in common."""

    total_handled: int
    average_handling_time: str | None
    average_handling_seconds: int | None
    customer_satisfaction: float | None
    response_rate: float | None
    first_call_resolution: float | None


class SosPerformance(Performance):
    """A counselor's SOS incidents of the period."""

    resolution_rate: float | None


class RsaPerformance(Performance):
    """A counselor's RSA requests of the period."""

    success_rate: float | None


class TimeAnalysis(Wire):
    """When a counselor's incidents happen, in UTC, and how long the calls last; nobody records working hours."""

    total_work_hours: float | None
    average_calls_per_hour: float | None
    peak_hours: tuple[str, ...]
    average_call_duration: str | None
    average_call_duration_seconds: int | None


class QualityMetrics(Wire):
    """How many were escalated; nothing attached here judges compliance and documentation or takes complaints."""

    compliance_rate: float | None
    documentation_accuracy: float | None
    escalation_rate: float | None
    customer_complaints: int | None


class Rankings(Wire):
    """A counselor's place by incidents resolved in the period; null for one who had none at all."""

    team_rank: int | None
    team_size: int
    percentile: int | None


class SosPerformanceResponse(Wire):
    """The SOS guide's Agent SOS Performance Response."""

    agent_id: str
    agent_name: str
    period: Period
    performance: SosPerformance
    emergency_breakdown: dict[EmergencyType, Breakdown]
    time_analysis: TimeAnalysis
    quality_metrics: QualityMetrics
    rankings: Rankings
    last_activity: Instant | None
    generated_at: Instant


class RsaPerformanceResponse(Wire):
    """The RSA guide's Agent RSA Results Response."""

    agent_id: str
    agent_name: str
    period: Period
    performance: RsaPerformance
    service_breakdown: dict[ServiceType, Breakdown]
    time_analysis: TimeAnalysis
    quality_metrics: QualityMetrics
    rankings: Rankings
    last_activity: Instant | None
    generated_at: Instant
