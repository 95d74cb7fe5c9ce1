"""Traces: written, read again, recast, shifted, and made of GPX tracks."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import parse_instant
from schemas.call import CallStatus
from schemas.topics import Uplink, uplink_topic
from schemas.vehicle import EngineMessage, StatusMessage
from simulator import driving, messages
from simulator.record import record
from simulator.replay import Times, prepared, recast
from simulator.session import Heard, SessionLost
from simulator.settings import Settings
from simulator.traces import BadTrace, Recorder, Said, read_trace

AT = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)
VIN, OTHER, THIRD = "KMHSH81C7LU123456", "KMHSH81C7LU123457", "KMHSH81C7LU123458"


def written(path: Path, trace: list[Said]) -> list[Said]:
    with Recorder(path) as recorder:
        for said in trace:
            recorder.write(said)
    return read_trace(path)


def trace_of(*payloads: bytes, kind: Uplink = Uplink.STATUS, vin: str = VIN) -> list[Said]:
    return [Said(AT + timedelta(seconds=number), vin, kind, payload) for number, payload in enumerate(payloads)]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_whatever_a_vehicle_says_is_read_as_it_was_written(suffix: str, tmp_path: Path) -> None:
    odd = [b"", b"{", b"\xff\xfe", b"[1]", b"7", b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a":1e999}', '"é"'.encode()]
    good = ['{"a": "é, \\"quoted\\",\\n"}'.encode(), b'{"n": [1, 2.5, null]}']
    found = written(tmp_path / f"trace.{suffix}", trace_of(*odd, *good))
    assert [said.payload for said in found[: len(odd)]] == odd
    assert [json.loads(said.payload) for said in found[len(odd) :]] == [json.loads(payload) for payload in good]
    assert [(said.at, said.vin, said.kind) for said in found] == [
        (said.at, said.vin, said.kind) for said in trace_of(*odd, *good)
    ]


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    found = written(tmp_path_factory.mktemp("traces") / "trace.csv", trace_of(*payloads))
    assert len(found) == len(payloads)
    for said, payload in zip(found, payloads, strict=True):
        assert said.payload == payload or json.loads(said.payload) == json.loads(payload)


def gpx(points: str) -> str:
    return (
        '<gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
        f"{points}</trkseg></trk></gpx>"
    )


def a_track(latitude: str = "37.5", told: str = "") -> str:
    """Return a track whose second point is at this latitude, and tells something more."""
    return gpx(
        '<trkpt lat="37.5" lon="127"><time>2026-03-07T18:30:00Z</time></trkpt>'
        f'<trkpt lat="{latitude}" lon="127.001"><time>2026-03-07T18:30:01Z</time>{told}</trkpt>'
    )


GOOD_LINE = f'{{"at": "2026-03-07T18:30:00Z", "vin": "{VIN}", "kind": "sos", "payload": {{}}}}'


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.txt", "", "ends in .jsonl, .csv or .gpx"),
        ("a.jsonl", "{", "Expecting property name"),
        ("a.jsonl", "[]", "line 1: expected an object"),
        ("a.jsonl", "\n \n[]", "line 3: expected an object"),
        ("a.jsonl", f"{GOOD_LINE}\n\n" + '{"at": "now",}', "a.jsonl line 3 column 14: Expecting property name"),
        ("a.jsonl", "[" * 100_000, "line 1: maximum recursion depth"),
        ("a.jsonl", "9" * 5000, "line 1: Exceeds the limit"),
        ("a.jsonl", '{"at": "yesterday"}', "line 1: expected payload"),
        ("a.jsonl", '{"at": "yesterday", "payload": {}}', "RFC 3339"),
        ("a.jsonl", '{"at": "2026-03-07T18:30:00Z", "payload": {}, "vin": "IOQ", "kind": "sos"}', "vin: String"),
        ("a.jsonl", f'{{"at": "2026-03-07T18:30:00Z", "payload": {{}}, "vin": "{VIN}", "kind": "x"}}', "'x' is not"),
        ("a.csv", f"at,vin,kind,payload\n2026-03-07T18:30:00Z,{VIN},sos,\n", "row 1: expected payload"),
        ("a.csv", "at,vin,kind,payload\n" + "x" * 131_073, r"a\.csv: row 1: field larger than field limit"),
        ("a.gpx", "<gpx", "a.gpx"),
        ("a.gpx", a_track(latitude="95"), r"a\.gpx: the point of 2026-03-07T18:30:01Z: latitude: .* 90, not 95\.0"),
        ("a.gpx", a_track(latitude="NaN"), r"a\.gpx: the point of 2026-03-07T18:30:01Z: latitude: "),
        ("a.gpx", '<gpx version="1.1" creator="x"/>', "two points with times"),
    ],
)
def test_what_is_no_trace_is_told_with_its_line(name: str, text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadTrace, match=complaint):
        read_trace(tmp_path / name)


class OneMessage:
    """A session that brings one message with the broker's answer, or cannot connect."""

    reachable = True

    def __init__(self, *_: object, on_message: Callable[[Heard], None], **__: object) -> None:
        self._on_message = on_message

    async def connect(self, _filter: str, *, expiry_s: int) -> None:
        if not self.reachable:
            raise SessionLost("refused")
        assert expiry_s == 0
        self._on_message(Heard(uplink_topic(VIN, Uplink.STATUS), b"{}", None))

    async def lost(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def leave(self) -> None:
        pass


def recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record what the one message says, with the worker's certificate."""
    monkeypatch.setattr("simulator.record.Session", OneMessage)
    services = path.parent / "services"
    services.mkdir()
    for name in ("ingest.crt", "ingest.key"):
        (services / name).touch()
    settings = Settings(mqtt_host="", mqtt_port=1, mqtt_services_port=2, mqtt_ca=path, pki_dir=path.parent)

    async def play() -> None:
        stop = asyncio.Event()
        stop.set()
        await record(settings, path, vins=(), stop=stop, notify=print)

    asyncio.run(play())


def test_a_message_that_comes_with_the_subscription_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path / "a.csv", monkeypatch)
    assert [said.payload for said in read_trace(tmp_path / "a.csv")] == [b"{}"]


@pytest.mark.parametrize(("name", "reachable"), [("keep.gpx", True), ("keep.jsonl", False)])
def test_where_nothing_can_be_recorded_what_was_there_is_kept(
    name: str, reachable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("kept")
    monkeypatch.setattr(OneMessage, "reachable", reachable)
    with pytest.raises((BadTrace, SessionLost)):
        recorded(tmp_path / name, monkeypatch)
    assert (tmp_path / name).read_text() == "kept"


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trace.jsonl").mkdir()
    with pytest.raises(BadTrace, match=r"trace\.jsonl: Is a directory"):
        recorded(tmp_path / "trace.jsonl", monkeypatch)


def test_another_vehicle_plays_a_role() -> None:
    trace = trace_of(b"{}") + trace_of(b"{}", vin=OTHER)
    assert [said.vin for said in recast(trace, [f"{VIN}={THIRD}"])] == [THIRD, OTHER]
    assert [said.vin for said in recast(trace[:1], [THIRD])] == [THIRD]
    with pytest.raises(BadTrace, match="expected OLD=NEW"):
        recast(trace, [THIRD])


def an_emergency(at: datetime = AT) -> list[Said]:
    rng = Random(1)
    press = messages.sos_press(rng, at)
    call = messages.call(rng, CallStatus.CONNECTED, at + timedelta(seconds=10), cid="SOS_20260307_004")
    said = [(Uplink.SOS, press), (Uplink.SOS, press), (Uplink.CALL, call)]
    return [
        Said(at + timedelta(seconds=10 * number), VIN, kind, messages.payload_of(message))
        for number, (kind, message) in enumerate(said)
    ]


def test_original_times_stay_and_a_call_names_its_press() -> None:
    trace = an_emergency()
    ready = prepared(trace, times=Times.ORIGINAL, speed=1, seed=1, now=AT)
    bodies = [json.loads(said.payload) for said in ready]
    assert [json.loads(said.payload) for said in trace[:2]] == bodies[:2]
    assert "cid" not in bodies[2]
    assert bodies[2]["requestMessageId"] == bodies[0]["messageId"]


def test_shifted_times_end_when_the_last_is_said_and_equal_ids_stay_equal() -> None:
    now = AT + timedelta(days=100)
    ready = prepared(an_emergency(), times=Times.SHIFTED, speed=10, seed=1, now=now)
    bodies = [json.loads(said.payload) for said in ready]
    # 20 s at ten times the speed end in 2 s; the call happened 10 s before it was said.
    assert parse_instant(bodies[2]["timestamp"]) == now + timedelta(seconds=2 - 10)
    assert parse_instant(bodies[0]["timestamp"]) == now + timedelta(seconds=2 - 20)
    assert bodies[0]["customerConsent"]["timestamp"] == bodies[0]["timestamp"]
    assert bodies[0]["messageId"] == bodies[1]["messageId"] == bodies[2]["requestMessageId"]
    original = json.loads(an_emergency()[0].payload)["messageId"]
    other = prepared(an_emergency(), times=Times.SHIFTED, speed=10, seed=2, now=now)
    assert len({original, bodies[0]["messageId"], json.loads(other[0].payload)["messageId"]}) == 3


@pytest.mark.parametrize("speed", [0.5, 1, 20])
def test_shifted_times_are_none_of_the_future_at_any_speed_and_with_two_traces_in_one_file(speed: float) -> None:
    now, later = AT + timedelta(days=100), an_emergency(AT + timedelta(hours=2))
    for trace in (later + an_emergency(), an_emergency() + later):
        for said in prepared(trace, times=Times.SHIFTED, speed=speed, seed=1, now=now):
            spoken = now + max(timedelta(0), said.at - trace[0].at) / speed
            assert parse_instant(json.loads(said.payload)["timestamp"]) <= spoken


@pytest.mark.parametrize("unknown", ["-1", "NaN"])
def test_a_track_that_does_not_know_speed_and_course_has_them_of_its_points(unknown: str, tmp_path: Path) -> None:
    told = f"<course>{unknown}</course><speed>{unknown}</speed>"
    (tmp_path / "a.gpx").write_text(a_track(told=told).replace('version="1.1"', 'version="1.0"').replace("1/1", "1/0"))
    sample = StatusMessage.model_validate_json(read_trace(tmp_path / "a.gpx")[2].payload)
    assert sample.speed_kph == pytest.approx(318, abs=1)
    assert sample.location is not None
    assert sample.location.heading == pytest.approx(90)


def test_a_gpx_track_is_a_drive_whose_odometer_and_speed_follow_from_it(tmp_path: Path) -> None:
    rng = Random(3)
    moments = list(driving.trip(rng, driving.parked_somewhere(rng), duration_s=60))
    points = "".join(
        f'<trkpt lat="{moment.state.latitude}" lon="{moment.state.longitude}">'
        f"<time>{(AT + timedelta(seconds=moment.elapsed_s)).isoformat()}</time></trkpt>"
        for moment in moments
    )
    (tmp_path / "drive.gpx").write_text(gpx(points))
    start, *samples, stop = read_trace(tmp_path / "drive.gpx")
    assert (start.kind, stop.kind) == (Uplink.ENGINE, Uplink.ENGINE)
    assert EngineMessage.model_validate_json(stop.payload).event == "STOP"
    status = [StatusMessage.model_validate_json(said.payload) for said in samples]
    assert len(status) == len(moments)
    driven_km = moments[-1].state.odometer_km - moments[0].state.odometer_km
    assert status[-1].odometer_km == pytest.approx(driven_km, rel=0.02)
    assert max(sample.speed_kph or 0 for sample in status) == pytest.approx(
        max(moment.state.speed_kph for moment in moments), rel=0.1
    )
    assert all(after.timestamp > before.timestamp for before, after in pairwise(status))
    assert status[0].fuel_level is None  # no track tells it
    assert read_trace(tmp_path / "drive.gpx")[5] == samples[4]
