"""compose.yaml: what must hold wherever it runs, since a typo there shows only on someone else's machine."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
ONCE = {"pki", "migrate"}
WORKERS = ("ingest-urgent", "ingest-engine", "ingest-bulk")
SERVICES = (*sorted(ONCE), "database", "broker", *WORKERS, "api", "rules", "console")


def services() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())["services"]
    return loaded


@pytest.fixture(params=SERVICES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_services_are_those_of_the_stack() -> None:
    assert set(services()) == set(SERVICES)


def test_nothing_runs_as_root(name: str) -> None:
    assert services()[name]["user"] in {"postgres", "1883:1883"}


def test_what_stays_up_is_watched_and_restarted_and_what_runs_once_is_not(name: str) -> None:
    service = services()[name]
    if name in ONCE:
        assert service["restart"] == "no"
        assert "healthcheck" not in service
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


def test_only_the_broker_is_reachable_from_other_machines() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {
        "broker": ["8883:8883"],
        "api": ["127.0.0.1:8000:8000"],
        "console": ["127.0.0.1:8080:8080"],
    }


def test_every_command_names_a_module_that_exists(name: str) -> None:
    service = services()[name]
    commands = [service.get("command", []), service.get("healthcheck", {}).get("test", [])]
    for command in commands:
        if "-m" in command:
            module = command[command.index("-m") + 1]
            assert importlib.util.find_spec(f"{module}.__main__") is not None


def test_no_secret_is_written_down() -> None:
    text = (CHECKOUT / "compose.yaml").read_text()
    for secret in ("POSTGRES_PASSWORD", "TCU_OWNER_PASSWORD", "TCU_SERVICE_PASSWORD", "TCU_KEY_SECRET"):
        assert text.count(f"{secret}:?") >= 1
        assert f"{secret}:-" not in text
    assert "sk_" not in text


def test_the_console_knows_the_public_api_and_neither_database_nor_broker() -> None:
    console = services()["console"]
    assert set(console["environment"]) == {
        "TCU_ENVIRONMENT", "TCU_API_URL", "TCU_CONSOLE_HOST", "TCU_CONSOLE_PORT",
    }  # fmt: skip
    assert console["volumes"] == []
