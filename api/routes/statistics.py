"""Statistics of SOS and RSA, and the performance of their counselors; `docs/statistics.md` defines every figure."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.access import Action
from api.answers import statistics as answers
from api.deps import Database, ReadableAgent, Rule
from api.errors import documented
from api.examples import told
from api.routes import BASE
from db import agents, statistics
from db.agents import Agent
from db.pool import Connection
from rules.errors import NotFoundError
from schemas import statistics as wire
from schemas.statistics import Period

router = APIRouter(prefix=BASE, tags=["Statistics"])

PeriodQuery = Annotated[Period, Query(description="the whole days before now")]


@router.get(
    "/sos/stats",
    dependencies=[Depends(Rule(Action.READ_STATISTICS))],
    responses=told("sos_statistics_response") | documented(401, 403, 422, 503),
    summary="SOS Statistics Query",
)
def get_sos_statistics(pool: Database, period: PeriodQuery = Period.MONTH) -> wire.SosStatisticsResponse:
    """All SOS incidents of the period, test calls left out."""
    with pool.connection() as conn:
        statistics.begin_snapshot(conn)
        return answers.sos_statistics(statistics.sos(conn, days=period.days, now=datetime.now(UTC)), period)


@router.get(
    "/rsa/stats",
    dependencies=[Depends(Rule(Action.READ_STATISTICS))],
    responses=told("rsa_statistics_response") | documented(401, 403, 422, 503),
    summary="RSA Service Statistics Query",
)
def get_rsa_statistics(pool: Database, period: PeriodQuery = Period.MONTH) -> wire.RsaStatisticsResponse:
    """All roadside assistance requests of the period."""
    with pool.connection() as conn:
        statistics.begin_snapshot(conn)
        return answers.rsa_statistics(statistics.rsa(conn, days=period.days, now=datetime.now(UTC)), period)


@router.get(
    "/sos/agents/{agentId}/performance",
    responses=told("sos_agent_performance_response") | documented(401, 403, 404, 422, 503),
    summary="Agent SOS Results Query",
)
def get_sos_performance(
    agent_id: ReadableAgent, pool: Database, period: PeriodQuery = Period.MONTH
) -> wire.SosPerformanceResponse:
    """What a counselor made of the period's SOS incidents."""
    with pool.connection() as conn:
        statistics.begin_snapshot(conn)
        agent = _known(conn, agent_id)
        figures = statistics.sos_agent(conn, agent_id, days=period.days, now=datetime.now(UTC))
        return answers.sos_performance(agent, figures, period)


@router.get(
    "/rsa/agents/{agentId}/performance",
    responses=told("rsa_agent_results_response") | documented(401, 403, 404, 422, 503),
    summary="Agent RSA Results Query",
)
def get_rsa_performance(
    agent_id: ReadableAgent, pool: Database, period: PeriodQuery = Period.MONTH
) -> wire.RsaPerformanceResponse:
    """What a counselor made of the period's roadside assistance requests."""
    with pool.connection() as conn:
        statistics.begin_snapshot(conn)
        agent = _known(conn, agent_id)
        figures = statistics.rsa_agent(conn, agent_id, days=period.days, now=datetime.now(UTC))
        return answers.rsa_performance(agent, figures, period)


def _known(conn: Connection, agent_id: str) -> Agent:
    agent = agents.get(conn, agent_id)
    if agent is None:
        raise NotFoundError(f"there is no agent {agent_id}")
    return agent
