"""Where a stack keeps its things, on which ports it listens, and under which accounts its servers run."""

import hashlib
import json
import os
import pwd
import random
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PORTS = range(20_000, 32_000)
"""Below the range from which Linux takes ports for outgoing connections, so none of those gets in the way."""

_TEMPORARY, _MEMORY = Path("/tmp"), Path("/dev/shm")  # noqa: S108 - mkdtemp makes a directory of our own there
_ROOM = 4 << 30
"""Bytes: a few test clusters with their logs."""


@dataclass(frozen=True, slots=True)
class Places:
    """The two directories of a stack: `run` is for its user (env, logs, certificates), `state` for its servers."""

    run: Path
    state: Path


def stack_places() -> Places:
    """Return where `make up` lives."""
    return Places(run=CHECKOUT / ".run", state=_state_root() / "stack")


def demo_places() -> Places:
    """Return where `make demo` lives: beside a running stack and never in its way."""
    return Places(run=CHECKOUT / ".run" / "demo", state=_state_root() / "demo")


def picture_places() -> Places:
    """Return where the demo lives of which the documentation's pictures are taken."""
    return Places(run=CHECKOUT / ".run" / "pictures", state=_state_root() / "pictures")


def _state_root() -> Path:
    """Return this checkout's directory outside the checkout, which may lie under a home that servers cannot enter."""
    if chosen := os.environ.get("TCU_STATE_DIR"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        base = Path("/var/lib")
    else:
        home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
        base = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    return base / "tcu" / hashlib.sha256(bytes(CHECKOUT)).hexdigest()[:8]


def make_state(state: Path) -> None:
    """Create the directory so that the servers' accounts can pass through it, and nobody can list it."""
    for directory in (*reversed(state.parents), state):
        if not directory.exists():
            directory.mkdir()
            directory.chmod(0o711)


def secret(state: Path, name: str) -> str:
    """Return a secret of this stack: random, made once, readable for its user only."""
    file = state / name
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as new:
            new.write(secrets.token_hex(32))
    return file.read_text()


@contextmanager
def temporary_state(*, in_memory: bool = False) -> Iterator[Path]:
    """Give a state directory that lasts as long as the block; pytest's own are closed to the servers' accounts.

    `in_memory` wants it to outlast no power cut, so it lies in memory where there is room.
    """
    roomy = in_memory and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    state = Path(tempfile.mkdtemp(prefix="tcu-", dir=_MEMORY if roomy else _TEMPORARY))
    state.chmod(0o711)
    try:
        yield state
    finally:
        shutil.rmtree(state)


def account_for(server: str) -> str | None:
    """Return the system account for a server when we are root (PostgreSQL refuses to run as root), else None."""
    return server if os.geteuid() == 0 else None


def give_to(account: str | None, directory: Path) -> None:
    """Make the account owner of the directory and all in it, closed to everyone else."""
    directory.chmod(0o700)
    if account is None:
        return
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, account, pwd.getpwnam(account).pw_gid)


def run_as(account: str | None, command: list[str], *, stop_signal: str) -> list[str]:
    """Return the command so that it runs as the account, and stops when whoever started it is gone."""
    prefix = ["setpriv", "--pdeathsig", stop_signal]
    if account is not None:
        group = str(pwd.getpwnam(account).pw_gid)
        prefix += ["--reuid", account, "--regid", group, "--init-groups"]
    return [*prefix, "--", *command]


def free_port(taken: frozenset[int] = frozenset()) -> int:
    """Return a loopback port that nobody listens on. Raises OSError if a hundred tries find none."""
    for port in random.sample(PORTS, 100):
        if port not in taken and _is_free(port):
            return port
    raise OSError(f"no free port between {PORTS.start} and {PORTS.stop}")


def remembered_ports(state: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Return a port for each name: the one it had, if that is still free, so that clients' settings stay good."""
    file = state / "ports.json"
    ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    for name in names:
        if name not in ports or not _is_free(ports[name]):
            ports[name] = free_port(frozenset(ports.values()))
    file.write_text(json.dumps(ports))
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
