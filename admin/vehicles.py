"""`tcu vehicle`: register vehicles, give them their certificates and take them away."""

import secrets
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from admin.broker import disconnect_vehicle, tell_revocations
from admin.fleet import certify, import_file
from admin.partners import check_url
from admin.session import pki_dir, print_table, transaction
from db import vehicles, webhooks
from mosquitto.disconnect import SILENT_MOST_S
from mosquitto.pki import check_vin, issue_vehicle, revoke_vehicle, sign_vehicle
from rules.webhooks import SECRET_BYTES, format_secret

app = typer.Typer(no_args_is_help=True, help="Register vehicles; issue, renew and revoke their certificates.")

RegisterOnly = Annotated[
    bool,
    typer.Option("--register-only", help="Issue no certificate: an authority of your own does (docs/identities.md)."),
]
Request = Annotated[
    Path | None,
    typer.Option("--csr", exists=True, dir_okay=False, help="Signing request (PEM) of a key that the vehicle keeps."),
]


@app.command()
def add(
    vins: Annotated[list[str], typer.Argument(metavar="VIN...", help="17 characters without I, O and Q.")],
    make: Annotated[str | None, typer.Option(help="Manufacturer, as BMW.")] = None,
    model: Annotated[str | None, typer.Option(help="Model, as 320i.")] = None,
    model_year: Annotated[int | None, typer.Option(help="Model year, as 2022.")] = None,
    customer_name: Annotated[str | None, typer.Option(help="Shown to the call center in an SOS.")] = None,
    customer_phone: Annotated[str | None, typer.Option(help="Used where a press brings no contact number.")] = None,
    csr: Request = None,
    register_only: RegisterOnly = False,
) -> None:
    """Register each VIN and issue its certificate into $TCU_PKI_DIR/vehicles/VIN.crt and VIN.key.

    A vehicle that is registered already keeps its certificate. With --csr, for one VIN, there is no VIN.key: the
    vehicle keeps its own.
    """
    if csr is not None and (len(vins) != 1 or register_only):
        raise typer.BadParameter("--csr is the signing request of one vehicle that gets its certificate here")
    for vin in vins:
        check_vin(vin)
        issued = "registered" if register_only else _certify(pki_dir(), vin, csr)
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
        typer.echo(f"{vin}  {issued}")


@app.command(name="import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="CSV with a header: vin, and any of make, model, model_year, customer_name, customer_phone.",
        ),
    ],
    csr_dir: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Directory with VIN.csr of each vehicle.")
    ] = None,
    register_only: RegisterOnly = False,
) -> None:
    """Register the vehicles of a file and issue their certificates.

    A line that can't be taken is told by its number and stops no other; then the exit code is 1. Safe to run again.
    """
    if csr_dir is not None and register_only:
        raise typer.BadParameter("--csr-dir is for vehicles that get their certificates here")
    if import_file(file, None if register_only else partial(certify, pki_dir(), csr_dir)):
        raise typer.Exit(1)


@app.command()
def renew(vin: str, csr: Request = None) -> None:
    """Issue a new certificate (and, without --csr, a new key) to a registered vehicle.

    The old one stays good until it expires, so that the vehicle can change over; then `revoke VIN --keep-newest`.
    """
    with transaction() as conn:
        if vehicles.get(conn, vin) is None:
            raise ValueError(f"there is no vehicle {vin}: `tcu vehicle add {vin}`")
    typer.echo(f"{vin}  {_certify(pki_dir(), vin, csr, renew=True)}")


@app.command()
def revoke(
    vin: str,
    keep_newest: Annotated[bool, typer.Option("--keep-newest", help="Spare the certificate issued last.")] = False,
) -> None:
    """Take the vehicle's certificates away and end its connection."""
    revoked = revoke_vehicle(pki_dir(), vin, keep_newest=keep_newest)
    typer.echo(f"{vin}  {len(revoked)} certificates revoked" if revoked else f"{vin}  nothing was left to revoke")
    # Also where nothing was left: the broker may not have been told the last time.
    tell_revocations()
    disconnect_vehicle(vin)
    typer.echo(f"{vin}  disconnected, and the broker refuses what is revoked")
    typer.echo(
        f"waiting {SILENT_MOST_S:.0f} s to end also a connection that was open and silent; after Ctrl-C: disconnect"
    )
    time.sleep(SILENT_MOST_S)
    disconnect_vehicle(vin)
    typer.echo(f"{vin}  disconnected again")


@app.command()
def disconnect(vin: str) -> None:
    """End the vehicle's connection and its session; while its certificate is good, it may connect again."""
    disconnect_vehicle(vin)
    typer.echo(f"{vin}  disconnected")


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


def _certify(directory: Path, vin: str, csr: Path | None, *, renew: bool = False) -> str:
    """Return where the vehicle's certificate lies, and the key where it is made here."""
    if csr is not None:
        return str(sign_vehicle(directory, vin, csr.read_bytes()))
    issued = issue_vehicle(directory, vin, renew=renew)
    return f"{issued.certificate}  {issued.key}"
