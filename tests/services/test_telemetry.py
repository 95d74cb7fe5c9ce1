"""Time series by REST: what was sent, as pandas reckons it from the same messages; formats, limits and places."""

import io
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from pyarrow import parquet

from api import tables
from db import telemetry, vehicles
from db.pool import Connection, connect
from db.telemetry import EngineRow, StatusRow
from schemas.access import Role
from schemas.base import parse_instant
from tests import driven
from tests.api import OTHER_VIN, VIN, Api, serving

SINCE = datetime(2026, 3, 7, 9, 7, 30, tzinfo=UTC)
HOURS = 30
DELIVERED = SINCE + timedelta(days=6)
URL = f"//api/v1/vehicles/{VIN}"


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def asked(api: Api, what: str, accept: str = "application/json", **query: Any) -> Any:
    response = api.call("GET", f"{URL}/{what}", params=query, headers={"Accept": accept})
    assert response.status_code == 200, response.text
    return response


def instants(since: datetime, until: datetime) -> dict[str, str]:
    return {"from": since.isoformat(), "to": until.isoformat()}


def sample(at: datetime, vin: str = VIN, **said: Any) -> StatusRow:
    told = dict.fromkeys(StatusRow._fields) | {"clock_suspect": False} | said
    return StatusRow(**told | {"vin": vin, "message_id": uuid4(), "occurred_at": at, "received_at": at})


def store_samples(conn: Connection, *rows: StatusRow) -> None:
    telemetry.store_status(conn, rows)
    conn.commit()


@pytest.fixture(scope="module")
def sent() -> driven.Driven:
    return driven.drive([VIN, OTHER_VIN], since=SINCE, hours=HOURS, seed=11)


@pytest.fixture
def delivered(api: Api, sent: driven.Driven) -> Api:
    with connect(api.database_url, name="tests", autocommit=True) as conn:
        sent.deliver(conn, seed=3, at=DELIVERED)
    return api


def test_samples_buckets_and_trips_are_what_pandas_makes_of_the_messages(delivered: Api, sent: driven.Driven) -> None:
    """Delivered late, in any order, some twice and some never."""
    since, until = SINCE - timedelta(hours=1), SINCE + timedelta(hours=HOURS + 6)
    frame = sent.frame(driven.Uplink.STATUS, VIN)
    rows = asked(delivered, "telemetry", **instants(since, until)).json()["rows"]
    assert len(rows) == len(frame) > 300
    for name in (*driven.FIGURES, "engineStatus"):
        assert [row[name] for row in rows] == [None if pd.isna(one) else one for one in frame[name]], name
    assert [parse_instant(row["timestamp"]) for row in rows] == [
        t.floor("ms").to_pydatetime() for t in frame["timestamp"]
    ]

    inner = (SINCE + timedelta(hours=2), SINCE + timedelta(hours=20))
    for bucket, width in (("15m", "15min"), ("1h", "1h")):
        told = asked(delivered, "telemetry", bucket=bucket, **instants(*inner)).json()["rows"]
        expected = driven.buckets(sent, VIN, width, since=inner[0], until=inner[1])
        assert [parse_instant(row["timestamp"]) for row in told] == list(expected.index)
        assert any(row["samples"] == 0 and row["speedKphAverage"] is None for row in told), "there are gaps"
        for name in expected.columns:
            assert same([row[name] for row in told], expected[name]), (bucket, name)

    trips = asked(delivered, "trips", **instants(since, until)).json()["rows"]
    reckoned = driven.trips(sent, VIN)
    assert len(trips) == len(reckoned) > 5
    assert {trip["endedBy"] for trip in trips} == {"ENGINE_OFF", "SILENCE"}
    for trip, expected in zip(trips, reckoned, strict=True):
        for name in ("startedAt", "endedAt"):
            assert parse_instant(trip[name]) == expected.pop(name).floor("ms").to_pydatetime()
        for name, value in expected.items():
            assert same([trip[name]], [value]), (name, trip, expected)


def same(told: list[Any], expected: Any) -> bool:
    pairs = [(one, None if pd.isna(other) else other) for one, other in zip(told, expected, strict=True)]
    return all(
        one == other
        or (isinstance(one, float | int) and isinstance(other, float) and math.isclose(one, other, abs_tol=6e-4))
        for one, other in pairs
    )


def test_a_period_cut_anywhere_gives_each_trip_once(delivered: Api) -> None:
    since, until = SINCE - timedelta(hours=1), SINCE + timedelta(hours=HOURS + 6)
    whole = asked(delivered, "trips", **instants(since, until)).json()["rows"]
    cuts = [since, *(parse_instant(trip["startedAt"]) + timedelta(minutes=2) for trip in whole), until]
    parts = [asked(delivered, "trips", **instants(begin, end)).json()["rows"] for begin, end in pairwise(cuts)]
    assert [trip for part in parts for trip in part] == whole


def test_every_format_holds_the_same_rows(delivered: Api) -> None:
    query = instants(SINCE, SINCE + timedelta(hours=HOURS)) | {"fields": "speedKph,dtcCodes,location"}
    rows = asked(delivered, "telemetry", "application/json", **query).json()["rows"]
    text = asked(delivered, "telemetry", "text/csv", **query)
    assert text.headers["content-type"].startswith("text/csv")
    binary = asked(delivered, "telemetry", "application/vnd.apache.parquet", **query)
    table = parquet.read_table(io.BytesIO(binary.content))
    names = ["timestamp", "receivedAt", "clockSuspect", "latitude", "longitude", "accuracy", "heading", "speedKph"]
    assert table.column_names == [*names, "dtcCodes"] == list(rows[0])
    assert table.num_rows == len(rows) > 300
    frame = pd.read_csv(io.BytesIO(text.content))
    assert list(frame.columns) == table.column_names
    for name in ("speedKph", "latitude"):
        expected = [row[name] for row in rows]
        assert table[name].to_pylist() == expected
        assert same(list(frame[name].astype(object).where(frame[name].notna(), None)), expected)
    assert list(frame["timestamp"]) == [row["timestamp"] for row in rows]
    assert [at.replace(microsecond=at.microsecond // 1000 * 1000) for at in table["timestamp"].to_pylist()] == [
        parse_instant(row["timestamp"]) for row in rows
    ]


ACCEPTED = [
    ("*/*", "application/json"),
    ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
    ("text/*", "text/csv"),
    ("application/json;q=0.4, text/csv;q=0.5", "text/csv"),
    ("application/json;q=0, */*;q=0.1", "text/csv"),
    ("Application/vnd.apache.PARQUET", "application/vnd.apache.parquet"),
    ("text/html", None),
    ("application/json;q=0", None),
    ("image/*, text/xml", None),
]


def test_the_caller_chooses_the_format(api: Api) -> None:
    for accept, found in ACCEPTED:
        for what in ("telemetry", "trips"):
            response = api.call("GET", f"{URL}/{what}", headers={"Accept": accept})
            if found is None:
                assert (response.status_code, response.json()["code"]) == (406, "NOT_ACCEPTABLE"), accept
            else:
                assert response.status_code == 200, accept
                assert response.headers["content-type"].partition(";")[0] == found, accept


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("telemetry", instants(SINCE, SINCE), "from"),
    ("telemetry", instants(SINCE, SINCE + timedelta(days=31, seconds=1)), "from"),
    ("telemetry", instants(SINCE, SINCE + timedelta(days=366, seconds=1)) | {"bucket": "1d"}, "from"),
    ("telemetry", instants(SINCE, SINCE + timedelta(days=7)) | {"bucket": "1m"}, "bucket"),
    ("telemetry", {"bucket": "7m"}, "bucket"),
    ("telemetry", {"fields": "speedKph,customerName"}, "fields"),
    ("telemetry", {"from": "2026-03-07T09:00:00"}, "from"),
    ("trips", instants(SINCE, SINCE + timedelta(days=367)), "from"),
]


def test_what_is_too_much_or_unknown_is_refused_by_name(api: Api) -> None:
    for what, query, field in REFUSED:
        response = api.call("GET", f"{URL}/{what}", params=query)
        assert response.status_code == 422, query
        (error,) = response.json()["errors"]
        assert (error["field"], error["place"]) == (field, "query")
        assert "expected" in error["message"], error


def test_too_many_samples_are_refused_and_never_cut_off(
    api: Api, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.telemetry._ROWS_MOST", 20)
    store_samples(conn, *(sample(SINCE + timedelta(seconds=n)) for n in range(21)))
    for accept in ("application/json", "text/csv", "application/vnd.apache.parquet"):
        answer = api.call(
            "GET", f"{URL}/telemetry", params=instants(SINCE, SINCE + timedelta(hours=1)), headers={"Accept": accept}
        )
        assert answer.status_code == 422
        assert "at most 20 samples" in answer.json()["detail"]
    assert len(asked(api, "telemetry", **instants(SINCE, SINCE + timedelta(seconds=20))).json()["rows"]) == 20


def test_long_answers_leave_connections_and_threads_to_presses(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_WAIT_S", 0.05)
    with tables.turn(), tables.turn():
        for what in ("telemetry", "trips"):
            refused = api.call("GET", f"{URL}/{what}")
            assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_LONG_ANSWERS")
            assert refused.headers["retry-after"] == "2"
        assert api.call("POST", f"/vehicles/{VIN}/sos", {}).status_code == 201
    assert api.call("GET", f"{URL}/telemetry").status_code == 200


def test_what_has_no_data_is_null_and_not_zero(api: Api, conn: Connection) -> None:
    stopped = SINCE + timedelta(hours=2)
    for at, event in ((SINCE, "START"), (stopped, "STOP")):
        nothing: dict[str, Any] = {"clock_suspect": False, "latitude": None, "longitude": None, "odometer_km": None}
        telemetry.store_engine_event(conn, EngineRow(VIN, uuid4(), at, at, event=event, **nothing))
    conn.commit()
    (trip,) = asked(api, "trips", **instants(SINCE, stopped)).json()["rows"]
    assert (trip["durationSeconds"], trip["endedBy"]) == (7200, "ENGINE_OFF")
    assert {name for name, value in trip.items() if value is None} == {
        "distanceKm", "maximumSpeedKph", "fuelUsedPercent", "startLatitude", "startLongitude", "endLatitude",
        "endLongitude",
    }  # fmt: skip
    (bucket,) = asked(api, "telemetry", bucket="1d", **instants(SINCE, stopped)).json()["rows"]
    assert bucket["samples"] == 0
    assert {value for name, value in bucket.items() if name not in {"timestamp", "samples"}} == {None}


def test_a_trip_that_goes_on_has_no_end(api: Api, conn: Connection) -> None:
    now = datetime.now(UTC)
    store_samples(
        conn, *(sample(now - timedelta(minutes=m), engine_status="ON", speed_kph=40.0) for m in range(20, 0, -5))
    )
    (trip,) = asked(api, "trips").json()["rows"]
    assert (trip["endedAt"], trip["endedBy"], trip["durationSeconds"]) == (None, None, 900)


def test_places_are_not_shown_while_they_are_withheld(api: Api, conn: Connection) -> None:
    place = {"latitude": 37.5, "longitude": 127.0, "accuracy_m": 4.0, "heading_deg": 90.0}
    row = sample(datetime.now(UTC) - timedelta(minutes=1), speed_kph=30.0, engine_status="ON", **place)
    store_samples(conn, row)
    guardian = api.add_key("sk_guardian", Role.GUARDIAN, vins=[VIN])

    def told(what: str, **query: Any) -> dict[str, Any]:
        answer = api.call("GET", f"{URL}/{what}", params=query, token=guardian).json()
        found: dict[str, Any] = answer["rows"][-1] if "rows" in answer else answer
        return found

    asked_for: list[tuple[str, dict[str, str], list[str]]] = [
        ("telemetry", {}, ["latitude", "longitude", "accuracy", "heading"]),
        ("telemetry", {"bucket": "1d"}, ["latitudeLast", "longitudeLast", "accuracyLast", "headingLast"]),
        ("trips", {}, ["startLatitude", "startLongitude", "endLatitude", "endLongitude"]),
        ("latest", {}, ["location", "accuracy", "heading"]),
    ]
    for what, query, places in asked_for:
        assert all(told(what, **query)[place] is not None for place in places), what
    vehicles.withhold_location(conn, VIN, withheld=True)
    conn.commit()
    for what, query, places in asked_for:
        assert {told(what, **query)[place] for place in places} == {None}, what
    assert told("telemetry")["speedKph"] == 30
    api.call("POST", f"/vehicles/{VIN}/sos", {})  # which excepts it
    for what, query, places in asked_for:
        assert all(told(what, **query)[place] is not None for place in places), what


def test_the_latest_state_tells_its_age(api: Api, conn: Connection) -> None:
    assert asked(api, "latest").json()["ageSeconds"] is None
    at = datetime.now(UTC) - timedelta(minutes=3)
    store_samples(conn, sample(at, speed_kph=12.5, dtc_codes=["P0301"]), sample(at - timedelta(days=1), speed_kph=99.0))
    latest = asked(api, "latest").json()
    assert (latest["speedKph"], latest["dtcCodes"], latest["location"]) == (12.5, ["P0301"], None)
    assert 180 <= latest["ageSeconds"] < 240
    ahead = datetime.now(UTC) + timedelta(seconds=50)
    store_samples(conn, sample(ahead, speed_kph=13))
    latest = asked(api, "latest").json()
    assert (latest["speedKph"], latest["clockSuspect"], latest["ageSeconds"]) == (13, False, 0)
