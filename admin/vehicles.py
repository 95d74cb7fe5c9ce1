"""`tcu vehicle`: register vehicles and give them their certificates."""

import secrets
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from admin.partners import check_url
from admin.session import pki_dir, print_table, transaction
from db import vehicles, webhooks
from mosquitto.pki import issue_vehicle
from rules.webhooks import SECRET_BYTES, format_secret

app = typer.Typer(no_args_is_help=True, help="Register vehicles and issue their client certificates.")


@app.command()
def add(
    vins: Annotated[list[str], typer.Argument(metavar="VIN...", help="17 characters without I, O and Q.")],
    make: Annotated[str | None, typer.Option(help="Manufacturer, as BMW.")] = None,
    model: Annotated[str | None, typer.Option(help="Model, as 320i.")] = None,
    model_year: Annotated[int | None, typer.Option(help="Model year, as 2022.")] = None,
    customer_name: Annotated[str | None, typer.Option(help="Shown to the call center in an SOS.")] = None,
    customer_phone: Annotated[str | None, typer.Option(help="Used where a press brings no contact number.")] = None,
) -> None:
    """Register each VIN and issue its certificate into $TCU_PKI_DIR/vehicles/VIN.crt and VIN.key.

    A vehicle that is registered already keeps its certificate.
    """
    directory = pki_dir()
    for vin in vins:
        issued = issue_vehicle(directory, vin)
        with transaction() as conn:
            vehicles.describe(
                conn,
                vin,
                make=make,
                model=model,
                model_year=model_year,
                customer_name=customer_name,
                customer_phone=customer_phone,
            )
        typer.echo(f"{vin}  {issued.certificate}  {issued.key}")


@app.command(name="list")
def list_all(limit: int = 100, offset: int = 0) -> None:
    """List the registered vehicles."""
    table = Table("VIN", "make", "model", "year")
    with transaction() as conn:
        for vehicle in vehicles.list_all(conn, limit=limit, offset=offset):
            table.add_row(vehicle.vin, vehicle.make, vehicle.model, str(vehicle.model_year or ""))
    print_table(table)


@app.command()
def webhook(vin: str, url: Annotated[str, typer.Argument(help="https; where curfew alerts are posted to.")]) -> None:
    """Alert the vehicle's guardian by webhook, and print the signing secret: it can't be shown again."""
    check_url(url)
    secret = format_secret(secrets.token_bytes(SECRET_BYTES))
    with transaction() as conn:
        if vehicles.get(conn, vin) is None:
            raise ValueError(f"there is no vehicle {vin}")
        webhooks.put_guardian_endpoint(conn, vin, url=url, secret=secret, at=datetime.now(UTC))
    typer.echo(secret)
