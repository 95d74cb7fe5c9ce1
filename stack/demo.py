"""The demonstration: a stack of its own with empty tables, and a simulated fleet that plays its stories on it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from stack import environment, lifecycle
from stack.places import CHECKOUT, Places, run_as

LEAVE_WAIT_S = 20
"""How long the simulator may take to hang up its vehicles after Ctrl-C."""


def demo(places: Places) -> int:
    """Return the simulator's exit code after its stories, or after Ctrl-C; everything is stopped by then."""
    lifecycle.clean(places)  # the stories start from empty tables, whatever an interrupted demo left
    try:
        values = lifecycle.up(places, tied=True)
        _announce(values)
        return _play(values)
    finally:
        typer.echo("==> stopping the demo")
        lifecycle.down(places)
        shutil.rmtree(places.state, ignore_errors=True)  # the logs stay, in the run directory


def _announce(values: dict[str, str]) -> None:
    url = values["TCU_API_URL"]
    typer.echo(f"""
  live screen            {values["TCU_CONSOLE_URL"]}   sign in with {values["TCU_DEMO_TOKEN"]}
  API, to read and try   {url}/docs
  live SOS events        curl -N -H 'Authorization: Bearer {values["TCU_DEMO_TOKEN"]}' {url}/api/v1/safety/sos/events
  broker (mutual TLS)    {values["TCU_MQTT_HOST"]}:{values["TCU_MQTT_PORT"]}
  Ctrl-C stops all of it
""")


def _play(values: dict[str, str]) -> int:
    seconds = os.environ.get("DEMO_SECONDS")
    command = [sys.executable, "-m", "simulator", "demo", *(["--seconds", seconds] if seconds else [])]
    simulator = subprocess.Popen(
        run_as(None, command, stop_signal="INT"),
        cwd=CHECKOUT,
        env=environment.process_environment(values),
        start_new_session=True,  # so that Ctrl-C reaches it once, by us
    )
    with _interrupts_go_to(simulator):
        return simulator.wait()


@contextmanager
def _interrupts_go_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass Ctrl-C and SIGTERM on to the process, which then ends by itself or is ended."""

    def pass_on(_signal: int, _frame: FrameType | None) -> None:
        process.send_signal(signal.SIGINT)
        signal.alarm(LEAVE_WAIT_S)

    def end(_signal: int, _frame: FrameType | None) -> None:
        process.kill()

    handlers = {signal.SIGINT: pass_on, signal.SIGTERM: pass_on, signal.SIGALRM: end}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in previous.items():
            signal.signal(number, handler)
