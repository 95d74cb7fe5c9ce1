"""`tcu key`: who may use the API."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table

from admin.audit import note
from admin.session import key_secret, print_table, transaction
from db import keys
from schemas.access import Role

app = typer.Typer(no_args_is_help=True, help="API keys: shown once, stored as a keyed hash.")


@app.command()
def add(
    label: Annotated[str, typer.Argument(help="Whose key it is, for the list.")],
    role: Annotated[Role, typer.Option(help="What the holder is.")],
    vin: Annotated[list[str] | None, typer.Option(help="A vehicle that the holder may see; repeatable.")] = None,
    every_vehicle: Annotated[bool, typer.Option("--every-vehicle", help="All vehicles, as the call center.")] = False,
    agent: Annotated[str | None, typer.Option(help="The counselor who holds it.")] = None,
    partner: Annotated[str | None, typer.Option(help="The dispatch company that holds it.")] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Its own limit; else that of the role.")
    ] = None,
    streams: Annotated[int | None, typer.Option(min=1, help="Its own most open streams; else 5.")] = None,
    days: Annotated[int | None, typer.Option(help="Days until it expires.")] = None,
) -> None:
    """Make a key and print it: it can't be shown again."""
    token = keys.new_token()
    expires_at = datetime.now(UTC) + timedelta(days=days) if days is not None else None
    with transaction() as conn:
        number = keys.put(
            conn,
            token,
            secret=key_secret(),
            label=label,
            role=role,
            vins=vin or (),
            every_vehicle=every_vehicle,
            agent_id=agent,
            partner=partner,
            expires_at=expires_at,
            requests_per_minute=requests_per_minute,
            streams=streams,
        )
        note(conn, "ADD_KEY", request=f"tcu key add {number}")
    typer.echo(token)


@app.command(name="list")
def list_all() -> None:
    """List the keys without their secrets."""
    table = Table("number", "begins", "label", "role", "vehicles", "expires", "revoked")
    with transaction() as conn:
        for key in keys.list_all(conn):
            vehicles = "every" if key.every_vehicle else " ".join(key.vins)
            table.add_row(
                str(key.key_id),
                key.prefix,
                key.label,
                key.role,
                vehicles,
                str(key.expires_at or ""),
                str(key.revoked_at or ""),
            )
    print_table(table)


@app.command()
def revoke(number: int) -> None:
    """End a key: nobody gets in with it five seconds later, and the streams it opened are closed by then."""
    with transaction() as conn:
        if not keys.revoke(conn, number, at=datetime.now(UTC)):
            raise ValueError(f"there is no valid key {number}")
        note(conn, "REVOKE_KEY", request=f"tcu key revoke {number}")
