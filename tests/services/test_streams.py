"""The event streams: every event once and in order, whatever happens in between, and only to those who may see it."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api import stream as api_stream
from api.hub import encode
from api.stream import begin_at
from db import events
from db.events import KnownRange, NewEvent
from db.pool import Connection, connect
from schemas.access import Role
from stack.server import wait_until
from tests.api import BASE, OPERATOR, OTHER_VIN, PARTNER, VIN, Api, Message, serving, streaming

WRITERS, PER_WRITER = 8, 40
ALL = WRITERS * PER_WRITER


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def event(mark: str, *, vin: str = VIN, service: str = "SOS", partner: str | None = None, **data: Any) -> NewEvent:
    return NewEvent(
        service=service, type=f"{service}_UPDATED", priority="HIGH", vin=vin, occurred_at=datetime.now(UTC),
        cid=f"{service}_20260307_001", partner=partner, data={"mark": mark, "vin": vin} | data,
    )  # fmt: skip


def write(api: Api, *written: NewEvent) -> None:
    """Commit events one by one and number them."""
    with connect(api.database_url, name="tests") as conn:
        for one in written:
            events.append(conn, one)
            conn.commit()
    api.sequence()


def marks(messages: list[Message]) -> list[str]:
    return [message.data["data"]["mark"] for message in messages]


def numbers(messages: list[Message]) -> list[int]:
    return [message.sequence for message in messages]


def commit_in_random_order(database_url: str) -> None:
    """Write all events from eight connections, with pauses between insert and commit, numbering them meanwhile."""
    done = threading.Event()

    def one_writer(writer: int) -> None:
        chance = random.Random(writer)
        with connect(database_url, name=f"writer {writer}") as conn:
            for n in range(PER_WRITER):
                events.append(conn, event(f"{writer}.{n}"))
                time.sleep(chance.random() * 0.01)
                conn.commit()

    def sequencer() -> None:
        with connect(database_url, name="sequencer", autocommit=True) as conn:
            while not done.is_set():
                events.sequence(conn, limit=7)
                time.sleep(0.001)
            while events.sequence(conn):
                pass

    numbering = threading.Thread(target=sequencer)
    numbering.start()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(one_writer, range(WRITERS)))
    done.set()
    numbering.join()


def test_every_event_comes_once_and_in_order_also_over_reconnects(api: Api) -> None:
    written = {f"{writer}.{n}" for writer in range(WRITERS) for n in range(PER_WRITER)}
    registered = threading.Barrier(3)

    def steady() -> list[Message]:
        with streaming(api) as stream:
            registered.wait()
            return stream.take(ALL)

    def reconnecting() -> list[Message]:
        got: list[Message] = []
        last_id: str | None = None
        while len(got) < ALL:
            with streaming(api, last_id=last_id) as stream:
                if last_id is None:
                    registered.wait()
                got += stream.take(min(37, ALL - len(got)))
                last_id = stream.last_id
        return got

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(steady), pool.submit(reconnecting)]
        registered.wait()
        commit_in_random_order(api.database_url)
        for reader in readers:
            got = reader.result(timeout=60)
            assert numbers(got) == list(range(1, ALL + 1))
            assert set(marks(got)) == written
            assert [m.data["eventId"] for m in got[:2]] == ["EVT_001", "EVT_002"]


def test_a_client_that_resumes_loses_nothing_over_a_restart_of_the_api(database_url: str) -> None:
    with serving(database_url) as api, streaming(api) as stream:
        write(api, event("before"))
        assert marks(stream.take(1)) == ["before"]
        last_id = stream.last_id
    with connect(database_url, name="tests", autocommit=True) as conn:
        events.append(conn, event("away"))
        events.sequence(conn)
    with serving(database_url) as api, streaming(api, last_id=last_id) as stream:
        write(api, event("after"))
        assert marks(stream.take(2)) == ["away", "after"]


def test_a_client_that_has_seen_no_event_yet_can_resume_too(api: Api) -> None:
    write(api, event("long ago"))
    with streaming(api) as quiet:
        lines = quiet.response.iter_lines()
        assert [next(lines), next(lines)] == [": position", "id: 1"]
    write(api, event("away"))
    with streaming(api, last_id="1") as stream:
        assert marks(stream.take(1)) == ["away"]


def test_a_stream_resumes_through_many_pages_of_events_that_are_not_for_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_stream, "_PAGE", 3)
    write(api, event("first"), *[event(f"rsa {n}", service="RSA") for n in range(20)], event("second"))
    with streaming(api, last_id="0") as stream:
        assert marks(stream.take(2)) == ["first", "second"]
    with streaming(api, last_id="1") as stream:
        assert marks(stream.take(1)) == ["second"]


def test_without_an_id_only_what_happens_from_now_on_comes(api: Api) -> None:
    write(api, event("past"))
    with streaming(api) as stream:
        write(api, event("now"))
        assert marks(stream.take(1)) == ["now"]


def test_the_id_may_come_in_the_query(api: Api) -> None:
    write(api, event("one"), event("two"))
    with streaming(api, params={"lastEventId": "1"}) as stream:
        assert marks(stream.take(1)) == ["two"]


@pytest.mark.parametrize("last_id", ["abc", "-1", "1.5", "²", "9" * 40, "6"])
def test_an_id_that_is_none_or_not_given_yet_is_reset_and_live_events_follow(api: Api, last_id: str) -> None:
    write(api, *[event(f"{n}") for n in range(5)])
    with streaming(api, params={"lastEventId": last_id}) as stream:
        write(api, event("live"))
        reset, live = stream.take(2)
    assert (reset.kind, reset.sequence, reset.data["lastSequence"]) == ("reset", 5, 5)
    assert (live.kind, marks([live])) == ("message", ["live"])


def test_an_id_older_than_what_is_kept_is_reset_and_the_oldest_kept_is_not(api: Api) -> None:
    write(api, *[event(f"{n}") for n in range(5)])
    with connect(api.database_url, name="tests") as conn:
        conn.execute("DELETE FROM events WHERE sequence <= 3")
    with streaming(api, last_id="2") as stream:
        assert stream.take(1)[0].kind == "reset"
    with streaming(api, last_id="3") as stream:
        assert marks(stream.take(2)) == ["3", "4"]


@pytest.mark.parametrize(
    ("last_id", "known", "position", "expected"),
    [
        ("0", KnownRange(None, None), 0, (0, False)),
        ("5", KnownRange(None, None), 0, (0, True)),
        ("7", KnownRange(1, 9), 5, (7, False)),  # another process was ahead of ours
        ("9", KnownRange(1, 9), 5, (9, False)),
        ("10", KnownRange(1, 9), 5, (5, True)),
        ("2", KnownRange(4, 9), 9, (9, True)),
        ("3", KnownRange(4, 9), 9, (3, False)),
    ],
)
def test_where_a_stream_begins(last_id: str, known: KnownRange, position: int, expected: tuple[int, bool]) -> None:
    start = begin_at(last_id, known, position=position)
    assert (start.after, start.reset is not None) == expected


def test_a_client_that_comes_from_a_process_that_was_ahead_gets_nothing_twice(api: Api, conn: Connection) -> None:
    parts = api.server.config.app.state.resources
    parts.reader.stop()
    parts.reader.join()  # ours has stopped at 0, the other went on
    write(api, event("one"), event("two"), event("three"))
    with streaming(api, last_id="2") as stream:
        loop = parts.reader._loop
        loop.call_soon_threadsafe(parts.hub.publish, events.after(conn, 0, limit=10))
        assert marks(stream.take(1)) == ["three"]


def test_a_key_without_the_vehicle_receives_nothing_of_it_while_another_receives(api: Api) -> None:
    without = api.add_key("sk_other", Role.OWNER, vins=[OTHER_VIN])
    with streaming(api) as seeing, streaming(api, token=without) as stream:
        write(api, event("not yours"), event("sentinel", vin=OTHER_VIN))
        assert marks(seeing.take(2)) == ["not yours", "sentinel"]
        assert marks(stream.take(1)) == ["sentinel"]
    with streaming(api, token=without, last_id="0") as resumed:
        write(api, event("sentinel 2", vin=OTHER_VIN))
        assert marks(resumed.take(2)) == ["sentinel", "sentinel 2"]


def test_a_partner_receives_its_own_dispatches_only(api: Api) -> None:
    token = api.add_key("sk_partner", Role.PARTNER, partner=PARTNER, vins=[VIN], every_vehicle=True)
    with streaming(api, "/rsa/events", token=token) as stream:
        write(
            api,
            event("requested", service="RSA"),
            event("another's", service="RSA", partner="HYUNDAI_ROAD"),
            event("mine", service="RSA", partner=PARTNER),
        )
        assert marks(stream.take(1)) == ["mine"]


def test_each_service_has_its_own_stream(api: Api) -> None:
    with streaming(api) as sos, streaming(api, "/rsa/events") as rsa:
        write(api, event("a", service="COMMAND"), event("b", service="RSA"), event("c", service="SOS"))
        assert marks(sos.take(1)) == ["c"]
        assert marks(rsa.take(1)) == ["b"]


def test_test_calls_come_to_operators_only(api: Api) -> None:
    agent = api.add_key("sk_agent", Role.AGENT, every_vehicle=True)
    with streaming(api) as operators, streaming(api, token=agent) as agents:
        write(api, event("test", testCall=True), event("real", testCall=False))
        assert marks(operators.take(2)) == ["test", "real"]
        assert marks(agents.take(1)) == ["real"]


def test_a_vin_narrows_and_must_be_the_callers(api: Api) -> None:
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN])
    with streaming(api, params={"vin": OTHER_VIN}) as stream:
        write(api, event("other"), event("this", vin=OTHER_VIN))
        assert marks(stream.take(1)) == ["this"]
    assert api.call("GET", "/sos/events", params={"vin": OTHER_VIN}, token=owner).status_code == 404
    assert api.call("GET", "/sos/events", params={"vin": "KMHSH81C7LU999999"}).status_code == 404


def test_a_stream_ends_within_five_seconds_after_its_key_is_revoked(api: Api) -> None:
    token = api.add_key("sk_soon_gone", Role.OWNER, vins=[VIN])
    with streaming(api) as lasting, streaming(api, token=token) as stream:
        write(api, event("seen"))
        assert marks(stream.take(1)) == ["seen"]
        api.revoke(token)
        revoked_at_s = time.monotonic()
        assert stream.next() is None
        assert time.monotonic() - revoked_at_s < 5
        write(api, event("unseen"))
        assert marks(lasting.take(2)) == ["seen", "unseen"]


def test_a_stream_ends_when_its_key_gets_other_rights(api: Api) -> None:
    token = api.add_key("sk_sold_the_car", Role.OWNER, vins=[VIN])
    with streaming(api, token=token) as stream:
        api.add_key(token, Role.OWNER, vins=[OTHER_VIN])
        assert stream.next() is None


def test_a_stream_ends_when_its_key_expires(api: Api) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=1)
    token = api.add_key("sk_short", Role.OWNER, vins=[VIN], expires_at=expires_at)
    with streaming(api, token=token) as stream:
        assert stream.next() is None
    assert datetime.now(UTC) >= expires_at


def test_a_client_that_never_reads_is_closed_while_others_receive_all(database_url: str) -> None:
    big, count = "x" * 100_000, 60
    with serving(database_url, stream_queue=count * 2, stream_send_timeout_s=1) as api:
        host, port = api.url.removeprefix("http://").split(":")
        with socket.socket() as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.connect((host, int(port)))
            idle.sendall(
                f"GET {BASE}/sos/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR}\r\n\r\n".encode()
            )
            wait_until(lambda: open_streams(api) == 1, wait_s=10)
            assert is_connected(api, idle)
            with streaming(api) as reading:
                write(api, *[event(f"{n}", text=big) for n in range(count)])
                assert marks(reading.take(count)) == [f"{n}" for n in range(count)]
                wait_until(lambda: open_streams(api) == 1, wait_s=20)
                write(api, event("still served"))
                assert marks(reading.take(1)) == ["still served"]
            wait_until(lambda: not is_connected(api, idle), wait_s=20)


def test_a_client_that_is_too_far_behind_is_closed_and_resumes_where_it_was(database_url: str) -> None:
    with serving(database_url, stream_queue=3) as api:
        with connect(database_url, name="tests") as conn:
            for n in range(50):
                events.append(conn, event(f"{n}"))
        with streaming(api) as stream:
            api.sequence()  # all of one page: more than the three that may wait
            assert stream.next() is None
        assert b"tcu_api_streams_closed_slow_total 1.0" in api.call("GET", "//metrics").content
        with streaming(api, last_id="0") as resumed:
            assert marks(resumed.take(50)) == [f"{n}" for n in range(50)]


def test_a_client_that_leaves_is_forgotten(api: Api) -> None:
    with streaming(api), streaming(api):
        assert open_streams(api) == 2
    wait_until(lambda: open_streams(api) == 0, wait_s=10)


def test_the_streams_go_on_when_the_reader_has_lost_its_connection(api: Api, conn: Connection) -> None:
    with streaming(api) as stream:
        write(api, event("before"))
        assert marks(stream.take(1)) == ["before"]
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tcu-api-events'"
        assert conn.execute(cut.encode()).fetchall() == [(True,)]
        write(api, event("meanwhile"), event("after"))
        assert marks(stream.take(2)) == ["meanwhile", "after"]


def test_streams_hold_no_connection(api: Api, conn: Connection) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tcu-api-events'"
    before = conn.execute(count.encode()).fetchall()
    opened = [streaming(api) for _ in range(30)]
    streams = [one.__enter__() for one in opened]
    write(api, event("to all"))
    assert [marks(stream.take(1)) for stream in streams] == [["to all"]] * 30
    assert conn.execute(count.encode()).fetchall() == before == [(1,)]
    pooled = "SELECT count(*) <= 20 FROM pg_stat_activity WHERE application_name = 'tcu-api'"
    assert conn.execute(pooled.encode()).fetchall() == [(True,)]
    for one in opened:
        one.__exit__(None, None, None)


def test_an_event_is_one_block_however_its_text_looks() -> None:
    awkward = "line\nbreak\r\n\u2028 ü 🚗 id: 9"
    sent = encode(
        events.Event(
            12, "SOS", "SOS_UPDATED", "HIGH", VIN, None, None, datetime(2026, 3, 7, tzinfo=UTC), {"t": awkward}
        )
    )
    lines = sent.block.decode().split("\r\n")
    assert lines[0] == "id: 12"
    assert lines[1].startswith('data: {"eventId":"EVT_012"')
    assert lines[2:] == ["", ""]
    assert "\n" not in lines[1]


def open_streams(api: Api) -> int:
    text = api.call("GET", "//metrics").text
    return int(float(text.split("\ntcu_api_open_streams ")[1].split("\n")[0]))


def is_connected(api: Api, client: socket.socket) -> bool:
    """Tell whether the server still holds the connection; its client need not have noticed the end."""
    return client.getsockname() in {connection.client for connection in tuple(api.server.server_state.connections)}
