"""What a production start refuses, and that it says what to do without saying a secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from api.settings import ApiSettings
from db.settings import DatabaseSettings
from ingest.settings import WorkerSettings
from mosquitto import pki
from schemas.production import Environment, check_authority, check_database, check_secret

SECRET = "correct-horse-battery"
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TCU_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://tcu_service:{SECRET}@127.0.0.1:5432/tcu",
        f"postgresql://tcu_service:{SECRET}@localhost/tcu",
        f"postgresql://tcu_service:{SECRET}@[::1]/tcu",
        f"postgresql://tcu_service:{SECRET}@/tcu?host=/run/postgresql",
        "postgresql:///tcu",
        f"postgresql://tcu_service:{SECRET}@db.example/tcu?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        f"host=db.example dbname=tcu user=tcu_service password={SECRET} sslmode=verify-full",
    ],
)
def test_a_local_or_verified_database_is_fit_for_production(url: str) -> None:
    assert DatabaseSettings(database_url=url).database_url == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            f"postgresql://tcu_service:{SECRET}@db.example/tcu",
            "db.example is another machine: add .sslmode=verify-full",
        ),
        (f"postgresql://tcu_service:{SECRET}@db.example/tcu?sslmode=require", "db.example is another machine"),
        (f"postgresql://tcu_service:{SECRET}@db.example/tcu?sslmode=verify-ca", "db.example is another machine"),
        (f"postgresql://tcu_service:{SECRET}@127.0.0.1,10.0.0.9/tcu", "10.0.0.9 is another machine"),
        (f"postgresql://tcu_service:{SECRET}@/tcu?hostaddr=10.0.0.9", "10.0.0.9 is another machine"),
        (f"postgresql://tcu_service:{SECRET}@127.0.0.1.example/tcu", "127.0.0.1.example is another machine"),
        ("postgresql://tcu:tcu@127.0.0.1/tcu", "the password of 'tcu' is empty or a default"),
        ("postgresql://tcu_service:TCU_SERVICE@127.0.0.1/tcu", "the password of 'tcu_service' is empty or a default"),
        ("postgresql://tcu_service:postgres@127.0.0.1/tcu", "is empty or a default"),
        ("host=127.0.0.1 user=tcu_service password=''", "is empty or a default"),
        (f"mysql://tcu:{SECRET}@127.0.0.1/tcu", "expected postgresql://user:password@host:port/name"),
        (
            f"postgresql://tcu:{SECRET}@127.0.0.1/tcu?what={SECRET}",
            "expected postgresql://user:password@host:port/name",
        ),
    ],
)
def test_any_other_database_is_refused_and_no_password_is_told(url: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told) as refused:
        DatabaseSettings(database_url=url)
    assert SECRET not in str(refused.value)


def test_a_demonstration_takes_them() -> None:
    url = "postgresql://tcu:tcu@db.example/tcu"
    assert DatabaseSettings(environment=Environment.DEMO, database_url=url).database_url == url


def test_a_host_beside_an_address_does_not_hide_it() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.9 is another machine"):
        check_database({"host": "localhost", "hostaddr": "10.0.0.9"})


def test_settings_print_no_password() -> None:
    assert SECRET not in repr(DatabaseSettings(database_url=f"postgresql://tcu_service:{SECRET}@127.0.0.1/tcu"))


def test_the_authority_for_development_is_refused_wherever_it_is_trusted(tmp_path: Path) -> None:
    server, worker = pki.issue_server(tmp_path), pki.issue_service(tmp_path, "ingest")
    authority = tmp_path / "ca.crt"
    bundle = tmp_path / "bundle.crt"
    bundle.write_bytes((tmp_path / "services-ca.crt").read_bytes() + authority.read_bytes())
    for refused in (authority, bundle):
        with pytest.raises(ValueError, match="is the authority for development: use one of your own"):
            check_authority(refused)
    with pytest.raises(ValueError, match="there is no"):
        check_authority(tmp_path / "none.crt")
    check_authority(tmp_path / "services-ca.crt")  # each deployment's own
    url = f"postgresql://tcu_service:{SECRET}@127.0.0.1/tcu"
    with pytest.raises(ValidationError, match="is the authority for development"):
        ApiSettings(database_url=url, key_secret="0123456789abcdef" * 4, mqtt_ca=authority)
    credentials = {"mqtt_host": "b", "mqtt_cert": worker.certificate, "mqtt_key": worker.key}
    with pytest.raises(ValidationError, match="is the authority for development"):
        WorkerSettings(database_url=url, mqtt_ca=authority, **credentials)
    assert WorkerSettings(environment=Environment.DEMO, database_url=url, mqtt_ca=authority, **credentials)
    assert server.certificate.exists()


def test_a_secret_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="openssl rand -hex 32"):
        check_secret("0" * 64)
    check_secret("0123456789abcdef" * 4)


@pytest.mark.parametrize("module", ["api", "ingest", "rules"])
def test_a_refused_process_ends_with_one_line_that_names_the_setting_and_no_secret(module: str, tmp_path: Path) -> None:
    pki.issue_server(tmp_path)
    settings = {
        "PATH": os.environ["PATH"],
        "TCU_DATABASE_URL": f"postgresql://tcu_service:{SECRET}@db.example/tcu",
        "TCU_KEY_SECRET": "0123456789abcdef" * 4,
        "TCU_MQTT_HOST": "127.0.0.1",
        "TCU_MQTT_CA": str(tmp_path / "ca.crt"),
        "TCU_MQTT_CERT": "x",
        "TCU_MQTT_KEY": "x",
    }
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=CHECKOUT,
        env=settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "TCU_DATABASE_URL" in done.stderr
    assert "sslmode=verify-full" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_no_broker_is_prepared_for_production_with_the_authority_for_development(tmp_path: Path) -> None:
    pki.issue_server(tmp_path / "pki")
    command = [sys.executable, "-m", "mosquitto", "--broker-dir", str(tmp_path / "broker"), "--host", "broker"]
    environment = {"PATH": os.environ["PATH"], "TCU_PKI_DIR": str(tmp_path / "pki")}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("mosquitto: ")
    assert "is the authority for development" in done.stderr
    assert not (tmp_path / "broker").exists()
