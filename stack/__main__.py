"""`python -m stack`: what `make demo`, `make up` and `make down` do once the set-up is done."""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

import typer

from stack import lifecycle, supervision
from stack.demo import demo as play_demo
from stack.places import Places, demo_places, picture_places, stack_places
from stack.server import ServerFailed

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def up() -> None:
    """Start the stack in the background; returns when it serves."""
    places = stack_places()
    values = _held(places, lambda: lifecycle.up(places))
    urls = f"{values['TCU_CONSOLE_URL']} · {values['TCU_API_URL']}/docs"
    typer.echo(f"==> up: {urls}; settings for clients: . {places.run / 'env'}")


@app.command()
def down() -> None:
    """Stop the stack and keep its data."""
    places = stack_places()
    typer.echo("==> stopped" if _held(places, lambda: lifecycle.down(places)) else "==> nothing was running")


@app.command()
def clean() -> None:
    """Stop the stack and remove its data."""
    places = stack_places()
    _held(places, lambda: lifecycle.clean(places))
    typer.echo("==> stopped, data removed")


@app.command()
def sample() -> None:
    """Load the analysts' sample into a database of its own beside the running stack's."""
    places = stack_places()
    url = _held(places, lambda: lifecycle.load_sample(places))
    typer.echo(f'==> a week of twenty vehicles; questions in docs/analysts.md: psql "{url}"')


@app.command()
def status() -> None:
    """Print each process and its state; exit code 1 unless all run."""
    found = supervision.statuses(stack_places())
    for name, state in found.items():
        typer.echo(f"{name:10} {state}")
    if not found or set(found.values()) != {"RUNNING"}:
        typer.echo("not up" if not found else "not all run")
        raise typer.Exit(1)


@app.command()
def demo() -> None:
    """Play the demo's stories on a stack of its own, in the foreground."""
    # Ctrl-C too: a shell that starts us in the background has it ignored, also in the simulator that we start.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    places = demo_places()
    raise typer.Exit(_held(places, lambda: play_demo(places)))


@app.command()
def pictures() -> None:
    """Take the documentation's pictures of the live screen from a demo of their own."""
    from stack.pictures import take  # noqa: PLC0415 - needs a browser's driver, which nothing else here does

    places = picture_places()
    for file in _held(places, lambda: take(places)):
        typer.echo(f"==> {file}")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _held(places: Places, command: Callable[[], T]) -> T:
    """Run the command with the stack to itself; what failed is told, not traced."""
    try:
        with lifecycle.alone(places):
            return command()
    except (ServerFailed, ValueError) as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    app()
