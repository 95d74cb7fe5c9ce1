"""The statistics of a history, computed in plain Python.

Exact fractions over plain values; nothing of the product but its instants' spelling.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from schemas.base import format_instant
from tests.history import AGENTS, PARTNERS, History, Rsa, Sos

NOW = datetime(2026, 3, 7, 20, 15, 30, tzinfo=UTC)
"""A Saturday evening."""
TODAY = datetime(2026, 3, 7, tzinfo=UTC)
EMERGENCIES = ["MEDICAL", "BREAKDOWN", "ACCIDENT", "SECURITY", "FIRE", "OTHER"]
SERVICES = ["TOWING", "BATTERY_JUMP", "TIRE_CHANGE", "FUEL_DELIVERY", "LOCKOUT"]
DAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]


def tenth(value: Fraction | None) -> float | None:
    if value is None:
        return None
    return float((Decimal(value.numerator) / Decimal(value.denominator)).quantize(Decimal("0.1"), ROUND_HALF_UP))


def share(part: int, whole: int) -> float | None:
    return tenth(Fraction(100 * part, whole)) if whole else None


def mean(values: Iterable[Any]) -> Fraction | None:
    numbers = [Fraction(v // timedelta(microseconds=1), 10**6) if isinstance(v, timedelta) else v for v in values]
    numbers = [max(Fraction(number), Fraction(0)) for number in numbers]
    return sum(numbers, Fraction(0)) / len(numbers) if numbers else None


def seconds(value: Fraction | None) -> int | None:
    return None if value is None else round(value)


def sos_words(value: Fraction | None) -> str | None:
    if value is None:
        return None
    number, unit = (round(value), "second") if round(value) < 60 else (round(value / 60), "minute")
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def rsa_words(value: Fraction | None) -> str | None:
    if value is None:
        return None
    hours, minutes = round(value / 60) // 60, round(value / 60) % 60
    parts = [f"{hours} hour" + "s" * (hours != 1)] * (hours > 0) + [f"{minutes} min"] * (minutes > 0 or hours == 0)
    return " ".join(parts)


def response_words(value: Fraction | None) -> str | None:
    if value is None or round(value) < 60:
        return sos_words(value)
    minutes = str(tenth(Fraction(round(value), 60))).removesuffix(".0")
    return f"{minutes} minute" + "s" * (minutes != "1")


def peak_hours(times: list[datetime]) -> list[str]:
    counts = [sum(at.hour == hour for at in times) for hour in range(24)]
    stand_out = [count > 0 and Fraction(count) >= Fraction(3, 2) * Fraction(len(times), 24) for count in counts]
    spans: list[list[int]] = []
    for hour in range(24):
        if stand_out[hour]:
            spans = [*spans[:-1], [*spans[-1], hour]] if spans and spans[-1][-1] == hour - 1 else [*spans, [hour]]
    if len(spans) > 1 and spans[0][0] == 0 and spans[-1][-1] == 23:
        spans = [*spans[1:-1], spans[-1] + spans[0]]
    spans.sort(key=lambda span: (-sum(counts[hour] for hour in span), span[0]))
    return [f"{span[0]:02}:00-{(span[-1] + 1) % 24:02}:00" for span in spans[:2]]


def peak_days(times: list[datetime], days: int) -> list[str]:
    steps = [(NOW - timedelta(seconds=30 * n)).weekday() for n in range(1, days % 7 * 2880 + 1)]  # 30 s each
    stand_out = []
    for day in range(7):
        count = sum(at.weekday() == day for at in times)
        part = Fraction(days // 7 * 2880 + steps.count(day), days * 2880)
        if count and count >= Fraction(6, 5) * len(times) * part:
            stand_out.append((-count, day))
    return [DAYS[day] for _, day in sorted(stand_out)[:2]]


@dataclass
class Expected:
    """The answers over the `days` before NOW."""

    history: History
    days: int

    def within(self, incidents: list[Any]) -> list[Any]:
        since = NOW - timedelta(days=self.days)
        return [i for i in incidents if since <= i.occurred_at < NOW and not getattr(i, "test_call", False)]

    def sos(self) -> dict[str, Any]:
        every: list[Sos] = self.within(self.history.sos)
        real = [i for i in self.history.sos if not i.test_call]
        total = len(every)
        response = mean(i.connected_at - i.occurred_at for i in every if i.connected_at)
        sent = [services(i) for i in every]
        talks = [c.duration_s for i in every for c in self.history.calls[i.cid] if c.connected_at]
        lasted = [duration for duration in talks if duration is not None]
        handled = {agent: sum(i.agent_id == agent for i in every) for agent in AGENTS}
        resolved = {agent: sum(i.agent_id == agent and is_resolved(i) for i in every) for agent in AGENTS}
        top = min(AGENTS, key=lambda agent: (-handled[agent], -resolved[agent], agent))
        return {
            "period": f"{self.days}d",
            "summary": {
                "totalIncidents": total,
                "activeIncidents": sum(i.status in {"INITIATED", "CONNECTED", "DISPATCHED"} for i in real),
                "resolvedToday": sum(
                    i.status == "CLOSED" and i.closed_at is not None and TODAY <= i.closed_at < NOW for i in real
                ),
                "averageResponseTime": response_words(response),
                "averageResponseSeconds": seconds(response),
                "resolutionRate": share(sum(map(is_resolved, every)), sum(i.status != "CANCELLED" for i in every)),
                "customerSatisfaction": None,
            },
            "emergencyTypes": {
                kind: counted(sum(i.emergency_type == kind for i in every), total) for kind in EMERGENCIES
            },
            "servicesDispatched": {
                service: counted(sum(service in one for one in sent), total)
                for service in ("POLICE", "AMBULANCE", "FIRE", "TOWING")
            },
            "timeStats": {
                "peakHours": peak_hours([i.occurred_at for i in every]),
                "peakDays": peak_days([i.occurred_at for i in every], self.days),
                "averageCallDuration": sos_words(mean(lasted)),
                "averageCallDurationSeconds": seconds(mean(lasted)),
                "longestCallDuration": sos_words(Fraction(max(lasted))),
                "longestCallDurationSeconds": max(lasted),
            },
            "agentStats": {
                "totalAgents": 5,
                "activeAgents": 3,
                "averageCallsPerAgent": tenth(Fraction(sum(handled.values()), 5)),
                "topAgent": {"agentId": top, "name": f"Counselor {top}", "handledIncidents": handled[top]},
            },
            "generatedAt": "2026-03-07T20:15:30Z",
        }

    def rsa(self) -> dict[str, Any]:
        every: list[Rsa] = self.within(self.history.rsa)
        response = mean(i.dispatched_at - i.occurred_at for i in every if i.dispatched_at)
        served = [(i.completed_at or i.closed_at) - i.dispatched_at for i in every if succeeded(i) and i.dispatched_at]  # type: ignore[operator]
        costs = {c: [i.cost["totalCost"] for i in every if i.cost and i.cost["currency"] == c] for c in ("KRW", "USD")}
        by_currency = {
            currency: {
                "services": len(paid),
                "totalRevenue": sum(paid),
                "averageCostPerService": int(sum(paid) / Fraction(len(paid)) + Fraction(1, 2)),
            }
            for currency, paid in costs.items()
            if paid
        }
        return {
            "period": f"{self.days}d",
            "summary": {
                "totalRequests": len(every),
                "activeRequests": sum(i.status not in {"COMPLETED", "CLOSED", "CANCELLED"} for i in self.history.rsa),
                "completedToday": sum(
                    succeeded(i) and TODAY <= (i.completed_at or i.closed_at or NOW) < NOW for i in self.history.rsa
                ),
                "averageResponseTime": rsa_words(response),
                "averageResponseSeconds": seconds(response),
                "successRate": share(sum(map(succeeded, every)), sum(map(is_over, every))),
                "customerSatisfaction": tenth(mean(ratings(every))),
            },
            "serviceTypes": {
                kind: counted(sum(i.service_type == kind for i in every), len(every)) for kind in SERVICES
            },
            "partners": {
                partner: {
                    "requests": sum(i.partner == partner for i in every),
                    "successRate": share(
                        sum(i.partner == partner and succeeded(i) for i in every),
                        sum(i.partner == partner and is_over(i) for i in every),
                    ),
                }
                for partner in PARTNERS
            },
            "timeStats": {
                "peakHours": peak_hours([i.occurred_at for i in every]),
                "peakDays": peak_days([i.occurred_at for i in every], self.days),
                "averageServiceTime": rsa_words(mean(served)),
                "averageServiceSeconds": seconds(mean(served)),
                "longestServiceTime": rsa_words(mean([max(served)])),
                "longestServiceSeconds": seconds(mean([max(served)])),
            },
            "costStats": {
                "totalRevenue": by_currency["KRW"]["totalRevenue"],
                "averageCostPerService": by_currency["KRW"]["averageCostPerService"],
                "currency": "KRW",
                "byCurrency": by_currency,
            },
            "generatedAt": "2026-03-07T20:15:30Z",
        }

    def sos_agent(self, agent_id: str) -> dict[str, Any]:
        every: list[Sos] = self.within(self.history.sos)
        own = [i for i in every if i.agent_id == agent_id]
        done = [i for i in own if is_resolved(i)]

        def handling(some: list[Sos]) -> Fraction | None:
            return mean(i.closed_at - i.assigned_at for i in some if i.closed_at and i.assigned_at)

        by_kind = {kind: [i for i in own if i.emergency_type == kind] for kind in EMERGENCIES}
        rate = {"resolutionRate": share(len(done), sum(i.status != "CANCELLED" for i in own))}
        escalated = sum(bool(services(i) - {"TOWING"}) for i in own)
        moments = [t for i in own for t in (i.assigned_at, i.dispatched_at, i.closed_at) if t]
        resolved = {agent: sum(i.agent_id == agent and is_resolved(i) for i in every) for agent in AGENTS}
        return {
            **self.agent(agent_id, own, done, handling(own), sos_words, rate, escalated, moments, resolved),
            "emergencyBreakdown": {
                kind: {
                    "count": len(some),
                    "avgTime": rsa_words(handling(some)),
                    "avgSeconds": seconds(handling(some)),
                    "satisfaction": None,
                }
                for kind, some in by_kind.items()
            },
        }

    def rsa_agent(self, agent_id: str) -> dict[str, Any]:
        every: list[Rsa] = self.within(self.history.rsa)
        own = [i for i in every if i.agent_id == agent_id]
        done = [i for i in own if succeeded(i)]
        emergencies: dict[str, list[Sos]] = {}
        for i in self.history.sos:
            if not i.test_call:
                emergencies.setdefault(i.vin, []).append(i)

        def handling(some: list[Rsa]) -> Fraction | None:
            return mean(i.closed_at - i.occurred_at for i in some if i.closed_at)

        def escalated(request: Rsa) -> bool:
            over = min(t for t in (request.completed_at, request.closed_at, NOW) if t)
            return any(request.occurred_at <= i.occurred_at < over for i in emergencies.get(request.vin, []))

        by_kind = {kind: [i for i in own if i.service_type == kind] for kind in SERVICES}
        rate = {"successRate": share(len(done), sum(map(is_over, own)))}
        moments = [t for i in own for t in (i.dispatched_at, i.closed_at) if t]
        resolved = {agent: sum(i.agent_id == agent and succeeded(i) for i in every) for agent in AGENTS}
        return {
            **self.agent(
                agent_id, own, done, handling(own), rsa_words, rate, sum(map(escalated, own)), moments, resolved
            ),
            "serviceBreakdown": {
                kind: {
                    "count": len(some),
                    "avgTime": rsa_words(handling(some)),
                    "avgSeconds": seconds(handling(some)),
                    "satisfaction": tenth(mean(ratings(some))),
                }
                for kind, some in by_kind.items()
            },
        }

    def agent(
        self,
        agent_id: str,
        own: list[Any],
        done: list[Any],
        handling: Fraction | None,
        words: Callable[[Fraction | None], str | None],
        rate: dict[str, Any],
        escalated: int,
        moments: list[datetime],
        resolved: dict[str, int],
    ) -> dict[str, Any]:
        talks = {i.cid: [call for call in self.history.calls[i.cid] if call.connected_at] for i in own}
        call = mean(c.duration_s for calls in talks.values() for c in calls if c.duration_s is not None)
        others = [count for agent, count in resolved.items() if agent != agent_id]
        mine = resolved[agent_id]
        ranked = {
            "teamRank": 1 + sum(count > mine for count in others),
            "teamSize": 5,
            "percentile": int(Fraction(100 * sum(count < mine for count in others), 5) + Fraction(1, 2)),
        }
        return {
            "agentId": agent_id,
            "agentName": f"Counselor {agent_id}",
            "period": f"{self.days}d",
            "performance": {
                "totalHandled": len(own),
                "averageHandlingTime": words(handling),
                "averageHandlingSeconds": seconds(handling),
                **rate,
                "customerSatisfaction": tenth(mean(ratings(own))),
                "responseRate": share(sum(bool(talks[i.cid]) for i in own), len(own)),
                "firstCallResolution": share(sum(len(talks[i.cid]) == 1 for i in done), len(done)),
            },
            "timeAnalysis": {
                "totalWorkHours": None,
                "averageCallsPerHour": None,
                "peakHours": peak_hours([i.occurred_at for i in own]),
                "averageCallDuration": words(call),
                "averageCallDurationSeconds": seconds(call),
            },
            "qualityMetrics": {
                "complianceRate": None,
                "documentationAccuracy": None,
                "escalationRate": share(escalated, len(own)),
                "customerComplaints": None,
            },
            "rankings": ranked if own else {"teamRank": None, "teamSize": 5, "percentile": None},
            "lastActivity": format_instant(max(moments)) if moments else None,
            "generatedAt": "2026-03-07T20:15:30Z",
        }


def counted(count: int, total: int) -> dict[str, Any]:
    return {"count": count, "percentage": share(count, total)}


def is_resolved(incident: Sos) -> bool:
    return incident.status in {"RESOLVED", "CLOSED"}


def is_over(request: Rsa) -> bool:
    return request.status in {"COMPLETED", "CLOSED"}


def succeeded(request: Rsa) -> bool:
    return is_over(request) and request.result != "NOT_COMPLETED"


def ratings(incidents: list[Any]) -> list[int]:
    found = [getattr(incident, "customer_satisfaction", None) for incident in incidents]
    return [rating for rating in found if rating is not None]


def services(incident: Sos) -> set[str]:
    sent = {name.upper() for name, said in (incident.emergency_services or {}).items() if said["dispatched"]}
    dispatched = incident.dispatch_info or {}
    sent |= {dispatched.get("serviceType", ""), *dispatched.get("servicesDispatched", [])}
    sent.add((incident.result or "").removesuffix("_DISPATCHED"))
    return sent & {"POLICE", "AMBULANCE", "FIRE", "TOWING"}
