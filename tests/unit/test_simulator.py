"""The simulator's parts that need no network: messages, kept messages, waiting, time, latencies, settings."""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from rich.console import Console
from typer.testing import CliRunner

from schemas.base import VIN_PATTERN
from schemas.call import CallMessage, CallStatus
from schemas.command import AckStatus, CommandAckMessage, CommandMessage, CommandType
from schemas.demo import DEMO_FLEET_VINS, fleet_vin
from schemas.receipt import ReceiptResult
from schemas.rsa import RsaMessage
from schemas.sos import SosMessage
from schemas.topics import Uplink
from schemas.vehicle import EngineEvent, EngineMessage, PresenceMessage, StatusMessage
from simulator import __main__ as command_line
from simulator import driving, messages
from simulator.__main__ import app
from simulator.clock import server_time
from simulator.fleet import FleetReport
from simulator.latencies import Latencies
from simulator.replay import Replayed
from simulator.report import Report
from simulator.seen import Seen
from simulator.settings import SetupMissing, certificates_of, load_settings
from simulator.stage import Outcome, Step, Verb
from simulator.unreceipted import UnreceiptedStore

VIN = "KMHSH81C7LU123456"
AT = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)
COMMAND_ID = "00000000-0000-4000-8000-000000000001"
VARIABLES = ("API_URL", "MQTT_HOST", "MQTT_PORT", "MQTT_CA", "PKI_DIR", "DEMO_TOKEN")

seeds = st.integers(min_value=0, max_value=2**32)


def seeded(seed: int) -> Random:
    return Random(seed)


# -- Repeatability


def test_the_same_seed_tells_the_same_story_with_the_same_ids() -> None:
    def told(seed: int) -> list[bytes]:
        rng = seeded(seed)
        state = driving.parked_somewhere(rng)
        samples = [messages.status(rng, moment.state, AT) for moment in driving.trip(rng, state, duration_s=20)]
        return [messages.payload_of(message) for message in (*samples, messages.sos_press(rng, AT))]

    assert told(1) == told(1)
    assert not set(told(1)) & set(told(2))


def test_a_birth_message_has_an_id_of_its_own_each_time() -> None:
    assert messages.presence(AT, online=True).message_id != messages.presence(AT, online=True).message_id


# -- Messages


def every_message(seed: int) -> list[tuple[BaseModel, type[BaseModel]]]:
    rng = seeded(seed)
    moving = [moment.state for moment in driving.trip(rng, driving.parked_somewhere(rng), duration_s=60)][30]
    calls = [
        messages.call(rng, status, AT, cid="SOS_20260307_001", session_id="CALL-1", duration_s=3, battery_voltage=12.5)
        for status in CallStatus
    ]
    return [
        (messages.status(rng, moving, AT), StatusMessage),
        (messages.engine(rng, EngineEvent.START, moving, AT), EngineMessage),
        (messages.sos_press(rng, AT), SosMessage),
        (messages.sos_from_the_road(rng, moving, AT), SosMessage),
        (messages.rsa_press(rng, AT), RsaMessage),
        (messages.rsa_from_the_road(rng, moving, AT), RsaMessage),
        (messages.presence(AT, online=False), PresenceMessage),
        (messages.command_ack(COMMAND_ID, AckStatus.EXECUTED, AT), CommandAckMessage),
        *((call, CallMessage) for call in calls),
    ]


@given(seeds)
def test_every_message_survives_the_wire(seed: int) -> None:
    for message, model in every_message(seed):
        assert model.model_validate_json(message.model_dump_json(by_alias=True, exclude_none=True)) == message


def test_the_press_of_sos_says_what_the_guide_s_sample_says() -> None:
    press = messages.sos_press(seeded(1), AT).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert press["timestamp"] == "2026-03-07T18:30:00Z"
    assert press["emergencyType"] == "MEDICAL"
    assert press["urgency"] == "HIGH"
    assert press["location"] == {
        "latitude": 37.5665,
        "longitude": 126.9780,
        "accuracy": 5.2,
        "address": "Seoul, Gangnam-gu, Teheran-ro",
    }
    assert press["contactNumber"] == "+82-10-1234-5678"
    assert press["vehicleStatus"] == {
        "drivable": False,
        "engineStatus": "OFF",
        "batteryVoltage": 12.6,
        "fuelLevel": 45.2,
        "dtcCodes": [],
        "transmissionStatus": "PARK",
    }


# -- Kept messages


def test_a_kept_message_is_due_at_once_and_again_after_waits_that_double() -> None:
    store = UnreceiptedStore()
    store.keep("a", Uplink.SOS, b"{}")
    assert [kept.message_id for kept in store.due(100.0)] == ["a"]
    waits_s = []
    now_s = 100.0
    for _ in range(7):
        store.sent("a", now_s)
        due_s = store.next_due_s()
        assert due_s is not None
        assert store.due(due_s - 0.001) == []
        assert [(kept.message_id, kept.payload) for kept in store.due(due_s)] == [("a", b"{}")]
        waits_s.append(due_s - now_s)
        now_s = due_s
    assert waits_s == [3, 6, 12, 24, 48, 60, 60]


def test_after_a_reconnect_everything_kept_is_due_in_its_order() -> None:
    store = UnreceiptedStore()
    for name in ("a", "b", "c"):
        store.keep(name, Uplink.CALL, b"{}")
        store.sent(name, 100.0)
    assert store.due(100.0) == []
    store.all_due()
    assert [kept.message_id for kept in store.due(100.0)] == ["a", "b", "c"]


def test_a_receipt_lets_one_message_be_forgotten_and_a_second_one_changes_nothing() -> None:
    store = UnreceiptedStore()
    store.keep("a", Uplink.SOS, b"{}")
    store.keep("b", Uplink.RSA, b"{}")
    settled = store.settle("a")
    assert settled is not None
    assert settled.kind is Uplink.SOS
    assert store.settle("a") is None
    assert [kept.message_id for kept in store] == ["b"]
    store.sent("a", 100.0)
    assert len(store) == 1


def test_a_killed_simulator_resumes_from_the_folder_with_the_same_messages_in_order(tmp_path: Path) -> None:
    store = UnreceiptedStore(tmp_path)
    for number in range(12):
        store.keep(f"message-{number}", Uplink.ENGINE, f'{{"n":{number}}}'.encode())
    store.settle("message-3")

    resumed = UnreceiptedStore(tmp_path)
    resumed.keep("message-12", Uplink.SOS, b"{}")

    names = [f"message-{number}" for number in range(13) if number != 3]
    assert [kept.message_id for kept in resumed.due(0.0)] == names
    assert next(iter(resumed)).payload == b'{"n":0}'
    assert [kept.message_id for kept in UnreceiptedStore(tmp_path)] == names


def test_a_message_that_was_being_written_when_the_simulator_died_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "000000001-a.tmp").write_text('{"number": 1, "mess')
    assert len(UnreceiptedStore(tmp_path)) == 0


# -- Waiting


def test_what_came_before_anyone_waited_is_found_and_what_comes_later_too() -> None:
    async def waiting() -> None:
        seen: Seen[int] = Seen()
        seen.add(1)
        assert (await seen.first(lambda what: what == 1, timeout_s=0)).what == 1
        asyncio.get_running_loop().call_soon(seen.add, 2)
        assert (await seen.first(lambda what: what == 2, timeout_s=5)).what == 2
        with pytest.raises(TimeoutError):
            await seen.first(lambda what: what == 3, timeout_s=0.01)

    asyncio.run(waiting())


# -- Time


@pytest.mark.parametrize(
    ("expiry_s", "expected"),
    [
        (None, AT),
        (60, AT),
        (45, AT + timedelta(seconds=15)),
        (61, AT),  # the interval is in whole seconds, rounded up
    ],
)
def test_the_server_s_time_is_when_the_command_was_issued_plus_what_it_waited(
    expiry_s: int | None, expected: datetime
) -> None:
    command = CommandMessage(
        command_id=COMMAND_ID,
        type=CommandType.TIME_SYNC,
        issued_at=AT,
        expires_at=AT + timedelta(seconds=60),
        parameters={},
    )
    assert server_time(command, expiry_s) == expected


# -- Latencies


@given(st.lists(st.floats(min_value=0.0001, max_value=100), min_size=1))
def test_a_percentile_is_exact_to_two_per_cent(durations_s: list[float]) -> None:
    latencies = Latencies()
    for duration_s in durations_s:
        latencies.add(duration_s)
    assert len(latencies) == len(durations_s)
    ordered = sorted(durations_s)
    for percent in (50, 99, 100):
        exact_ms = 1000 * ordered[math.ceil(len(ordered) * percent / 100) - 1]
        assert latencies.percentile_ms(percent) == pytest.approx(exact_ms, rel=0.02)


def test_of_no_latencies_there_is_no_percentile() -> None:
    assert Latencies().percentile_ms(50) is None


@pytest.mark.parametrize(
    ("late_s", "busy_s", "starved_s", "waiting", "given_up", "limit"),
    [
        (0.01, 0, 0, 0, 0, "none"),
        (0.01, 0.3, 0, 0, 0, "none"),
        (0.6, 3, 1, 0, 0, "the simulator: its own work held it up for 3.0 s"),
        (0.6, 0, 0, 0, 0, "the simulator"),
        (0.6, 1, 3, 500, 0, "the machine: it did not run the simulator for 3.0 s"),
        (0.01, 0, 0, 500, 0, "the broker"),
        (0.01, 0, 0, 0, 1, "the broker"),
    ],
)
def test_a_fleet_tells_its_own_limit_from_that_of_the_backend(
    late_s: float, busy_s: float, starved_s: float, waiting: int, given_up: int, limit: str
) -> None:
    report = FleetReport(
        vehicles=100, rate_per_s=1, busy_s=busy_s, starved_s=starved_s, status_waiting=waiting, status_given_up=given_up
    )
    for _ in range(100):
        report.late_s.add(late_s)
    assert report.limit.startswith(limit)


@pytest.mark.parametrize(
    ("counted", "complete"),
    [
        ({}, True),
        ({"receipts": Counter({ReceiptResult.STORED: 5, ReceiptResult.DUPLICATE: 1})}, True),
        ({"receipts": Counter({ReceiptResult.STORED: 5, ReceiptResult.QUARANTINED: 1})}, False),
        ({"outstanding": ["KMHFLEET000000001 sos a"]}, False),
        ({"status_due": 10, "status_sent": 9}, False),
        ({"status_due": 10, "status_sent": 9, "status_given_up": 1}, False),
        ({"incidents_left_open": 1}, False),
    ],
)
def test_a_fleet_exits_with_0_only_if_everything_reached_its_end(
    monkeypatch: pytest.MonkeyPatch, set_up: Path, counted: dict[str, Any], complete: bool
) -> None:
    async def ran(*_: object, **__: object) -> FleetReport:
        return FleetReport(vehicles=1, rate_per_s=1, **counted)

    monkeypatch.setattr(command_line, "run_fleet", ran)
    issue(set_up, fleet_vin(1))
    assert CliRunner().invoke(app, ["fleet", "--vehicles", "1"]).exit_code == (0 if complete else 1)


@pytest.mark.parametrize(
    ("counted", "status"),
    [({}, 0), ({"unreceipted": [f"{VIN} engine a"]}, 1), ({"status_unconfirmed": 2}, 1)],
)
def test_a_replay_exits_with_0_only_if_everything_is_receipted_or_confirmed(
    monkeypatch: pytest.MonkeyPatch, set_up: Path, counted: dict[str, Any], status: int
) -> None:
    async def ran(*_: object, **__: object) -> Replayed:
        return Replayed(vehicles=1, **counted)

    monkeypatch.setattr(command_line, "replay", ran)
    monkeypatch.delenv("TCU_API_URL")  # it needs the broker only
    monkeypatch.delenv("TCU_DEMO_TOKEN")
    issue(set_up, VIN)
    (set_up / "a.jsonl").write_text(
        f'{{"at": "2026-03-07T18:30:00Z", "vin": "{VIN}", "kind": "status", "payload": {{}}}}'
    )
    ended = CliRunner().invoke(app, ["replay", str(set_up / "a.jsonl"), "--json"])
    assert ended.exit_code == status
    assert json.loads(ended.stdout.splitlines()[-1])["statusUnconfirmed"] == counted.get("status_unconfirmed", 0)


@pytest.mark.parametrize("command", ["fleet", "replay"])
def test_what_ctrl_c_cut_short_exits_with_130(monkeypatch: pytest.MonkeyPatch, set_up: Path, command: str) -> None:
    async def ran(*_: object, stop: asyncio.Event, **__: object) -> FleetReport | Replayed:
        stop.set()
        return FleetReport(vehicles=1, rate_per_s=1) if command == "fleet" else Replayed(vehicles=1)

    monkeypatch.setattr(command_line, "run_fleet", ran)
    monkeypatch.setattr(command_line, "replay", ran)
    issue(set_up, fleet_vin(1))
    (set_up / "a.jsonl").touch()
    arguments = {"fleet": ["--vehicles", "1"], "replay": [str(set_up / "a.jsonl")]}
    assert CliRunner().invoke(app, [command, *arguments[command]]).exit_code == 130


# -- What people read


def a_report() -> FleetReport:
    report = FleetReport(
        vehicles=12,
        rate_per_s=5,
        seconds=20,
        status_due=1203,
        status_sent=1200,
        status_waiting=3,
        urgent=Counter({Uplink.ENGINE: 14, Uplink.SOS: 2}),
        receipts=Counter({ReceiptResult.STORED: 16}),
        incidents=Counter({"SOS": 2, "RSA": 1}),
    )
    for _ in range(100):
        report.receipt_s.add(0.025)
    return report


def shown(monkeypatch: pytest.MonkeyPatch, play: Callable[[Report], None], *, terminal: bool) -> str:
    """Return what a report writes, to a terminal or to a pipe."""
    out = StringIO()
    monkeypatch.setenv("TERM", "xterm")

    def console(**options: Any) -> Console:
        return Console(file=out, force_terminal=terminal, **({"width": 120} | options))

    monkeypatch.setattr("simulator.report.Console", console)
    play(Report())
    return out.getvalue()


def watched(report: Report) -> None:
    with report.watching() as watch:
        watch(a_report())


def test_on_a_terminal_a_table_moves_that_shows_vehicles_rates_latencies_and_incidents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = shown(monkeypatch, watched, terminal=True)
    assert written.startswith("\x1b[?25l")  # the cursor is hidden while it moves
    assert "\x1b[1A\x1b[2K" in written  # and the table is taken away in the end
    for line in (
        r"The fleet: 12 vehicles, 5 status each second, 20 s",
        r"status samples that the broker took +│ 1200 \(60 a second\)",
        r"that wait for it · given up +│ 3 · 0",
        r"engine +│ 14",
        r"receipts STORED +│ 16",
        r"after, p50 · p99 +│ 25 · 25 ms",
        r"incidents +│ 1 RSA · 2 SOS",
    ):
        assert re.search(line, re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written)), line


def test_elsewhere_a_plain_line_comes_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    written = shown(monkeypatch, watched, terminal=False)
    assert "\x1b" not in written
    [line] = written.splitlines()
    assert "20 s · 1200 status sent, 3 wait · 16 urgent, 16 receipted (p99 25 ms)" in line

    def at_another_time(report: Report) -> None:
        with report.watching() as watch:
            watch(FleetReport(vehicles=1, rate_per_s=1, seconds=21))

    assert shown(monkeypatch, at_another_time, terminal=False) == ""


def test_what_has_no_receipt_is_named_under_the_last_table(monkeypatch: pytest.MonkeyPatch) -> None:
    report = a_report()
    report.outstanding = [f"{VIN} sos 5b2f0e3c"]
    for terminal in (True, False):
        written = shown(monkeypatch, lambda each: each.fleet(report), terminal=terminal)
        assert f"NO RECEIPT: {VIN} sos 5b2f0e3c" in written
        assert ("\x1b" in written) is terminal


def test_a_fleet_whose_messages_were_stored_before_says_so_before_its_counts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = a_report()
    report.receipts = Counter({ReceiptResult.STORED: 2, ReceiptResult.DUPLICATE: 14})
    Report(as_json=True).fleet(report)
    notice, counts = map(json.loads, capsys.readouterr().out.splitlines())
    assert notice["text"].startswith("14 messages were stored before, not now: ")
    assert notice["text"].endswith("choose another --seed")
    assert (counts["kind"], counts["receipts"]) == ("fleet", {"STORED": 2, "DUPLICATE": 14})
    Report(as_json=True).fleet(a_report())
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["kind"] == "fleet"


def test_the_summary_of_stories_is_a_table_for_people_only(capsys: pytest.CaptureFixture[str]) -> None:
    steps = (Step("sos", "", VIN, Verb.STORED, "the press", 12.3),)
    outcomes = [Outcome("sos", VIN, steps, None)]
    Report().summary(outcomes)
    assert re.search("sos +│ stored +│ the press +│ +12 ", capsys.readouterr().out)
    Report(as_json=True).summary(outcomes)
    assert capsys.readouterr().out == ""


# -- Set-up


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The environment of a stack that was set up here, with no certificates yet."""
    ca = tmp_path / "ca.crt"
    ca.touch()
    values = ("http://127.0.0.1:1", "127.0.0.1", "8883", str(ca), str(tmp_path), "token")
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(f"TCU_{name}", value)
    (tmp_path / "vehicles").mkdir()
    return tmp_path


def issue(pki_dir: Path, vin: str) -> None:
    (pki_dir / "vehicles" / f"{vin}.crt").touch()
    (pki_dir / "vehicles" / f"{vin}.key").touch()


def test_fleet_vins_are_well_formed_and_differ() -> None:
    assert DEMO_FLEET_VINS == (
        "KMHFLEET000000001",
        "KMHFLEET000000002",
        "KMHFLEET000000003",
        "KMHFLEET000000004",
        "KMHFLEET000000005",
    )
    assert re.fullmatch(VIN_PATTERN, fleet_vin(999_999_999))
    with pytest.raises(ValueError, match="from 1"):
        fleet_vin(0)


def test_a_missing_variable_is_named_with_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"TCU_{name}", raising=False)
    with pytest.raises(SetupMissing, match=r"TCU_MQTT_HOST.*run `make up`, then `\. \.run/env`"):
        load_settings()


@pytest.mark.parametrize("name", ["API_URL", "DEMO_TOKEN"])
def test_what_only_the_api_needs_is_missed_where_the_api_is_used(
    monkeypatch: pytest.MonkeyPatch, set_up: Path, name: str
) -> None:
    issue(set_up, fleet_vin(1))
    monkeypatch.delenv(f"TCU_{name}")
    ended = CliRunner().invoke(app, ["fleet", "--vehicles", "1"])
    assert ended.exit_code == 2
    assert f"TCU_{name}: run `make up`" in ended.stderr


def test_a_fleet_without_presses_needs_no_api(monkeypatch: pytest.MonkeyPatch, set_up: Path) -> None:
    async def ran(*_: object, api: object, **__: object) -> FleetReport:
        assert api is None
        return FleetReport(vehicles=1, rate_per_s=1)

    monkeypatch.setattr(command_line, "run_fleet", ran)
    issue(set_up, fleet_vin(1))
    monkeypatch.delenv("TCU_API_URL")
    monkeypatch.delenv("TCU_DEMO_TOKEN")
    assert CliRunner().invoke(app, ["fleet", "--vehicles", "1", "--presses-per-minute", "0"]).exit_code == 0


def test_a_missing_certificate_is_answered_with_the_command_that_issues_it(set_up: Path) -> None:
    issue(set_up, fleet_vin(1))
    vins = [fleet_vin(1), fleet_vin(2), fleet_vin(3)]
    with pytest.raises(SetupMissing, match=f"tcu vehicle add {fleet_vin(2)} {fleet_vin(3)}$"):
        certificates_of(load_settings(), vins)
    with pytest.raises(SetupMissing, match=r"tcu vehicle add \$\(printf 'KMHFLEET%09d ' \$\(seq 2 2000\)\)$"):
        certificates_of(load_settings(), [fleet_vin(number) for number in range(1, 2001)])


@pytest.mark.usefixtures("set_up")
def test_a_check_of_nothing_does_not_pass() -> None:
    ended = CliRunner().invoke(app, ["check", "--json"])
    assert ended.exit_code == 2
    assert "SCENARIO...: expected files, names of bundled ones, or all" in ended.stderr


@pytest.mark.parametrize("command", [[], ["story"], ["fleet"], ["demo"], ["record"], ["replay"], ["faults"], ["check"]])
def test_help_teaches_by_examples(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert f"tcu-sim {' '.join(command)}".strip() in shown.output
