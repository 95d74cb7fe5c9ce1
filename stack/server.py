"""A private server process with a lifetime: it can be started, stopped, killed and started again."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class ServerFailed(Exception):
    """A server or process did not come up; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to run a server: its command line, its working directory, and how it is asked to stop."""

    name: str
    command: list[str]
    directory: Path
    stop_signal: signal.Signals


class Server:
    """A server that this process started; `pid` is the server's own."""

    def __init__(self, run: ServerCommand, *, log: Path, ready: Callable[[], bool]) -> None:
        self._run = run
        self.log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises ServerFailed while it is not running."""
        if self._process is None:
            raise ServerFailed(f"{self._run.name} is not running")
        return self._process.pid

    def start(self, *, wait_s: float = 30) -> None:
        """Start the server and return when it answers. Raises ServerFailed if it ends or stays silent."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._run.command, cwd=self._run.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_until(self._answers, wait_s=wait_s)
        except (TimeoutError, ServerFailed) as error:
            self.kill()
            raise ServerFailed(f"{self._run.name} did not start:\n{tail(self.log)}") from error

    def stop(self, *, wait_s: float = 30) -> None:
        """Ask the server to stop and return when it has; after the wait it is killed."""
        self._end(self._run.stop_signal, wait_s=wait_s)

    def kill(self) -> None:
        """End the server as a power cut would (SIGKILL)."""
        self._end(signal.SIGKILL, wait_s=10)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise ServerFailed(f"{self._run.name} ended with {self._process.returncode}")
        return self._ready()

    def _end(self, how: signal.Signals, *, wait_s: float) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(holds: Callable[[], bool], *, wait_s: float) -> None:
    """Return when the condition holds. Raises TimeoutError after the wait."""
    deadline = time.monotonic() + wait_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {wait_s:g} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Tell whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or that there are none."""
    if not log.exists():
        return f"({log} was never written)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or f"({log} is empty)"


def process_runs(pid: int) -> bool:
    """Tell whether a process with this id exists and has not ended."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
