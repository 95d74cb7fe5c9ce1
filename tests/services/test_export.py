"""`tcu export`: what DuckDB and pandas read out of it is what the database holds; ended in the middle, it goes on."""

import re
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import psycopg
import pytest
from click.testing import Result
from pyarrow import parquet
from typer.testing import CliRunner

from admin.__main__ import app
from benchmarks import cookbook
from db import analytics, sample
from db.pool import Connection
from stack.postgres import ANALYST, Postgres

WEEK = ("--since", "2026-03-01", "--until", "2026-03-09")


@pytest.fixture
def sampled(conn: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """The bundled sample, committed."""
    sample.load(conn)
    conn.commit()
    monkeypatch.setenv("TCU_DATABASE_URL", database_url)
    return conn


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["export", *words])


def one(conn: Connection, query: str) -> tuple[Any, ...]:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row


def test_the_cookbook_answers_what_is_printed(sampled: Connection, postgres_server: Postgres) -> None:
    """Each question of docs/analysts.md, asked as an analyst."""
    questions = cookbook.questions()
    assert [question.number for question in questions] == list(range(1, len(questions) + 1))
    assert len(questions) >= 15
    with psycopg.connect(postgres_server.database_url(sampled.info.dbname, role=ANALYST)) as analyst:
        for question in questions:
            answer = cookbook.ask(analyst, question)
            assert answer.rows, question.name
            assert question.shown.startswith(answer.table() + "\n\n!["), question.name
            assert re.search(r"^On \d{2},\d{3},\d{3} status messages: [\d.]+ s ", question.shown, re.M), question.name
            assert question.picture.stat().st_size > 1000


def test_duckdb_and_pandas_read_what_the_database_holds(sampled: Connection, tmp_path: Path) -> None:
    result = run(str(tmp_path), *WEEK)
    assert result.exit_code == 0, result.output
    held = one(sampled, "SELECT count(*), count(DISTINCT vin), round(sum(speed_kph::numeric), 1) FROM analytics.status")
    status = f"{tmp_path}/status/*/*.parquet"
    query = "SELECT count(*), count(DISTINCT vin), round(sum(speed_kph), 1), count(DISTINCT day) FROM read_parquet(?)"
    read = duckdb.sql(query, params=[status]).fetchall()
    assert read == [(held[0], held[1], float(held[2]), 8)]
    frame = pd.read_parquet(tmp_path / "status")
    assert (len(frame), frame["vin"].nunique(), round(frame["speed_kph"].sum(), 1)) == (
        held[0],
        held[1],
        float(held[2]),
    )
    assert set(frame["day"].astype(str)) == {f"2026-03-{day:02}" for day in range(1, 9)}
    assert (frame["occurred_at"].dt.strftime("%Y-%m-%d") == frame["day"].astype(str)).all()
    for view in analytics.VIEWS:
        files = sorted((tmp_path / view).rglob("*.parquet"))
        (total,) = one(sampled, "SELECT count(*) FROM analytics." + view)  # noqa: S608 - our own names
        assert sum(parquet.read_metadata(file).num_rows for file in files) == total > 0, view
    trips = pd.read_parquet(tmp_path / "trips")
    (km,) = one(sampled, "SELECT sum(distance_km) FROM analytics.trips")
    assert trips["distance_km"].sum() == pytest.approx(km)
    assert set(frame["dtc_codes"].map(tuple)) == {(), ("P0301",), ("P0420", "P0171")}
    (noted,) = one(sampled, "SELECT count(*) FROM audit WHERE action = 'EXPORT_ANALYTICS'")
    assert noted == 1


def test_ended_in_the_middle_it_goes_on_and_brings_what_is_new(
    sampled: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = (str(tmp_path), *WEEK, "--view", "status")
    real = analytics.rows

    def breaks_on_the_fifth(conn: Connection, view: str, day: date, *, at_once: int) -> Any:  # noqa: ARG001 - called by name
        for number, some in enumerate(real(conn, view, day, at_once=100)):
            if day == date(2026, 3, 5) and number == 3:
                raise KeyboardInterrupt
            yield some

    with monkeypatch.context() as patched:
        patched.setattr(analytics, "rows", breaks_on_the_fifth)
        assert run(*choice).exit_code != 0
    done = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    assert sorted(file.parent.name for file in done) == [f"day=2026-03-{day:02}" for day in range(1, 5)]
    assert list(tmp_path.rglob("*.partial"))  # what there is of the fifth, which nobody reads
    whole = one(sampled, "SELECT count(*) FROM vehicle_status WHERE occurred_at < '2026-03-05Z'")
    assert len(pd.read_parquet(tmp_path / "status")) == whole[0]
    query = "SELECT count(*) FROM read_parquet(?)"
    assert duckdb.sql(query, params=[f"{tmp_path}/status/*/*.parquet"]).fetchall() == [whole]
    assert run(*choice).exit_code == 0
    assert len(list(tmp_path.rglob("*.parquet"))) == 8
    assert not list(tmp_path.rglob("*.partial"))
    assert all(file.stat().st_mtime_ns == before for file, before in done.items())
    assert "\n0 rows written" in run(*choice).output

    sampled.execute("DELETE FROM vehicle_status WHERE vin = 'KMHSAMPLE00000001'")  # as the erasure does
    sampled.commit()
    assert run(*choice).exit_code == 0
    frame = pd.read_parquet(tmp_path / "status")
    assert "KMHSAMPLE00000001" not in set(frame["vin"])
    assert len(frame) == one(sampled, "SELECT count(*) FROM vehicle_status")[0]


def test_what_changes_in_place_is_written_anew_and_nothing_else(sampled: Connection, tmp_path: Path) -> None:
    choice = (str(tmp_path), *WEEK)

    def written(*changes: str) -> Counter[str]:
        """Return how many files of each view an export writes after these changes."""
        before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
        for change in changes:
            assert sampled.execute(change.encode()).rowcount == 1
        sampled.commit()
        assert run(*choice).exit_code == 0
        files = tmp_path.rglob("*.parquet")
        return Counter(file.parent.parent.name for file in files if file.stat().st_mtime_ns != before.get(file))

    assert written().keys() == set(analytics.VIEWS)
    assert written(
        "UPDATE sos_incidents SET status = 'CLOSED', closed_at = occurred_at + interval '77 minutes'"
        " WHERE cid = (SELECT min(cid) FROM sos_incidents WHERE occurred_at >= '2026-03-01')",
        "UPDATE curfew_violations SET ended_at = started_at + interval '61 minutes' WHERE violation_number"
        " = (SELECT min(violation_number) FROM curfew_violations WHERE started_at >= '2026-03-01')",
    ) == {"incidents": 1, "violations": 1}
    assert written() == {}
    incidents = pd.read_parquet(tmp_path / "incidents")
    assert (incidents["closed_at"] - incidents["occurred_at"] == pd.Timedelta(minutes=77)).sum() == 1

    (days,) = one(
        sampled, "SELECT count(DISTINCT occurred_at::date) FROM vehicle_status WHERE vin = 'KMHSAMPLE00000001'"
    )
    assert 0 < days < 8
    assert written("UPDATE vehicles SET location_withheld = true WHERE vin = 'KMHSAMPLE00000001'")["status"] == days
    status = pd.read_parquet(tmp_path / "status")
    withheld = status["vin"] == "KMHSAMPLE00000001"
    assert withheld.any()
    assert status.loc[withheld, "latitude"].isna().all()
    assert status.loc[~withheld, "latitude"].notna().any()


@pytest.mark.usefixtures("sampled")
def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    result = run(str(tmp_path), *WEEK, "--view", "vehicles")
    assert isinstance(result.exception, ValueError)
    assert "--view" in str(result.exception)
    assert isinstance(run(str(tmp_path), "--since", "2026-03-09", "--until", "2026-03-09").exception, ValueError)
