"""The settings of a stack: what its processes get, and what `.run/env` tells clients."""

import os
import shlex
from dataclasses import dataclass

from mosquitto import pki
from schemas.demo import CONTACT_CENTER_PHONE, DEMO_TOKEN
from stack import broker, postgres, priority
from stack.places import CHECKOUT, Places, remembered_ports, secret
from stack.server import ServerCommand

HOST = "127.0.0.1"
DATABASE = "tcu"
EMBEDDED = "TCU_EMBEDDED"
"""Private servers as name:port,name:port. A shell that sourced `env` did not thereby choose servers of its own."""

OWNERS_URL = "TCU_MIGRATE_URL"
ANALYSTS_URL = "TCU_ANALYST_URL"
"""For `tcu migrate`, and for people with a SQL client: no process that stays up is given either."""

CLIENT_SETTINGS = (
    "TCU_ENVIRONMENT",
    "TCU_CONSOLE_URL",
    "TCU_API_URL",
    "TCU_MQTT_HOST",
    "TCU_MQTT_PORT",
    "TCU_MQTT_SERVICES_PORT",
    "TCU_MQTT_CA",
    "TCU_PKI_DIR",
    "TCU_BROKER_DIR",
    "TCU_DATABASE_URL",
    OWNERS_URL,
    ANALYSTS_URL,
    "TCU_KEY_SECRET",
    "TCU_DEMO_TOKEN",
    EMBEDDED,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a stack by name, and the private servers that it needs with the port of each."""

    values: dict[str, str]
    servers: dict[str, int]


def settle(places: Places) -> Settings:
    """Return the settings of a stack that is about to start: the user's own servers where named, else private ones."""
    own = _users_choice()
    probes = ("ingest-metrics", "ingest-engine-metrics", "ingest-bulk-metrics")
    names = ("postgres", "mosquitto", "mosquitto-services", "api", "console", *probes)
    ports = remembered_ports(places.state, names)
    servers: dict[str, int] = {}
    values = {
        "TCU_ENVIRONMENT": "demo",
        "TCU_DEMO_TOKEN": DEMO_TOKEN,
        "TCU_KEY_SECRET": own.get("TCU_KEY_SECRET") or secret(places.state, "key-secret"),
        "TCU_CONTACT_CENTER_PHONE": CONTACT_CENTER_PHONE,
        "TCU_API_HOST": HOST,
        "TCU_API_PORT": own.get("TCU_API_PORT", str(ports["api"])),
        "TCU_INGEST_METRICS_PORT": str(ports["ingest-metrics"]),
        "TCU_INGEST_ENGINE_METRICS_PORT": str(ports["ingest-engine-metrics"]),
        "TCU_INGEST_BULK_METRICS_PORT": str(ports["ingest-bulk-metrics"]),
    }
    values["TCU_API_URL"] = f"http://{HOST}:{values['TCU_API_PORT']}"
    values["TCU_CONSOLE_HOST"] = HOST
    values["TCU_CONSOLE_PORT"] = own.get("TCU_CONSOLE_PORT", str(ports["console"]))
    values["TCU_CONSOLE_URL"] = f"http://{HOST}:{values['TCU_CONSOLE_PORT']}"
    if "TCU_DATABASE_URL" in own:
        values |= {name: own[name] for name in ("TCU_DATABASE_URL", OWNERS_URL) if name in own}
    else:
        servers["postgres"] = ports["postgres"]
        postgres.prepare(places.state, ports["postgres"])
        roles = {"TCU_DATABASE_URL": postgres.SERVICE, OWNERS_URL: postgres.OWNER, ANALYSTS_URL: postgres.ANALYST}
        for name, role in roles.items():
            values[name] = postgres.database_url(places.state, ports["postgres"], DATABASE, role=role)
    if "TCU_MQTT_HOST" in own:
        values |= _users_broker(own)
    else:
        servers["mosquitto"] = ports["mosquitto"]
        values |= _private_broker(places, ports["mosquitto"], ports["mosquitto-services"])
    values[EMBEDDED] = ",".join(f"{name}:{port}" for name, port in servers.items())
    return Settings(values, servers)


def server_commands(places: Places, settings: Settings) -> list[ServerCommand]:
    """Return how to run the private servers that these settings need."""
    known = {"postgres": (postgres.server_command, priority.command), "mosquitto": (broker.server_command,)}
    return [command(places.state) for name in settings.servers for command in known.get(name, ())]


def write_env(places: Places, settings: Settings) -> None:
    """Write `env` for clients: KEY=VALUE lines that a shell and a naive reader both understand.

    Quotes appear only where the checkout's path needs them.
    """
    file = places.run / "env"
    lines = [f"{name}={shlex.quote(settings.values[name])}" for name in CLIENT_SETTINGS if name in settings.values]
    lines.append(f"export {' '.join(CLIENT_SETTINGS)}")
    lines.append(f'export PATH={shlex.quote(str(CHECKOUT / ".venv" / "bin"))}:"$PATH"')
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as env:
        env.write("\n".join(lines) + "\n")


def settled(places: Places) -> Settings:
    """Return the settings of the stack that runs, as far as `env` tells them."""
    lines = (places.run / "env").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if not line.startswith("export ")]
    values = {name: "".join(shlex.split(value)) for name, value in pairs}
    return Settings(values, _embedded(values))


def process_environment(values: dict[str, str]) -> dict[str, str]:
    """Return the environment for a process of the stack: without what only the migration may use."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TCU_")}
    passed_on = {name: value for name, value in _users_choice().items() if name not in values}
    chosen = {**inherited, **passed_on, **values, "PYTHONUNBUFFERED": "1"}
    return {name: value for name, value in chosen.items() if name not in (OWNERS_URL, ANALYSTS_URL)}


def _users_choice() -> dict[str, str]:
    """Return the TCU_ settings of our environment that the user made, without those of a sourced `env`."""
    chosen = {name: value for name, value in os.environ.items() if name.startswith("TCU_")}
    if EMBEDDED not in chosen:
        return chosen
    embedded = _embedded(chosen).values()
    return {
        name: value
        for name, value in chosen.items()
        if name not in CLIENT_SETTINGS
        or (
            name in ("TCU_DATABASE_URL", OWNERS_URL, ANALYSTS_URL)
            and not any(f":{port}/" in value for port in embedded)
        )
    }


def _embedded(values: dict[str, str]) -> dict[str, int]:
    pairs = (entry.split(":") for entry in values[EMBEDDED].split(",") if entry)
    return {name: int(port) for name, port in pairs}


def _users_broker(own: dict[str, str]) -> dict[str, str]:
    names = (
        "TCU_MQTT_HOST",
        "TCU_MQTT_PORT",
        "TCU_MQTT_SERVICES_PORT",
        "TCU_MQTT_CA",
        "TCU_MQTT_CERT",
        "TCU_MQTT_KEY",
        "TCU_PKI_DIR",
    )
    missing = [name for name in names if name not in own]
    if missing:
        raise ValueError(f"for a broker of your own set {', '.join(missing)} too")
    return {name: own[name] for name in names}


def _private_broker(places: Places, port: int, services_port: int) -> dict[str, str]:
    pki_dir = places.run / "pki"
    pki.issue_server(pki_dir)
    worker = pki.issue_service(pki_dir, "ingest")
    system_test = pki.issue_service(pki_dir, "systemtest")
    intruder = pki.issue_service(pki_dir, "acl-proof")
    broker.prepare(places.state, pki_dir, port, services_port)
    return {
        "TCU_MQTT_HOST": broker.HOST,
        "TCU_MQTT_PORT": str(port),
        "TCU_MQTT_SERVICES_PORT": str(services_port),
        "TCU_MQTT_CA": str(pki_dir / "ca.crt"),
        "TCU_MQTT_CERT": str(worker.certificate),
        "TCU_MQTT_KEY": str(worker.key),
        "TCU_ACL_PROOF_CERT": str(intruder.certificate),
        "TCU_ACL_PROOF_KEY": str(intruder.key),
        "TCU_SYSTEM_TEST_CERT": str(system_test.certificate),
        "TCU_SYSTEM_TEST_KEY": str(system_test.key),
        "TCU_PKI_DIR": str(pki_dir),
        "TCU_BROKER_DIR": str(broker.broker_directory(places.state)),
    }
