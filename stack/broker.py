"""A private Mosquitto on loopback that lets in only holders of a certificate of the authority."""

import os
import shutil
import signal
from pathlib import Path

from mosquitto import config
from stack.places import account_for, free_port, give_to, run_as
from stack.server import Server, ServerCommand, ServerFailed, listens

HOST = "127.0.0.1"


class Broker(Server):
    """A running private broker: vehicles connect to `port`, our processes to `services_port`; `ca` is what they trust.

    `directory` is where it reads its configuration.
    """

    def __init__(self, state_dir: Path, pki_dir: Path, port: int, services_port: int) -> None:
        self.host = HOST
        self.port = port
        self.services_port = services_port
        self.directory = broker_directory(state_dir)
        self.ca = pki_dir / "ca.crt"
        super().__init__(server_command(state_dir), log=state_dir / "mosquitto.log", ready=self._listens)

    def _listens(self) -> bool:
        return listens(self.port) and listens(self.services_port)


def start_mosquitto(state_dir: Path, pki_dir: Path) -> Broker:
    """Return a private broker that accepts connections of those who have a certificate of these authorities."""
    port = free_port()
    services_port = free_port(frozenset({port}))
    prepare(state_dir, pki_dir, port, services_port)
    server = Broker(state_dir, pki_dir, port, services_port)
    server.start()
    return server


def broker_directory(state_dir: Path) -> Path:
    """Return where the broker reads its configuration."""
    return state_dir / "mosquitto"


def prepare(state_dir: Path, pki_dir: Path, port: int, services_port: int) -> None:
    """Write the broker's configuration for these ports, and its certificates where its account can read them."""
    directory = broker_directory(state_dir)
    directory.mkdir(exist_ok=True)
    config.prepare(directory, pki_dir, address=HOST, port=port, services_port=services_port)
    give_to(account_for("mosquitto"), directory)


def server_command(state_dir: Path) -> ServerCommand:
    """Return how to run the prepared broker."""
    directory = broker_directory(state_dir)
    # Debian keeps it outside an ordinary user's search path.
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        raise ServerFailed("Mosquitto is not installed; run `make setup`")
    command = [program, "-c", str(directory / "mosquitto.conf")]
    return ServerCommand(
        "mosquitto",
        run_as(account_for("mosquitto"), command, stop_signal="TERM"),
        directory,
        signal.SIGTERM,  # saves its sessions before it ends
    )
