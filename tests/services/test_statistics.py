"""Statistics equal those of an independent computation over the same history, figure by figure, and stay quick."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from api.answers import statistics as answers
from db import agents, statistics
from db.pool import Connection, connect
from db.statements import statements
from schemas.access import Role
from schemas.statistics import Period
from tests.api import AGENT, PARTNER, VIN, Api, serving
from tests.contract.examples import guide
from tests.expected_statistics import NOW, Expected
from tests.history import AGENTS, PARTNERS, Call, History, Rsa, Sos, generate, store

DOCUMENTED = [
    "sos_statistics_response",
    "sos_agent_performance_response",
    "rsa_statistics_response",
    "rsa_agent_results_response",
]
STATISTICS = ["/sos/stats", "/rsa/stats"]
PERFORMANCE = ["/sos/agents/{agent}/performance", "/rsa/agents/{agent}/performance"]


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


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
    figures = (expected.sos(), expected.sos_agent(AGENT), expected.rsa(), expected.rsa_agent(AGENT))
    for name, answer in zip(DOCUMENTED, figures, strict=True):
        assert lacking(guide(name), answer, null=unknown) == []
    assert expected.rsa_agent("AGENT_001")["qualityMetrics"]["escalationRate"] > 0
    assert expected.sos()["timeStats"]["peakHours"][0].startswith("18:00-")
    assert expected.sos()["timeStats"]["peakDays"] == ["SATURDAY"]
    assert any(i.test_call and NOW - timedelta(days=1) <= i.occurred_at < NOW for i in history.sos)
    for days in (1, 7, 30, 90, 365):
        since, before = NOW - timedelta(days=days), NOW - timedelta(days=days, microseconds=1)
        for incidents in (history.sos, history.rsa):
            assert {since, before, NOW} <= {incident.occurred_at for incident in incidents}


@pytest.mark.parametrize("days", [period.days for period in Period])
def test_a_period_has_its_first_instant_and_not_its_last(conn: Connection, days: int) -> None:
    since, least = NOW - timedelta(days=days), timedelta(microseconds=1)
    edges = History()
    for number, at in enumerate((since - least, since, NOW - least, NOW)):
        cids, vin = (f"SOS_20260307_00{number}", f"RSA_20260307_00{number}"), f"KMHSH81C7LU00000{number}"
        edges.sos.append(
            Sos(
                cids[0],
                vin,
                "CLOSED",
                "FIRE",
                test_call=False,
                occurred_at=at,
                agent_id=AGENT,
                result="FIRE_DISPATCHED",
            )
        )
        edges.rsa.append(Rsa(cids[1], vin, "CLOSED", at, "TOWING", AGENT, PARTNER, cost=won(10**number)))
        for cid in cids:
            edges.calls[cid] = [Call(f"CALL-{cid}", cid, "ENDED", at, at, at, 10**number)]
    store(conn, edges)
    sos, rsa = statistics.sos(conn, days=days, now=NOW), statistics.rsa(conn, days=days, now=NOW)
    assert {(kind.kind, kind.total) for kind in sos.kinds} == {(None, 2), ("FIRE", 2)}
    assert (sos.services, sum(sos.times.values())) == ({"FIRE": 2}, 2)
    assert sos.calls == statistics.Calls(average_s=55, longest_s=100)
    assert (sos.team[0].agent_id, sos.team[0].handled) == (AGENT, 2)
    assert {(kind.kind, kind.total) for kind in rsa.kinds} == {(None, 2), ("TOWING", 2)}
    assert sum(rsa.times.values()) == 2
    assert [(sent.partner, sent.requests) for sent in rsa.partners if sent.requests] == [(PARTNER, 2)]
    assert rsa.costs == [statistics.CurrencyFigures("KRW", services=2, total=110)]
    for figures in (
        statistics.sos_agent(conn, AGENT, days=days, now=NOW),
        statistics.rsa_agent(conn, AGENT, days=days, now=NOW),
    ):
        assert {(kind.handled, kind.call_s) for kind in figures.kinds} == {(2, 55)}
        assert sum(figures.times.values()) == 2
        assert figures.team[0].handled == 2


def test_without_incidents_every_documented_figure_is_zero_or_null(api: Api) -> None:
    sos, rsa = (api.call("GET", path).json() for path in STATISTICS)
    sos_agent, rsa_agent = (api.call("GET", path.format(agent=AGENT)).json() for path in PERFORMANCE)
    none = {"count": 0, "percentage": None}
    untimed = {"count": 0, "avgTime": None, "avgSeconds": None, "satisfaction": None}
    assert sos["period"] == rsa["period"] == sos_agent["period"] == rsa_agent["period"] == "30d"
    assert sos["summary"] == {
        "totalIncidents": 0,
        "activeIncidents": 0,
        "resolvedToday": 0,
        "averageResponseTime": None,
        "averageResponseSeconds": None,
        "resolutionRate": None,
        "customerSatisfaction": None,
    }
    assert list(sos["emergencyTypes"].values()) == [none] * 6
    assert list(sos["servicesDispatched"].values()) == [none] * 4
    assert sos["timeStats"]["peakHours"] == sos["timeStats"]["peakDays"] == []
    assert sos["agentStats"] == {"totalAgents": 1, "activeAgents": 0, "averageCallsPerAgent": 0.0, "topAgent": None}
    assert rsa["summary"] == {
        "totalRequests": 0,
        "activeRequests": 0,
        "completedToday": 0,
        "averageResponseTime": None,
        "averageResponseSeconds": None,
        "successRate": None,
        "customerSatisfaction": None,
    }
    assert list(rsa["serviceTypes"].values()) == [none] * 5
    assert rsa["partners"][PARTNER] == {"requests": 0, "successRate": None}
    assert rsa["costStats"] == {"totalRevenue": 0, "averageCostPerService": None, "currency": None, "byCurrency": {}}
    for answer, breakdown in ((sos_agent, "emergencyBreakdown"), (rsa_agent, "serviceBreakdown")):
        assert answer["performance"] == dict.fromkeys(answer["performance"]) | {"totalHandled": 0}
        assert set(answer["qualityMetrics"].values()) == {None}
        assert all(one == untimed for one in answer[breakdown].values())
        assert answer["rankings"] == {"teamRank": None, "teamSize": 1, "percentile": None}
        assert answer["lastActivity"] is None
    for name, answer in zip(DOCUMENTED, (sos, sos_agent, rsa, rsa_agent), strict=True):
        missing = lacking(guide(name), answer, null=set())
        assert all(one.endswith(" is null") for one in missing), missing


def test_a_press_counts_at_once_and_a_test_call_never(api: Api) -> None:
    api.call("PUT", f"/sos/agents/{AGENT}/availability", {"availability": "AVAILABLE"})
    assert api.call("POST", f"/vehicles/{VIN}/sos", {"emergencyType": "FIRE"}).status_code == 201
    assert api.call("POST", f"/vehicles/{VIN}/sos", {"emergencyType": "MEDICAL", "testCall": True}).status_code == 201
    answer = api.call("GET", "/sos/stats", params={"period": "1d"}).json()
    assert (answer["summary"]["totalIncidents"], answer["summary"]["activeIncidents"]) == (1, 1)
    assert answer["emergencyTypes"]["FIRE"] == {"count": 1, "percentage": 100.0}
    assert answer["emergencyTypes"]["MEDICAL"]["count"] == 0
    assert answer["agentStats"]["topAgent"] == {"agentId": AGENT, "name": "Kim Counselor", "handledIncidents": 1}
    assert api.call("GET", PERFORMANCE[0].format(agent=AGENT)).json()["rankings"]["teamRank"] == 1


def test_a_period_is_one_of_the_documented(api: Api) -> None:
    for path in (*STATISTICS, *(path.format(agent=AGENT) for path in PERFORMANCE)):
        for period in Period:
            assert api.call("GET", path, params={"period": period}).json()["period"] == period
        for wrong in ("", "2d", "30", "30D", "30d ", "-1d"):
            refused = api.call("GET", path, params={"period": wrong})
            assert refused.status_code == 422
            assert [(one["place"], one["field"]) for one in refused.json()["errors"]] == [("query", "period")]


def test_the_center_sees_statistics_and_counselors_their_own_performance(api: Api, conn: Connection) -> None:
    agents.put(conn, "AGENT_002", name="Lee Counselor")
    conn.commit()
    api.add_key("sk_agent", Role.AGENT, agent_id=AGENT)
    strangers = [
        api.add_key(f"sk_{role}", role, every_vehicle=True) for role in ("owner", "guardian", "driver", "analyst")
    ]
    strangers.append(api.add_key("sk_partner", Role.PARTNER, partner=PARTNER))
    for path in STATISTICS:
        assert api.call("GET", path, token="sk_agent").status_code == 200
        assert [api.call("GET", path, token=one).status_code for one in strangers] == [403] * 5
        assert api.call("GET", path, token=None).status_code == 401
    for path in PERFORMANCE:
        own, other, unknown = (path.format(agent=agent) for agent in (AGENT, "AGENT_002", "AGENT_999"))
        assert api.call("GET", own, token="sk_agent").status_code == 200
        assert api.call("GET", other, token="sk_agent").status_code == 404
        assert [api.call("GET", one, token="sk_agent").json()["code"] for one in (other, unknown)] == ["NOT_FOUND"] * 2
        assert [api.call("GET", one).status_code for one in (own, other, unknown)] == [200, 200, 404]
        assert [api.call("GET", own, token=one).status_code for one in strangers] == [403] * 5


def test_a_period_of_100_000_incidents_is_read_by_its_index(database_url: str) -> None:
    with connect(database_url, name="tests", autocommit=True) as conn:
        fill(conn, incidents=100_000)
        figures = statistics.sos(conn, days=30, now=NOW), statistics.rsa(conn, days=30, now=NOW)
        assert [max(kind.total for kind in one.kinds) for one in figures] == [8219, 8219]
        # Two partial indexes hold the few that are open, and either serves.
        assert reads(conn, "sos_now") - {"sos_incidents_open", "sos_incidents_unclosed"} == {"sos_incidents_closed"}
        assert reads(conn, "rsa_now") - {"rsa_incidents_open", "rsa_incidents_unclosed"} == {"rsa_incidents_ended"}
        for name in ("sos_kinds", "sos_services", "sos_times", "sos_calls", "sos_team"):
            assert reads(conn, name) == {"sos_incidents_period"}, name
        for name in ("rsa_kinds", "rsa_partners", "rsa_times", "rsa_costs", "rsa_team"):
            assert reads(conn, name) == {"rsa_incidents_period"}, name
        for name in ("sos_agent", "sos_agent_times"):
            assert reads(conn, name) <= {"sos_incidents_agent", "sos_incidents_period"}, name
        assert reads(conn, "rsa_agent") == {"rsa_incidents_agent", "sos_incidents_history"}
        assert reads(conn, "rsa_agent_times") == {"rsa_incidents_agent"}


def won(amount: int) -> dict[str, Any]:
    return {"totalCost": amount, "currency": "KRW"}


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


def reads(conn: Connection, name: str) -> set[str]:
    """Return how a statement reads incidents in the 30 days before NOW: indexes by name, "all" for a whole table."""
    today = NOW.replace(hour=0, minute=0, second=0)
    values = {"since": NOW - timedelta(days=30), "until": NOW, "day_start": today, "agent_id": "AGENT_1"}
    row = conn.execute(b"EXPLAIN (COSTS OFF, FORMAT JSON) " + statements("statistics")[name], values).fetchone()
    assert row is not None
    found: set[str] = set()
    nodes = [row[0][0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node["Node Type"] == "Seq Scan" and "incidents" in node["Relation Name"]:
            found.add("all")
        if "incidents" in node.get("Index Name", ""):
            found.add(node["Index Name"])
    return found


def fill(conn: Connection, *, incidents: int) -> None:
    """Store so many SOS and as many RSA incidents, evenly over a year, a call each. Needs an autocommit connection."""
    values = {"now": NOW, "incidents": incidents, "apart": timedelta(days=365) / incidents}
    conn.execute(
        """
        INSERT INTO vehicles (vin) SELECT 'KMHSH81C7LU' || lpad(n::text, 6, '0') FROM generate_series(0, 999) n;
        INSERT INTO agents (agent_id, name) SELECT 'AGENT_' || n, 'Counselor' FROM generate_series(0, 19) n;
        INSERT INTO partners (partner, name) VALUES ('SAMSUNG_FIRE', 'Samsung Fire')"""
    )
    conn.execute(
        """
        INSERT INTO sos_incidents (cid, vin, status, emergency_type, urgency, source, test_call, occurred_at,
            received_at, anomalies, agent_id, assigned_at, connected_at, dispatch_info, result, closed_at,
            vehicle_status, updated_at)
        SELECT 'SOS_20260307_' || lpad(n::text, 6, '0'), 'KMHSH81C7LU' || lpad((n %% 1000)::text, 6, '0'), 'CLOSED',
            (ARRAY['MEDICAL', 'BREAKDOWN', 'ACCIDENT'])[n %% 3 + 1], 'HIGH', 'TCU', false, t, t, '{}',
            'AGENT_' || n %% 20, t, t + interval '1 minute',
            CASE WHEN n %% 4 = 0 THEN '{"serviceType": "POLICE"}'::jsonb END, 'OTHER', t + interval '20 minutes',
            '{"drivable": false, "batteryVoltage": 12.6, "fuelLevel": 45.2}', t
        FROM generate_series(1, %(incidents)s) n, LATERAL (SELECT %(now)s - n * %(apart)s::interval AS t) AS at""",
        values,
    )
    conn.execute(
        """
        INSERT INTO rsa_incidents (cid, vin, status, service_type, priority, source, occurred_at, received_at,
            anomalies, symptoms, dtc_codes, agent_id, partner, dispatched_at, completed_at, closed_at, result, cost,
            customer_satisfaction, updated_at)
        SELECT 'RSA_20260307_' || lpad(n::text, 6, '0'), 'KMHSH81C7LU' || lpad((n %% 1000)::text, 6, '0'), 'CLOSED',
            'TOWING', 'NORMAL', 'APP', t, t, '{}', '{}', '{}', 'AGENT_' || n %% 20, 'SAMSUNG_FIRE',
            t + interval '5 minutes', t + interval '1 hour', t + interval '65 minutes', 'TOWING_COMPLETED',
            '{"totalCost": 80000, "currency": "KRW", "paymentMethod": "MEMBERSHIP"}', n %% 5 + 1, t
        FROM generate_series(1, %(incidents)s) n, LATERAL (SELECT %(now)s - n * %(apart)s::interval AS t) AS at""",
        values,
    )
    conn.execute(
        """
        INSERT INTO voice_calls (session_id, cid, status, started_at, connected_at, ended_at, duration_s)
        SELECT 'CALL-' || cid, cid, 'ENDED', occurred_at, occurred_at, occurred_at, 180
        FROM (SELECT cid, occurred_at FROM sos_incidents
              UNION ALL SELECT cid, occurred_at FROM rsa_incidents) AS every"""
    )
    conn.execute("VACUUM ANALYZE")
