"""`tcu grant`: what those may do who come with a token of the identity provider."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from admin.audit import note
from admin.session import print_table, transaction
from db import grants, vehicles
from schemas.access import Role

app = typer.Typer(no_args_is_help=True, help="Roles and vehicles of those who come with a token (JWT).")


@app.command()
def add(
    subject: Annotated[str, typer.Argument(help="The claim `sub` of their tokens.")],
    role: Annotated[Role, typer.Option(help="What they are; the token must name this role too.")],
    vin: Annotated[str | None, typer.Option(help="To which vehicle.")] = None,
    every_vehicle: Annotated[bool, typer.Option("--every-vehicle", help="All vehicles, as the call center.")] = False,
    agent: Annotated[str | None, typer.Option(help="The counselor that they are.")] = None,
    partner: Annotated[str | None, typer.Option(help="The dispatch company that they speak for.")] = None,
) -> None:
    """Grant a role and print the grant's number."""
    with transaction() as conn:
        if vin is not None and vehicles.get(conn, vin) is None:
            raise ValueError(f"there is no vehicle {vin}")
        if (partner is not None) != (role is Role.PARTNER):
            raise ValueError("expected --partner with the role partner, and with no other")
        number = grants.add(
            conn,
            subject,
            role=role,
            vin=vin,
            every_vehicle=every_vehicle,
            agent_id=agent,
            partner=partner,
            granted_at=datetime.now(UTC),
        )
        note(conn, "ADD_GRANT", request=f"tcu grant add {number}", vin=vin)
    typer.echo(str(number))


@app.command(name="list")
def list_all(subject: Annotated[str | None, typer.Option(help="Only theirs.")] = None) -> None:
    """List the grants."""
    table = Table("number", "subject", "role", "vehicle", "speaks for", "granted", "revoked")
    with transaction() as conn:
        for grant in grants.list_all(conn, subject=subject):
            vehicle = "every" if grant.every_vehicle else grant.vin or ""
            speaks_for = grant.agent_id or grant.partner or ""
            granted = grant.granted_at.isoformat("T", "seconds")
            table.add_row(
                str(grant.grant_id),
                grant.subject,
                grant.role,
                vehicle,
                speaks_for,
                granted,
                str(grant.revoked_at or ""),
            )
    print_table(table)


@app.command()
def revoke(number: int) -> None:
    """End a grant: it lets nobody do anything five seconds later, and the streams it opened are closed by then."""
    with transaction() as conn:
        if not grants.revoke(conn, number, at=datetime.now(UTC)):
            raise ValueError(f"there is no valid grant {number}")
        note(conn, "REVOKE_GRANT", request=f"tcu grant revoke {number}")
