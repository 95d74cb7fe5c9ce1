"""`tcu quarantine`: what could not be read, and handing it in again."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from admin.session import print_table, transaction
from db import messages

app = typer.Typer(no_args_is_help=True, help="Messages that could not be read or stored.")


@app.command(name="list")
def list_all(
    limit: int = 50,
    offset: int = 0,
    with_replayed: Annotated[bool, typer.Option("--all", help="Also those handed in again.")] = False,
) -> None:
    """List quarantined messages, newest first."""
    table = Table("number", "received", "times", "topic", "reason", "detail")
    with transaction() as conn:
        for item in messages.list_quarantine(conn, limit=limit, offset=offset, with_replayed=with_replayed):
            table.add_row(
                str(item.quarantine_id),
                item.received_at.isoformat("T", "seconds"),
                str(item.times_received),
                item.topic,
                item.reason,
                item.detail,
            )
    print_table(table)


@app.command()
def show(number: int) -> None:
    """Print one message's raw bytes to standard output."""
    with transaction() as conn:
        item = messages.get_quarantined(conn, number)
    if item is None:
        raise ValueError(f"there is no quarantined message {number}")
    typer.get_binary_stream("stdout").write(item.payload)


@app.command()
def replay(numbers: Annotated[list[int], typer.Argument(metavar="NUMBER...")]) -> None:
    """Ask the worker to take these messages once more, through the same path as a fresh one."""
    with transaction() as conn:
        for number in numbers:
            item = messages.get_quarantined(conn, number)
            if item is not None and item.cid is not None:
                raise ValueError(f"{number} has raised {item.cid} already: handing it in again would raise another")
            if not messages.request_replay(conn, number, at=datetime.now(UTC)):
                raise ValueError(f"there is no quarantined message {number}")
    typer.echo(f"handed in {len(numbers)}; `tcu quarantine list` shows those that are refused again")
