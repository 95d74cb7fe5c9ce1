"""`tcu vehicle`: register vehicles and give them their certificates."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from admin.session import pki_dir, transaction
from db import vehicles
from mosquitto.pki import issue_vehicle

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
    Console().print(table)
