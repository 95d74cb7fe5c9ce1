"""What a production start refuses, and that it says what to do without saying a secret."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from api.settings import ApiSettings
from console.settings import ConsoleSettings
from db.settings import DatabaseSettings
from ingest.settings import WorkerSettings
from mosquitto import pki
from schemas.production import Environment, check_authority, check_database, check_secret

SECRET = "correct-horse-battery"
KEY_SECRET = "7f1d0c5b9a3e48262b6c4d8e1f0a9375"
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("TCU_", "PG"))]:
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
        ("postgresql://tcu_service:@127.0.0.1/tcu", "is empty or a default"),  # as of a variable that was not set
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


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PGHOST", "db.example", "db.example is another machine"),
        ("PGHOSTADDR", "10.0.0.9", "10.0.0.9 is another machine"),
        ("PGPASSWORD", "postgres", "is empty or a default"),
    ],
)
def test_what_libpq_adds_from_the_environment_counts(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=told):
        DatabaseSettings(database_url="postgresql:///tcu")


def test_a_service_file_may_not_hide_the_host() -> None:
    with pytest.raises(ValidationError, match="write out host and sslmode"):
        DatabaseSettings(database_url="postgresql:///tcu?service=elsewhere")


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
    (tmp_path / "torn.crt").write_text("-----BEGIN CERTIFICATE-----")
    for unreadable in (tmp_path / "torn.crt", tmp_path):
        with pytest.raises(ValueError, match="cannot be read; expected your authority's certificate as PEM"):
            check_authority(unreadable)
    with pytest.raises(ValueError, match="is the authority for development"):
        check_authority(server.certificate)  # signed by it, and trusted by itself
    check_authority(tmp_path / "services-ca.crt")  # each deployment's own
    url = f"postgresql://tcu_service:{SECRET}@127.0.0.1/tcu"
    with pytest.raises(ValidationError, match="is the authority for development"):
        ApiSettings(database_url=url, key_secret=KEY_SECRET, mqtt_ca=authority)
    credentials = {"mqtt_host": "b", "mqtt_cert": worker.certificate, "mqtt_key": worker.key}
    with pytest.raises(ValidationError, match="is the authority for development"):
        WorkerSettings(database_url=url, mqtt_ca=authority, **credentials)
    assert WorkerSettings(environment=Environment.DEMO, database_url=url, mqtt_ca=authority, **credentials)


@pytest.mark.parametrize("secret", ["0" * 64, "secret" * 6, "0123456789abcdef" * 4, "change-me-please-" * 2 + "change"])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError, match="openssl rand -hex 32") as refused:
        ApiSettings(database_url="postgresql://localhost/tcu", key_secret=secret)
    assert secret not in str(refused.value)


def test_a_secret_is_taken() -> None:
    check_secret(KEY_SECRET)
    check_secret(secrets.token_hex(32))


@pytest.mark.parametrize("url", ["http://api:8000", "http://10.0.0.9", "http://127.0.0.1.example", "api.example"])
def test_the_console_sends_nobodys_key_in_the_clear(url: str) -> None:
    with pytest.raises(ValidationError, match="use https, for each request carries somebody's key"):
        ConsoleSettings(api_url=url)
    assert ConsoleSettings(environment=Environment.DEMO, api_url=url).api_url == url


@pytest.mark.parametrize("url", ["https://api.example", "http://127.0.0.1:8000", "http://localhost:8000/"])
def test_the_console_takes_an_api_that_is_local_or_verified(url: str) -> None:
    assert ConsoleSettings(api_url=url).api_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("module", "name", "told"),
    [
        ("api", "TCU_DATABASE_URL", "sslmode=verify-full"),
        ("ingest", "TCU_DATABASE_URL", "sslmode=verify-full"),
        ("rules", "TCU_DATABASE_URL", "sslmode=verify-full"),
        ("console", "TCU_API_URL", "use https"),
    ],
)
def test_a_refused_process_ends_with_one_line_that_names_the_setting_and_no_secret(
    module: str, name: str, told: str, tmp_path: Path
) -> None:
    pki.issue_server(tmp_path)
    settings = {
        "PATH": os.environ["PATH"],
        "TCU_DATABASE_URL": f"postgresql://tcu_service:{SECRET}@db.example/tcu",
        "TCU_KEY_SECRET": KEY_SECRET,
        "TCU_API_URL": "http://api.example",
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
    assert name in done.stderr
    assert told in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert KEY_SECRET not in done.stdout + done.stderr


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


def test_the_guides_token_is_stored_in_a_demonstration_only(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "TCU_PKI_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "admin", "demo", "seed"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("tcu: the demo's token is printed in public guides: not in production")
