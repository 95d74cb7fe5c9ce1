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
    """A running private broker; `port` speaks TLS, `ca` is the file that its clients trust."""

    def __init__(self, state_dir: Path, pki_dir: Path, port: int) -> None:
        self.host = HOST
        self.port = port
        self.ca = pki_dir / "ca.crt"
        super().__init__(server_command(state_dir), log=state_dir / "mosquitto.log", ready=lambda: listens(port))


def start_mosquitto(state_dir: Path, pki_dir: Path) -> Broker:
    """Return a private broker that accepts connections, after issuing its certificate from this authority."""
    port = free_port()
    prepare(state_dir, pki_dir, port)
    server = Broker(state_dir, pki_dir, port)
    server.start()
    return server


def prepare(state_dir: Path, pki_dir: Path, port: int) -> None:
    """Write the broker's configuration for this port, and its certificates where its account can read them."""
    directory = state_dir / "mosquitto"
    directory.mkdir(exist_ok=True)
    config.prepare(directory, pki_dir, address=HOST, port=port)
    give_to(account_for("mosquitto"), directory)


def server_command(state_dir: Path) -> ServerCommand:
    """Return how to run the prepared broker."""
    directory = state_dir / "mosquitto"
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
