"""The proof that the access lists hold: it must fail where they do not, and where nothing can be seen."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ingest import acl_proof
from ingest.settings import WorkerSettings
from mosquitto import config, pki
from stack.broker import Broker, start_mosquitto
from stack.places import free_port, temporary_state
from stack.server import wait_until
from tests.processes import is_ready, product_process, worker_environment


@pytest.fixture
def own_broker(pki_dir: Path) -> Iterator[Broker]:
    """A broker that a test may break."""
    with temporary_state() as state:
        broker = start_mosquitto(state, pki_dir)
        try:
            yield broker
        finally:
            broker.stop()


@pytest.fixture
def settings(own_broker: Broker, pki_dir: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerSettings:
    for name, value in worker_environment(own_broker, pki_dir, "postgresql://nowhere").items():
        monkeypatch.setenv(name, value)
    return WorkerSettings()


def change(broker: Broker, name: str, old: str, new: str) -> None:
    """Change a file of the broker's configuration and start it anew with it."""
    file = broker.directory / name
    text = file.read_text()
    assert old in text
    broker.stop()
    file.write_text(text.replace(old, new, 1))
    broker.start()


def test_it_holds_with_the_access_lists_as_they_are_also_when_asked_again(settings: WorkerSettings) -> None:
    assert [acl_proof.prove(settings) for _ in range(3)] == [None, None, None]


SPEAKS = "the access list lets one vehicle speak for another"
HEARS = "the access list lets one vehicle hear what is meant for another"
FREE_IDS = "client ids are not bound to certificates: vehicles can take over each other's sessions"


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("acl", "pattern write tcu/v1/%u/up/#", "pattern readwrite #", SPEAKS),
        ("acl", "pattern write tcu/v1/%u/up/#", "pattern write tcu/v1/+/up/#", SPEAKS),
        ("acl", "pattern read tcu/v1/%u/down/#", "pattern read tcu/v1/+/down/#", HEARS),
        (
            "acl",
            "pattern read",
            "pattern write tcu/v1/+/down/#\npattern read tcu/v1/+/down/#\npattern read",
            HEARS,
        ),
        ("acl", "user CN=ingest", "user CN=ingest\ntopic readwrite #", SPEAKS),
        ("mosquitto.conf", "use_username_as_clientid true", "", FREE_IDS),
        # Too little is no proof either.
        ("acl", "pattern write tcu/v1/%u/up/#", "topic readwrite #", "what is allowed did not arrive"),
        ("acl", "topic read tcu/v1/+/up/#", "", "what is allowed did not arrive"),
    ],
)
def test_broken_access_lists_are_told(
    own_broker: Broker,
    settings: WorkerSettings,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    old: str,
    new: str,
    reason: str,
) -> None:
    monkeypatch.setattr(acl_proof, "TIMEOUT_S", 3.0)
    change(own_broker, file, old, new)
    assert acl_proof.prove(settings) == reason


def test_no_access_list_at_all_is_told(own_broker: Broker, settings: WorkerSettings) -> None:
    change(own_broker, "mosquitto.conf", f"acl_file {own_broker.directory}/acl", "")
    assert acl_proof.prove(settings) == SPEAKS


def test_a_worker_is_ready_only_where_the_access_list_holds(
    own_broker: Broker, pki_dir: Path, database_url: str, tmp_path: Path
) -> None:
    good, broken = "pattern write tcu/v1/%u/up/#", "pattern write tcu/v1/+/up/#"
    change(own_broker, "acl", good, broken)
    port = free_port()
    environment = worker_environment(own_broker, pki_dir, database_url) | {"TCU_INGEST_METRICS_PORT": str(port)}

    def told() -> tuple[int, str]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
        except httpx.HTTPError:
            return 0, ""
        return answer.status_code, answer.text

    process = product_process("ingest", environment, log=tmp_path / "ingest.log", ready=lambda: SPEAKS in told()[1])
    process.start()
    try:
        assert told()[0] == 503
        assert not is_ready(database_url, "ingest", process.pid)
        acl = own_broker.directory / "acl"
        acl.write_text(acl.read_text().replace(broken, good, 1))
        config.reload(own_broker.directory)
        wait_until(lambda: told()[0] == 200, wait_s=30)
        wait_until(lambda: is_ready(database_url, "ingest", process.pid), wait_s=30)
    finally:
        process.kill()


# A handshake that is given up leaves its socket to the garbage collector (paho 2.1), which closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_cannot_be_tried_is_not_proven(
    own_broker: Broker, settings: WorkerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "are not set" in str(acl_proof.prove(settings.model_copy(update={"acl_proof_cert": None})))
    stranger = pki.issue_service(tmp_path, "acl-proof")
    unknown = {"acl_proof_cert": stranger.certificate, "acl_proof_key": stranger.key}
    assert "the broker refused a connection" in str(acl_proof.prove(settings.model_copy(update=unknown)))
    monkeypatch.setattr(acl_proof, "TIMEOUT_S", 1.0)
    os.kill(own_broker.pid, signal.SIGSTOP)
    try:
        assert acl_proof.prove(settings) is not None
    finally:
        os.kill(own_broker.pid, signal.SIGCONT)
    own_broker.stop()
    assert "refused" in str(acl_proof.prove(settings))
