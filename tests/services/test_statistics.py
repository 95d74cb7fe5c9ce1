"""Statistics equal those of an independent computation over the same history, figure by figure."""

from datetime import timedelta
from typing import Any

import pytest

from api.answers import statistics as answers
from db import agents, statistics
from db.pool import Connection
from schemas.statistics import Period
from tests.contract.examples import guide
from tests.expected_statistics import NOW, Expected
from tests.history import AGENTS, PARTNERS, History, generate, store


@pytest.fixture(scope="module")
def history() -> History:
    made = generate(20260307, now=NOW, sos=6000, rsa=4000)
    assert len(made.sos) + len(made.rsa) == 10_000
    return made


@pytest.mark.parametrize("period", Period)
def test_statistics_equal_an_independent_computation(conn: Connection, history: History, period: Period) -> None:
    store(conn, history)
    expected = Expected(history, period.days)
    assert dumped(answers.sos_statistics(statistics.sos(conn, days=period.days, now=NOW), period)) == expected.sos()
    assert dumped(answers.rsa_statistics(statistics.rsa(conn, days=period.days, now=NOW), period)) == expected.rsa()
    for agent_id in AGENTS:
        agent = agents.get(conn, agent_id)
        assert agent is not None
        by_sos = statistics.sos_agent(conn, agent_id, days=period.days, now=NOW)
        assert dumped(answers.sos_performance(agent, by_sos, period)) == expected.sos_agent(agent_id)
        by_rsa = statistics.rsa_agent(conn, agent_id, days=period.days, now=NOW)
        assert dumped(answers.rsa_performance(agent, by_rsa, period)) == expected.rsa_agent(agent_id)


def test_the_history_has_every_case_and_every_documented_figure(history: History) -> None:
    expected = Expected(history, 30)
    unknown = {
        *("satisfaction", "customerSatisfaction", "totalWorkHours", "averageCallsPerHour"),
        *("complianceRate", "documentationAccuracy", "customerComplaints"),
    }
    for name, answer in {
        "sos_statistics_response": expected.sos(),
        "sos_agent_performance_response": expected.sos_agent("AGENT_001"),
        "rsa_statistics_response": expected.rsa(),
        "rsa_agent_results_response": expected.rsa_agent("AGENT_001"),
    }.items():
        assert lacking(guide(name), answer, null=unknown) == []
    assert expected.rsa_agent("AGENT_001")["qualityMetrics"]["escalationRate"] > 0
    assert expected.sos()["timeStats"]["peakHours"][0].startswith("18:00-")
    assert expected.sos()["timeStats"]["peakDays"] == ["SATURDAY"]
    assert any(i.test_call and NOW - timedelta(days=1) <= i.occurred_at < NOW for i in history.sos)
    for days in (1, 7, 30, 90, 365):
        since, before = NOW - timedelta(days=days), NOW - timedelta(days=days, microseconds=1)
        for incidents in (history.sos, history.rsa):
            assert {since, before, NOW} <= {incident.occurred_at for incident in incidents}


def dumped(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True)


def lacking(documented: Any, answered: Any, *, null: set[str], at: str = "") -> list[str]:
    """Return what the guide shows and the answer has not, or in another JSON type."""
    if answered is None:
        return [] if at.rpartition(".")[2] in null else [f"{at} is null"]
    if isinstance(documented, dict):
        missing = [f"{at}.{name}" for name in documented if name not in answered and name not in PARTNERS]
        both = [name for name in documented if name in answered]
        return missing + [d for n in both for d in lacking(documented[n], answered[n], null=null, at=f"{at}.{n}")]
    kinds = [int | float if isinstance(value, int | float) else type(value) for value in (documented, answered)]
    return [] if kinds[0] == kinds[1] else [f"{at} is {answered!r}"]
