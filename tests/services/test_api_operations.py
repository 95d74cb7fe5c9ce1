"""How the process starts, tells that it can serve, and leaves."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from api.readiness import hindrances
from db import agents, keys, processes
from db.pool import Connection, connect
from db.processes import Process
from schemas.access import Role
from schemas.demo import DEMO_TOKEN
from schemas.topics import LaneName
from stack.server import wait_until
from tests.api import AGENT, BASE, KEY_SECRET, OPERATOR, VIN, Api, seed, serving, streaming
from tests.contract.examples import guide

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def start(database_url: str, *, environment: str | None, port: int = 0) -> subprocess.Popen[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TCU_")}
    variables |= {
        "TCU_DATABASE_URL": database_url,
        "TCU_API_PORT": str(port),
        "TCU_KEY_SECRET": KEY_SECRET,
        "PYTHONUNBUFFERED": "1",
    }
    if environment is not None:
        variables["TCU_ENVIRONMENT"] = environment
    return subprocess.Popen(
        [sys.executable, "-m", "api"],
        cwd=CHECKOUT, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def add_demo_token(database_url: str) -> None:
    with connect(database_url, name="tests") as conn:
        keys.put(conn, DEMO_TOKEN, secret=KEY_SECRET, label="demo", role=Role.OPERATOR, every_vehicle=True)


@pytest.mark.parametrize("environment", ["production", None], ids=["production", "by default"])
def test_a_production_start_refuses_the_guides_token(database_url: str, environment: str | None) -> None:
    add_demo_token(database_url)
    process = start(database_url, environment=environment)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert "demo's token" in err
    assert DEMO_TOKEN not in err


def test_the_guides_token_opens_nothing_in_production_even_if_it_is_added_later(database_url: str) -> None:
    with serving(database_url, environment="production") as api:
        add_demo_token(database_url)
        assert api.call("GET", f"/vehicles/{VIN}/sos/history", token=DEMO_TOKEN).status_code == 401
        assert api.call("GET", f"/vehicles/{VIN}/sos/history").status_code == 200


def test_a_setting_that_makes_no_sense_is_told_in_one_line(database_url: str) -> None:
    process = start(database_url, environment="prodution")
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.count("\n")) == (1, 1)
    assert "TCU_ENVIRONMENT" in err


def test_sigterm_ends_the_process_and_its_open_streams_in_order(database_url: str) -> None:
    seed(database_url)
    process = start(database_url, environment="production")
    try:
        assert process.stdout is not None
        serving_line = process.stdout.readline()
        port = int(serving_line.split('"port": ')[1].split(",")[0])
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/readyz"), wait_s=20)
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        with httpx.stream("GET", f"{url}{BASE}/sos/events", headers=headers, timeout=30) as stream:
            lines = stream.iter_lines()
            assert next(lines) == ": position"
            process.send_signal(signal.SIGTERM)
            assert list(lines) == ["id: 0", ""]  # the answer ends as it should: no cut connection
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, "")
    finally:
        process.kill()
        process.communicate()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def test_ready_names_what_is_missing(api: Api, owner: Connection) -> None:
    assert api.call("GET", "//readyz").json() == {"status": "ready", "reasons": []}
    owner.execute("DELETE FROM schema_migrations WHERE name LIKE '0003%'")
    owner.commit()
    answer = api.call("GET", "//readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["migration 0003_events is missing"]
    assert api.call("GET", "//livez").status_code == 200


def test_without_a_database_the_process_lives_and_is_not_ready() -> None:
    url = "postgresql://tcu:x@127.0.0.1:1/none"
    process = start(url, environment="demo")
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split('"port": ')[1].split(",")[0])
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/livez"), wait_s=20)
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=30)
        assert answer.status_code == 503
        assert answer.json()["reasons"] == ["the event reader is not up to date", "the database does not answer"]
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        refused = httpx.get(f"http://127.0.0.1:{port}{BASE}/sos/events", headers=headers, timeout=30)
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_the_process_reports_itself_with_its_figures(api: Api, conn: Connection) -> None:
    def own() -> list[Process]:
        conn.rollback()
        return [p for p in processes.list_all(conn) if p.name.endswith(f":{os.getpid()}")]

    with streaming(api):
        wait_until(lambda: [p.figures["openStreams"] for p in own()] == [1], wait_s=20)
    (process,) = own()
    assert process.name.startswith("api@")
    assert process.ready


def test_metrics_count_by_route_and_name_no_vehicle(api: Api) -> None:
    api.call("GET", f"/vehicles/{VIN}/sos/history")
    api.call("GET", f"/vehicles/{VIN}/nothing")
    text = api.call("GET", "//metrics").text
    assert (
        f'tcu_api_requests_total{{method="GET",route="{BASE}/vehicles/{{vin}}/sos/history",status="200"}} 1.0' in text
    )
    assert 'route="(none)",status="404"' in text
    assert "tcu_api_stream_lag_seconds 0." in text
    assert VIN not in text


def test_health_is_down_without_worker_and_degraded_while_one_is_not_ready(api: Api, conn: Connection) -> None:
    def health() -> tuple[str, str, str, list[str]]:
        told = api.call("GET", "/sos/system/health").json()
        levels = [f"{alert['level']}: {alert['message']}" for alert in told["alerts"]]
        return told["status"], told["systems"]["ingest"]["status"], told["systems"]["rules"]["status"], levels

    def beat(name: str, *, ready: bool, at: datetime) -> None:
        processes.beat(conn, Process(name, at, at, ready, {}))
        conn.commit()

    now = datetime.now(UTC)
    no_agent = "INFO: no counselor is available"
    unseen = [f"CRITICAL: no {name} process is alive (never seen)" for name in ("ingest", "rules")]
    assert health() == ("DOWN", "DOWN", "DOWN", [*unseen, no_agent])
    beat("rules@a:1", ready=True, at=now)
    beat("ingest@a:2", ready=True, at=now - timedelta(minutes=1))
    assert health() == ("DOWN", "DOWN", "OPERATIONAL", ["CRITICAL: no ingest process is alive (silent)", no_agent])
    beat("ingest@a:3", ready=False, at=now)
    assert health() == ("DEGRADED", "DEGRADED", "OPERATIONAL", ["WARNING: no ingest process is ready", no_agent])
    beat("ingest@a:3", ready=True, at=now)
    agents.set_availability(conn, AGENT, "AVAILABLE", at=now)
    conn.commit()
    assert health() == ("HEALTHY", "OPERATIONAL", "OPERATIONAL", [])


@pytest.mark.parametrize(
    ("ready", "overall", "worker", "alerts"),
    [
        ({}, "HEALTHY", "OPERATIONAL", []),
        ({"bulk": None}, "DEGRADED", "DEGRADED", ["CRITICAL: no ingest-bulk process is alive (never seen)"]),
        ({"engine": False}, "DEGRADED", "DEGRADED", ["WARNING: no ingest-engine process is ready"]),
        ({"urgent": False}, "DEGRADED", "DEGRADED", ["WARNING: no ingest-urgent process is ready"]),
        ({"urgent": None}, "DOWN", "DOWN", ["CRITICAL: no ingest-urgent process is alive (never seen)"]),
    ],
)
def test_health_is_down_where_nobody_serves_presses_and_degraded_where_nobody_serves_another_lane(
    api: Api, conn: Connection, ready: dict[str, bool | None], overall: str, worker: str, alerts: list[str]
) -> None:
    now = datetime.now(UTC)
    processes.beat(conn, Process("rules@a:1", now, now, ready=True, figures={}))
    for lane in LaneName:
        is_ready = ready.get(lane, True)
        if is_ready is not None:
            processes.beat(conn, Process(f"ingest-{lane}@a:1", now, now, is_ready, {}))
    agents.set_availability(conn, AGENT, "AVAILABLE", at=now)
    conn.commit()
    told = api.call("GET", "/sos/system/health").json()
    levels = [f"{alert['level']}: {alert['message']}" for alert in told["alerts"]]
    assert (told["status"], told["systems"]["ingest"]["status"], levels) == (overall, worker, alerts)


def test_health_counts_what_there_is_to_do(api: Api) -> None:
    assert api.call("POST", f"/vehicles/{VIN}/sos", guide("sos_incident_request")).status_code == 201
    told = api.call("GET", "/sos/system/health").json()
    assert told["metrics"]["activeIncidents"] == told["metrics"]["totalIncidentsToday"] == 1
    assert told["systems"]["voiceSystem"]["queueLength"] == 1
    assert told["systems"]["voiceSystem"]["status"] == "UNKNOWN"
    assert told["systems"]["database"]["connections"] >= 1
    assert told["systems"]["database"]["responseTimeSeconds"] > 0


def test_answers_are_not_held_back_to_fill_packets(api: Api) -> None:
    with streaming(api):
        (connection,) = api.server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_more_requests_than_connections_and_threads_are_all_served(database_url: str) -> None:
    with serving(database_url, api_connections=2) as api, ThreadPoolExecutor(80) as callers:
        paths = [f"/vehicles/{VIN}/sos/history"] * 160
        statuses = [answer.status_code for answer in callers.map(lambda path: api.call("GET", path), paths)]
    assert statuses == [200] * 160


def test_hindrances_are_none_while_all_is_well(api: Api) -> None:
    assert hindrances(api.server.config.app.state.resources) == []  # type: ignore[union-attr]


def test_the_documentation_comes_whole_from_this_machine_and_runs_nothing_else(api: Api) -> None:
    page = api.call("GET", "//docs", token=None)
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 4
    for path in named:
        assert path.startswith("/docs/")
        answer = api.call("GET", f"/{path}", token=None)
        assert (answer.status_code, bool(answer.content)) == (200, True)
        assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
    assert "://" not in page.text
    assert "<script>" not in page.text
    assert api.call("GET", "//docs/nothing.js", token=None).status_code == 404


def test_what_is_data_can_be_neither_run_nor_framed_nor_kept(api: Api) -> None:
    for path, token in ((f"/vehicles/{VIN}/sos/history", OPERATOR), ("/nothing", None), ("//livez", None)):
        headers = api.call("GET", path, token=token).headers
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
