"""`tcu audit`: who did what to whose data."""

import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table

from admin.session import print_table, transaction
from db import audit
from db.audit import Entry
from db.pool import Connection


def show(
    vin: Annotated[str | None, typer.Option(help="Only of this vehicle.")] = None,
    cid: Annotated[str | None, typer.Option(help="Only of this incident.")] = None,
    who: Annotated[str | None, typer.Option(help="Only of this caller, as key:12 or sub:name.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How far back.")] = 7,
    limit: Annotated[int, typer.Option(min=1, help="Most rows.")] = 100,
) -> None:
    """List who did what to whose data, newest first."""
    table = Table("at", "who", "key", "role", "action", "vehicle", "incident", "request")
    with transaction() as conn:
        since = datetime.now(UTC) - timedelta(days=days)
        for row in audit.latest(conn, since=since, limit=limit, vin=vin, cid=cid, who=who):
            at = row.at.isoformat("T", "milliseconds")
            key = f"{row.prefix}… {row.label}" if row.prefix else ""
            told = (at, row.who, key, row.role, row.action, row.vin, row.cid, row.request)
            table.add_row(*(text or "" for text in told))
    print_table(table)


def note(conn: Connection, action: str, *, request: str, vin: str | None = None) -> None:
    """Note what the operator does by `tcu`, in its transaction."""
    audit.append(conn, Entry(who=f"tcu:{getpass.getuser()}", action=action, request=request, vin=vin))
