"""The pure parts of the benchmarks: what is sent and expected, percentiles, ratios, bars and the document."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks import fleet, plot, report
from benchmarks.measure import percentile, ratio
from benchmarks.profiled import REST, group_of, shares_of
from benchmarks.report import Figure, Results
from ingest.settings import WorkerSettings
from schemas.base import parse_instant
from schemas.vehicle import StatusMessage

ENDS_AT = datetime(2026, 3, 7, 12, tzinfo=UTC)
COUNT = 20_000


@pytest.fixture(scope="module")
def traffic() -> fleet.Traffic:
    return fleet.traffic(COUNT, seed=7, ends_at=ENDS_AT)


def test_the_same_seed_makes_the_same_messages(traffic: fleet.Traffic) -> None:
    assert fleet.traffic(COUNT, seed=7, ends_at=ENDS_AT) == traffic
    assert fleet.traffic(COUNT, seed=8, ends_at=ENDS_AT).messages != traffic.messages


def test_what_is_expected_is_what_is_sent(traffic: fleet.Traffic) -> None:
    assert len(traffic.messages) == COUNT
    ids = Counter(json.loads(payload)["messageId"] for _, payload in traffic.messages)
    assert len(ids) == traffic.rows == COUNT - traffic.duplicates
    assert sum(times == 2 for times in ids.values()) == traffic.duplicates
    newest: dict[str, datetime] = {}
    for topic, payload in traffic.messages:
        vin, at = topic.split("/")[2], parse_instant(json.loads(payload)["timestamp"])
        newest[vin] = max(at, newest.get(vin, at))
    assert newest == traffic.newest


def test_some_messages_are_late_missing_twice_or_out_of_order(traffic: fleet.Traffic) -> None:
    for found, share in (
        (traffic.late, fleet.LATE), (traffic.missing, fleet.MISSING), (traffic.reordered, fleet.REORDERED),
        (traffic.duplicates, fleet.DUPLICATED),
    ):  # fmt: skip
        assert 0.4 * share < found / COUNT < 1.6 * share
    times = [parse_instant(json.loads(payload)["timestamp"]) for _, payload in traffic.messages]
    assert times != sorted(times)
    assert max(times) <= ENDS_AT
    assert min(times) < ENDS_AT - fleet.LATEST * 0.9


def test_every_message_keeps_to_the_contract(traffic: fleet.Traffic) -> None:
    for _, payload in traffic.messages[::200]:
        StatusMessage.model_validate_json(payload, strict=True)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(200, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (100, 198, 200)
    assert percentile([3.0], 99) == 3
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 50)


def test_a_ratio_compares_within_each_round() -> None:
    # The machine was twice as fast in the second round, for both.
    assert ratio([10, 22, 12], [10, 20, 10]) == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("value", "bar", "at_most", "met"),
    [
        (0.6, 0.6, False, True),
        (0.59, 0.6, False, False),
        (20, 20, True, True),
        (21, 20, True, False),
        (1, None, True, None),
    ],
)
def test_a_bar_is_met_or_said_not_to_be(value: float, bar: float | None, *, at_most: bool, met: bool | None) -> None:
    figure = Figure("drain", value, "×", bar=bar, at_most=at_most)
    assert figure.met is met
    told = report.markdown(Results("drain", [figure], {}))
    assert ("NOT MET" in told) is (met is False)


def test_results_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    results = Results("drain", [Figure("a", 1.5, "×", (1.0, 2.0), bar=0.6)], {"seed": 1})
    report.save(results)
    assert report.load("drain") == results
    assert report.load("live") is None


def test_the_document_takes_figures_between_its_marks() -> None:
    text = "before\n<!-- figures: size -->\nold\n<!-- end: size -->\nafter\n"
    assert plot.fill(text, "size", r"new \1") == text.replace("old", r"new \1")
    with pytest.raises(ValueError, match="figures: live"):
        plot.fill(text, "live", "new")


def test_the_document_has_a_place_for_every_group() -> None:
    text = plot.DOCUMENT.read_text()
    for group in plot.GROUPS:
        plot.fill(text, group, "")


def test_a_profile_is_shared_out_whole() -> None:
    shares = shares_of({("ingest/status.py", 1, "_fast_row"): 3.0, ("~", 0, "<built-in method len>"): 1.0})
    assert shares == {"reading the message (decode, times, rows)": 0.75, REST: 0.25}
    assert group_of("psycopg/connection.py", "wait") == "waiting for PostgreSQL"


def test_without_tls_the_worker_speaks_to_loopback_only(tmp_path: Path) -> None:
    given = {name: tmp_path / name for name in ("mqtt_ca", "mqtt_cert", "mqtt_key")} | {
        "environment": "demo",
        "database_url": "",
        "mqtt_tls": False,
    }
    assert WorkerSettings(mqtt_host="127.0.0.1", **given).broker_tls() is None  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="TCU_MQTT_TLS=false is only for a broker on loopback"):
        WorkerSettings(mqtt_host="broker.example", **given)  # type: ignore[arg-type]
