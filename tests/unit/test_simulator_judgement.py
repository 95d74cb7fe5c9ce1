"""What faults, scenarios and replays make of a backend that errs, made up here: neither broker nor API."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from schemas.base import format_instant, parse_instant
from schemas.demo import fleet_vin
from schemas.receipt import ReceiptMessage, ReceiptResult
from schemas.topics import Uplink
from schemas.vehicle import StatusMessage
from simulator import check as checking
from simulator import curfew, drives, driving, faults, messages, replay
from simulator.check import Checked, check
from simulator.curfew import Part
from simulator.faults import CORRECTED, Fault, Injected, inject, shares
from simulator.public_api import PublicApi
from simulator.settings import Broker, Certificate, Settings, SetupMissing
from simulator.stage import Stage, StoryFailed
from simulator.tcu import Tcu
from simulator.traces import Said
from simulator.unreceipted import UnreceiptedStore

VIN = "KMHSH81C7LU123456"
AT = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)
STORED, QUARANTINED = ReceiptResult.STORED, ReceiptResult.QUARANTINED


class Backend:
    """A backend that is as its fields say; `lost` are samples that it has confirmed and does not have."""

    def __init__(
        self,
        *,
        receipt: ReceiptResult = STORED,
        confirms: bool = True,
        lost: int = 0,
        command: dict[str, Any] | None = None,
    ) -> None:
        self.receipt = receipt
        self.confirms = confirms
        self._lost = lost
        self._command = command or {}
        self._asked = 0
        self._rows: list[datetime] = []
        self._commands: list[dict[str, Any]] = []

    def takes(self, sample: StatusMessage) -> None:
        if self._lost:
            self._lost -= 1
            return
        self._rows.append(sample.timestamp)

    def corrects(self) -> None:
        issued = {"commandId": "new", "type": "TIME_SYNC", "issuedAt": format_instant(datetime.now(UTC))}
        self._commands.append(issued | self._command)

    def answers(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/telemetry"):
            since, until = (parse_instant(request.url.params[name]) for name in ("from", "to"))
            between = since + timedelta(milliseconds=1)  # what else it reported meanwhile
            rows = [at for at in (*self._rows, between) if since <= at < until]
            return httpx.Response(200, json={"rows": [{"timestamp": format_instant(at)} for at in rows]})
        if request.url.path == "/later":
            self._asked += 1
            return httpx.Response(404) if self._asked <= 2 else httpx.Response(200, json={"made": True})
        if request.url.path == "/table":
            return httpx.Response(200, text="timestamp,speedKph\r\n")
        if request.url.path == "/nothing":
            return httpx.Response(204)
        return httpx.Response(200, json={"commands": self._commands, "incidents": []})

    def api(self) -> PublicApi:
        api = PublicApi(settings(), print)
        api._client = httpx.AsyncClient(transport=httpx.MockTransport(self.answers), base_url="http://backend")
        return api


class Vehicle(Tcu):
    """A vehicle whose broker is the made-up backend: what is delivered is receipted or confirmed at once."""

    backend: Backend

    def go_online(self) -> None:
        self._connected.set()

    async def go_offline(self) -> None:
        pass

    def _deliver(self) -> None:
        for kept in self.unreceipted:
            self._settle(ReceiptMessage(message_id=kept.message_id, result=self.backend.receipt, server_time=AT))
        if not self.backend.confirms:
            return
        while self._samples:
            sample = StatusMessage.model_validate_json(self._samples.popleft().payload)
            self.backend.takes(sample)
            self.tally.status_sent += 1
            if abs(sample.timestamp - datetime.now(UTC)) > timedelta(minutes=10):
                self.backend.corrects()
                self._clock_offset = timedelta(0)
        self._note_settled()


class Garage:
    """Vehicles of the made-up backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def tcu(self, vin: str) -> Vehicle:
        vehicle = Vehicle(
            vin=vin,
            broker=Broker("nowhere", 1, Path("ca.crt")),
            certificate=Certificate(Path("a.crt"), Path("a.key")),
            unreceipted=UnreceiptedStore(),
            jitter=Random(f"{vin}"),
            notify=print,
        )
        vehicle.backend = self._backend
        return vehicle


def settings(**api: Any) -> Settings:
    told = {"api_url": "http://backend", "demo_token": SecretStr("token")} | api
    return Settings(mqtt_host="nowhere", mqtt_port=1, mqtt_ca=Path("ca.crt"), pki_dir=Path(), **told)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing longer than half a second."""
    monkeypatch.setattr(faults, "_WAIT_S", 0.2)
    monkeypatch.setattr(faults, "_VOID_S", 0.01)
    monkeypatch.setattr(faults, "_LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr(drives, "_LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr(checking, "_GRACE_S", 0.2)
    monkeypatch.setattr(replay, "_RECEIPT_S", 0.05)


# -- Faults


def suffered(backend: Backend, fault: Fault) -> Injected:
    """Return what came of one fault of one vehicle."""

    async def play() -> list[Injected]:
        return await inject([fault], garage=Garage(backend), vins=[VIN], api=backend.api(), seed=1, say=lambda _: None)

    [told] = asyncio.run(play())
    return told


@pytest.mark.parametrize("fault", [Fault.OFFLINE, Fault.REORDERING])
def test_a_drive_is_borne_only_if_all_of_it_is_stored_to_the_last_sample(fault: Fault) -> None:
    assert suffered(Backend(), fault).failure is None
    quarantined = suffered(Backend(receipt=QUARANTINED), fault).failure
    assert quarantined is not None
    assert quarantined.startswith("the receipt of engine ")
    assert quarantined.endswith("expected <ReceiptResult.STORED: 'STORED'>")
    lost = suffered(Backend(lost=2), fault).failure
    assert lost is not None
    assert lost.startswith("the telemetry has ")


@pytest.mark.parametrize(
    ("fault", "outcome", "ack_status", "failure"),
    [
        (Fault.COMMAND_NEVER, "EXPIRED", None, None),
        (Fault.COMMAND_NEVER, "PENDING", None, "the outcome of the command is 'PENDING', expected 'EXPIRED'"),
        (Fault.COMMAND_LATE, "EXPIRED", None, None),
        (Fault.COMMAND_LATE, "EXECUTED", "EXECUTED", "the outcome of the command is 'EXECUTED', expected 'EXPIRED'"),
        (Fault.COMMAND_LATE, "EXPIRED", "EXECUTED", "the vehicle's answer to the command is 'EXECUTED', expected None"),
        (Fault.COMMAND_WRONGLY, "FAILED", "FAILED", None),
        (Fault.COMMAND_WRONGLY, "EXPIRED", None, "the outcome of the command is 'EXPIRED', expected 'FAILED'"),
    ],
)
def test_a_command_must_end_as_it_was_answered(
    fault: Fault, outcome: str, ack_status: str | None, failure: str | None
) -> None:
    assert suffered(Backend(command={"outcome": outcome, "ackStatus": ack_status}), fault).failure == failure


@pytest.mark.parametrize("vehicles", [2, 3, 20])
def test_every_fault_is_suffered_and_no_vehicle_needs_more_corrections_than_an_hour_allows(vehicles: int) -> None:
    dealt = shares(tuple(Fault), vehicles)
    assert len(dealt) == vehicles
    assert {fault for own in dealt for fault in own} == set(Fault)
    for own in dealt:
        assert set(own) >= set(Fault) - CORRECTED
        assert len(CORRECTED & set(own)) == 3


def test_a_vehicle_suffers_all_of_a_few_and_too_few_vehicles_are_told() -> None:
    few = (Fault.COMMAND_LATE, Fault.OFFLINE, Fault.CLOCK)
    assert shares(few, 2) == [list(few), list(few)]
    assert shares((Fault.BOUNCE,), 1) == [[Fault.BOUNCE]]
    with pytest.raises(SetupMissing, match=r"clock, malformed, .* use --vehicles 2 or more"):
        shares(tuple(Fault), 1)


# -- Scenarios


DRIVES = """
title: a drive in coverage, and one without
steps:
  - drive: {seconds: 30, ended: now-10m, within: 1}
  - coverage: lost
  - drive: {seconds: 30, ended: now-5m}
  - coverage: back
"""


def all_checked(backend: Backend, text: str, folder: Path) -> list[Checked]:
    """Return the steps of a scenario as they went."""
    (folder / "drives.yaml").write_text(text)

    async def play() -> list[Checked]:
        return await check(
            folder / "drives.yaml", garage=Garage(backend), api=backend.api(), seed=1, say=lambda _: None
        )

    return asyncio.run(play())


def checked(backend: Backend, text: str, folder: Path) -> Checked:
    """Return the last step of a scenario as it went."""
    return all_checked(backend, text, folder)[-1]


def test_a_scenario_holds_only_if_its_drives_are_stored_to_the_last_sample(tmp_path: Path) -> None:
    last = checked(Backend(), DRIVES, tmp_path)
    assert (last.what, last.failure) == ("every message is stored", None)
    quarantined = checked(Backend(receipt=QUARANTINED), DRIVES, tmp_path)
    assert quarantined.line == 4
    assert quarantined.failure is not None
    assert quarantined.failure.endswith(": QUARANTINED; expected STORED")
    lost = checked(Backend(lost=1), DRIVES, tmp_path)
    assert lost.line == 4
    assert lost.failure is not None
    assert lost.failure.startswith("the telemetry has ")


def test_what_was_kept_without_coverage_must_be_stored_in_the_end(tmp_path: Path) -> None:
    offline = DRIVES.replace("  - drive: {seconds: 30, ended: now-10m, within: 1}\n", "")
    quarantined = checked(Backend(receipt=QUARANTINED), offline, tmp_path)
    assert quarantined.what == "every message is stored"
    assert quarantined.failure is not None
    assert quarantined.failure.endswith(": QUARANTINED; expected STORED")
    lost = checked(Backend(lost=1), offline, tmp_path)
    assert lost.failure is not None
    assert lost.failure.startswith("the telemetry has ")


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        (
            "press: {service: sos, save: a, fields: {emergencyType: FOO}}",
            "fields.emergencyType: Input should be 'MEDICAL'",
        ),
        (
            "press: {service: sos, save: a, fields: {emergncyType: FIRE}}",
            "fields.emergncyType: expected a field of up/sos",
        ),
        ("press: {service: sos, save: a, fields: {emergency_type: FIRE}}", "fields.emergency_type: expected a field"),
        (
            "press: {service: rsa, save: a, fields: {location: {latitude: 1, longitude: 2, hight: 3}}}",
            "fields.location.hight: expected a field of up/rsa",
        ),
        ("engine: {event: STOP, at: now-999999999999d}", "'now-999999999999d': expected an instant of the years 1 to"),
        ("rest: {method: GET, path: /table}", "GET /table answered 200 without JSON"),
        ("rest: {method: GET, path: /nothing}", "GET /nothing answered 204 without JSON"),
    ],
)
def test_a_mistake_in_a_step_fails_it_and_the_rest_goes_on(step: str, failure: str, tmp_path: Path) -> None:
    text = f"title: a mistake\nsteps:\n  - {step}\nafterwards:\n  - wait: 0.01\n"
    failed, afterwards = all_checked(Backend(), text, tmp_path)
    assert (failed.line, (failed.failure or "")[: len(failure)]) == (3, failure)
    assert (afterwards.what, afterwards.failure) == ("wait 0.01", None)


def test_faults_and_scenarios_of_a_seed_that_was_played_before_fail_with_a_hint(tmp_path: Path) -> None:
    hint = "(a receipt said DUPLICATE: if this seed was played before, choose another --seed)"
    known = Backend(receipt=ReceiptResult.DUPLICATE)
    failure = suffered(known, Fault.REORDERING).failure
    assert failure is not None
    assert failure.endswith(hint)
    for text in (DRIVES, DRIVES.replace("  - drive: {seconds: 30, ended: now-10m, within: 1}\n", "")):
        last = checked(known, text, tmp_path)
        assert last.failure is not None
        assert last.failure.endswith(f"DUPLICATE; expected STORED {hint}")


def test_a_part_of_the_curfew_s_story_hints_at_the_seed_of_its_own_vehicle() -> None:
    async def press_and_fail(stage: Stage) -> None:
        stage.tcu.send(Uplink.SOS, messages.sos_press(stage.rng, AT))
        raise StoryFailed("no violation")

    async def play() -> list[str | None]:
        backend = Backend(receipt=ReceiptResult.DUPLICATE)
        garage, rng = Garage(backend), Random(1)
        stage = Stage(garage.tcu(VIN), backend.api(), rng, driving.parked_somewhere(rng), garage, lambda _: None)
        parts = (Part("block", fleet_vin(1), press_and_fail), Part("exception", None, press_and_fail))
        return [await curfew._play(part, stage, Random(1)) for part in parts]

    hint = "(a receipt said DUPLICATE: if this seed was played before, choose another --seed)"
    assert asyncio.run(play()) == [f"block: no violation {hint}", "exception: no violation"]


@pytest.mark.parametrize(
    ("rest", "failure"),
    [
        ("within: 5", None),
        ("within: 5, expect: {made: true}", None),
        ("within: 5, refused: 404", None),
        ("within: 0.1", "GET /later answered 404: "),
        ("expect: {made: true}", "GET /later answered 404: "),
    ],
)
def test_a_get_is_asked_again_within_its_time_also_where_it_is_refused(
    rest: str, failure: str | None, tmp_path: Path
) -> None:
    text = f"title: a\nsteps:\n  - rest: {{method: GET, path: /later, {rest}}}\n"
    first = all_checked(Backend(), text, tmp_path)[0]
    assert first.failure == failure


@pytest.mark.parametrize(
    ("afterwards", "cancelled_at", "told"),
    [
        ("[{wait: 0.1}, {wait: 0.2}]", ["steps"], ["wait 0.1", "wait 0.2"]),
        ("[{wait: 0.1}, {wait: 0.2}]", ["wait 0.1"], ["wait 0.1", "wait 0.2"]),
        ("[{wait: 0.1}, {wait: 300}]", ["steps"], ["wait 0.1"]),
        ("[{wait: 0.1}, {wait: 300}]", ["wait 0.1"], ["wait 0.1"]),
        ("[{wait: 0.1}, {wait: 0.2}]", ["steps", "wait 0.1"], ["wait 0.1"]),
    ],
)
def test_what_is_to_be_done_afterwards_is_done_also_after_ctrl_c_but_for_a_while_only(
    afterwards: str, cancelled_at: list[str], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_AFTERWARDS_S", 1.0)
    wait_s = 60 if cancelled_at[0] == "steps" else 0.01
    (tmp_path / "a.yaml").write_text(f"title: a\nsteps: [{{wait: {wait_s}}}]\nafterwards: {afterwards}\n")
    said: list[str] = []

    async def play() -> None:
        def say(step: Checked) -> None:
            if step.line == 3:
                said.append(step.what)
            if step.what in cancelled_at:
                running.cancel()

        backend = Backend()
        work = check(tmp_path / "a.yaml", garage=Garage(backend), api=backend.api(), seed=1, say=say)
        running = asyncio.ensure_future(work)
        if wait_s == 60:
            asyncio.get_running_loop().call_later(0.3, running.cancel)
        async with asyncio.timeout(5):
            await asyncio.wait({running})
        assert running.cancelled()

    asyncio.run(play())
    assert said == told


# -- Replay


def replayed(backend: Backend, trace: Sequence[Said]) -> replay.Replayed:
    async def play() -> replay.Replayed:
        return await replay.replay(trace, Garage(backend), speed=1000, stop=asyncio.Event(), notify=print)

    return asyncio.run(play())


def test_a_sample_that_the_broker_does_not_confirm_is_not_counted_as_sent() -> None:
    payload = json.dumps({"messageId": "5b2f0e3c-52ab-4a0b-9d0c-3f1f6d2a7b10", "timestamp": format_instant(AT)})
    trace = [Said(AT + timedelta(seconds=number), VIN, Uplink.STATUS, payload.encode()) for number in range(3)]
    played = replayed(Backend(), trace)
    assert (played.sent, played.status_unconfirmed) == ({Uplink.STATUS: 3}, 0)
    played = replayed(Backend(confirms=False), trace)
    assert (played.sent, played.status_unconfirmed) == ({}, 3)


def test_the_vehicles_of_a_trace_connect_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting: set[str] = set()
    most = 0

    def go_online(self: Vehicle) -> None:
        def connected() -> None:
            connecting.discard(self.vin)
            self._connected.set()

        nonlocal most
        connecting.add(self.vin)
        most = max(most, len(connecting))
        asyncio.get_running_loop().call_later(0.01, connected)

    monkeypatch.setattr(Vehicle, "go_online", go_online)
    payload = json.dumps({"messageId": "5b2f0e3c-52ab-4a0b-9d0c-3f1f6d2a7b10", "timestamp": format_instant(AT)})
    trace = [Said(AT, fleet_vin(number), Uplink.STATUS, payload.encode()) for number in range(1, 121)]
    played = replayed(Backend(), trace)
    assert (played.vehicles, played.sent, most) == (120, {Uplink.STATUS: 120}, 50)
