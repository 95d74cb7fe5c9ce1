"""Scenario files: what they may say, where they are wrong, and what their placeholders stand for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from simulator.scenario import (
    BUNDLED,
    FOLDER,
    BadScenario,
    at_path,
    filled,
    instant,
    json_schema,
    load_scenario,
    scenario_files,
)
from tests.processes import CHECKOUT

NOW = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)
KNOWN = {"sos": {"cid": "SOS_20260307_001", "messageId": "m"}, "vin": "KMHSH81C7LU123456", "answer": {"rows": [1, 2]}}


def test_the_schema_in_the_folder_is_that_of_the_models() -> None:
    """`tcu-sim check --schema` writes it."""
    assert (FOLDER / "schema.json").read_text(encoding="utf-8") == json_schema()


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_scenario_keeps_the_schema_and_completes_in_editors(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    Draft202012Validator(yaml.safe_load(json_schema())).validate(yaml.safe_load(text))
    scenario, lines = load_scenario(path)
    assert len(lines.steps) == len(scenario.steps)
    for line in lines.steps + lines.afterwards:
        assert text.splitlines()[line - 1].startswith("  - ")


@pytest.mark.parametrize("name", BUNDLED)
def test_an_event_of_a_bundled_scenario_is_late_after_three_seconds(name: str) -> None:
    """After five where a vehicle has to connect first."""
    steps = load_scenario(FOLDER / f"{name}.yaml")[0].steps
    connects = any(step.coverage for step in steps)
    assert all(step.event.within <= (5 if connects else 3) for step in steps if step.event is not None)


def test_the_example_of_the_documentation_is_a_scenario(tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "simulator.md").read_text(encoding="utf-8")
    (tmp_path / "example.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    scenario, lines = load_scenario(tmp_path / "example.yaml")
    assert [step.kind for step in scenario.steps] == ["press", "event", "rest"]
    assert lines.steps == [5, 6, 7]


def test_names_of_scenarios_are_files() -> None:
    assert [path.stem for path in scenario_files("all")] == list(BUNDLED)
    assert scenario_files("sos") == [FOLDER / "sos.yaml"]
    with pytest.raises(BadScenario, match="nothing: expected a file, all, or one of app, curfew-night"):
        scenario_files("nothing")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Input should be"),
        ("title: x\nsteps: []", "steps: List should have at least 1 item"),
        ("title: x\nsteps: [{}]", "exactly one of press, engine, .*got none"),
        ("title: x\nsteps: [{wait: 1, again: a}]", "got again, wait"),
        ("title: x\nsteps: [{jump: 1}]", r"steps\.0\.jump: Extra inputs are not permitted"),
        ("title: x\nsteps: [{engine: {event: FLY}}]", r"steps\.0\.engine\.event: Input should be 'START' or 'STOP'"),
        ("title: x\nsteps: [{rest: {method: POST, path: /a, within: 1}}]", r"steps\.0\.rest: .*expected only with GET"),
        ("title: x\nsteps: [{wait: 1, vehicle: other}]", "vehicle other: expected one of car"),
        ("title: x\nvehicles: {car: SHORT}\nsteps: [{wait: 1}]", r"vehicles\.car: String should match"),
        ("title: [", "expected the node content"),
    ],
)
def test_a_wrong_scenario_is_told_with_its_field(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(BadScenario, match=complaint):
        load_scenario(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("{sos.cid}", "SOS_20260307_001"),
        ("/vehicles/{vin}/sos?cid={sos.cid}", "/vehicles/KMHSH81C7LU123456/sos?cid=SOS_20260307_001"),
        ({"a": ["{vin}", 3, None, True]}, {"a": ["KMHSH81C7LU123456", 3, None, True]}),
        ("{answer.rows}", [1, 2]),
        ("{now}", "2026-03-07T18:30:00Z"),
        ("{now-2h}", "2026-03-07T16:30:00Z"),
        ("{now+1d}", "2026-03-08T18:30:00Z"),
        ("{", "{"),
        ('{"no": "placeholder"}', '{"no": "placeholder"}'),
    ],
)
def test_placeholders_stand_for_what_was_saved_and_for_times(value: Any, meaning: Any) -> None:
    assert filled(value, KNOWN, NOW) == meaning


def test_a_placeholder_that_stands_for_nothing_is_told() -> None:
    with pytest.raises(BadScenario, match=r"\{sos\.ticket\} stands for nothing: known are answer, sos, vin, and now"):
        filled("{sos.ticket}", KNOWN, NOW)
    with pytest.raises(BadScenario, match="expected now, or now with an offset"):
        instant("yesterday", NOW)
    assert instant("now-90s", NOW) == NOW - timedelta(seconds=90)


@pytest.mark.parametrize(
    ("path", "found"),
    [("a.0.b", 1), ("a.-1.b", 2), ("a.2.b", None), ("a.#", 2), ("c", None), ("a.x", None), ("d.e", "f")],
)
def test_a_path_leads_into_an_answer(path: str, found: Any) -> None:
    assert at_path({"a": [{"b": 1}, {"b": 2}], "d": {"e": "f"}}, path) == found
