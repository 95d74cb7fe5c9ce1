"""Keeps a stack's processes running with supervisord: writes its configuration, starts, asks and stops it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from stack.places import CHECKOUT, Places, run_as
from stack.server import ServerCommand, ServerFailed, process_runs, tail, wait_until

APPS = ("ingest-urgent", "ingest-engine", "ingest-bulk", "api", "rules", "console")
"""Each is `python -m` its name, with what follows the hyphen as its argument."""
STOP_WAIT_S = 30
_STATUS = re.compile(r"^(\S+)\s+([A-Z]+)\s*(.*)$")


def write_configuration(places: Places, servers: Iterable[ServerCommand]) -> None:
    """Write the configuration: servers start with supervisord, our processes when the database is ready for them."""
    logs = places.run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    sections = [
        f"[unix_http_server]\nfile={_escaped(_socket(places))}\nchmod=0700",
        f"[supervisord]\nlogfile={_escaped(logs / 'supervisord.log')}\npidfile={_escaped(_pid_file(places))}\n"
        f"directory={_escaped(CHECKOUT)}" + ("\nuser=root" if os.geteuid() == 0 else ""),
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        f"[supervisorctl]\nserverurl=unix://{_escaped(_socket(places))}",
    ]
    sections += [_program(server, logs, autostart=True, priority=10) for server in servers]
    sections += [_program(_app(name), logs, autostart=False, priority=20) for name in APPS]
    _configuration(places).write_text("\n\n".join(sections) + "\n")


def start(places: Places, environment: dict[str, str], *, tied: bool) -> None:
    """Start supervisord and with it the servers; `tied` to us, it stops all when we are gone.

    Raises ServerFailed if it does not come up.
    """
    command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(_configuration(places))]
    log = places.run / "logs" / "supervisord.out"
    with log.open("wb") as out:
        process = subprocess.Popen(
            run_as(None, command, stop_signal="TERM") if tied else command,
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is for whoever started us, who then stops it in order
        )
    try:
        wait_until(lambda: process.poll() is not None or bool(statuses(places)), wait_s=15)
    except TimeoutError as error:
        process.kill()
        raise ServerFailed(f"supervisord does not answer:\n{tail(log)}") from error
    if process.poll() is not None:
        raise ServerFailed(f"supervisord did not start:\n{tail(log)}")


def is_running(places: Places) -> bool:
    """Tell whether this stack's supervisord runs."""
    return _pid(places) is not None


def statuses(places: Places) -> dict[str, str]:
    """Return each process's state (RUNNING, STOPPED, BACKOFF, FATAL …) by name; empty if supervisord is silent."""
    lines = _control(places, "status").stdout.splitlines()
    matches = (_STATUS.match(line) for line in lines)
    known = (*APPS, "postgres", "mosquitto")
    return {match[1]: match[2] for match in matches if match and match[1] in known}


def pids(places: Places) -> dict[str, int]:
    """Return the process id of each process that runs."""
    lines = _control(places, "status").stdout.splitlines()
    found = (re.match(r"^(\S+)\s+RUNNING\s+pid (\d+)", line) for line in lines)
    return {match[1]: int(match[2]) for match in found if match}


def start_processes(places: Places, names: Iterable[str]) -> None:
    """Start these processes where they do not run; whether they stay up is seen in their status."""
    down = [name for name in names if statuses(places).get(name) not in ("RUNNING", "STARTING")]
    if down:
        _control(places, "start", *down)


def stop(places: Places) -> bool:
    """Stop all processes in order and supervisord itself; tell whether it ran."""
    pid = _pid(places)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    try:
        wait_until(lambda: not process_runs(pid), wait_s=3 * STOP_WAIT_S + 30)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)  # its processes are tied to it and stop too
        wait_until(lambda: not process_runs(pid), wait_s=5)
    return True


def ailing(places: Places) -> list[str]:
    """Return the names of processes that should run and do not."""
    return [name for name, state in statuses(places).items() if state not in ("RUNNING", "STARTING")]


def _app(name: str) -> ServerCommand:
    command = run_as(None, [sys.executable, "-m", *name.split("-")], stop_signal="TERM")
    return ServerCommand(name, command, CHECKOUT, signal.SIGTERM)


def _program(process: ServerCommand, logs: Path, *, autostart: bool, priority: int) -> str:
    lines = {
        "command": " ".join(_quoted(word) for word in process.command),
        "directory": _escaped(process.directory),
        "autostart": str(autostart).lower(),
        "autorestart": "true",
        "startsecs": "1",
        "startretries": "100",  # each a second later than the one before
        "priority": str(priority),
        "stopsignal": process.stop_signal.name.removeprefix("SIG"),
        "stopwaitsecs": str(STOP_WAIT_S),
        "redirect_stderr": "true",
        "stdout_logfile": _escaped(logs / f"{process.name}.log"),
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": "2",
    }
    settings = "\n".join(f"{key}={value}" for key, value in lines.items())
    return f"[program:{process.name}]\n{settings}"


def _control(places: Places, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(_configuration(places)), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def _pid(places: Places) -> int | None:
    """Return supervisord's process id, if the one on file is still ours and not another process's by now."""
    file = _pid_file(places)
    if not file.exists():
        return None
    pid = int(file.read_text() or 0)
    if not pid or not process_runs(pid):
        return None
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return pid if bytes(_configuration(places)) in arguments else None


def _configuration(places: Places) -> Path:
    return places.run / "supervisord.conf"


def _pid_file(places: Places) -> Path:
    return places.run / "supervisord.pid"


def _socket(places: Places) -> Path:
    # Not in the checkout: the path of a socket has at most 107 characters.
    return places.state / "supervisor.sock"


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(word: str) -> str:
    return '"' + word.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"') + '"'
