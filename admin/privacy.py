"""`tcu privacy`: hand out what is stored about a vehicle or a person, and erase a vehicle."""

import json
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.audit import note
from admin.session import transaction
from db import privacy, vehicles
from db.pool import Connection
from db.privacy import Subject
from rules.erasure import erase as erase_vehicle
from schemas.base import format_instant

app = typer.Typer(no_args_is_help=True, help="What is stored about a vehicle or a person: handed out, and erased.")

Vin = Annotated[str, typer.Option(help="The vehicle.")]


@app.command()
def export(
    vin: Annotated[str | None, typer.Option(help="Everything about this vehicle.")] = None,
    phone: Annotated[str | None, typer.Option(help="Incidents and vehicles with this number; digits count.")] = None,
    name: Annotated[str | None, typer.Option(help="Incidents and vehicles of a customer of this name.")] = None,
) -> None:
    """Print everything about a vehicle, or the incidents and vehicles of a person, as one JSON object."""
    if sum(given is not None for given in (vin, phone, name)) != 1:
        raise ValueError("expected one of --vin, --phone and --name")
    with transaction() as conn:
        if vin is not None and vehicles.get(conn, vin) is None:
            raise ValueError(f"there is no vehicle {vin}")
        given_by = "--vin" if vin is not None else "--phone" if phone is not None else "--name"
        note(conn, "EXPORT_PERSONAL_DATA", request=f"tcu privacy export {given_by}", vin=vin)
        conn.commit()  # before anything is handed out
        privacy.read_one_state(conn)
        if vin is not None:
            _print(conn, {"vin": vin}, [(table, privacy.subject(conn, vin)) for table in privacy.EXPORTED_TABLES])
        else:
            digits = re.sub(r"\D", "", phone) if phone is not None else None
            _print(conn, {"phone": phone, "name": name}, _of_person(conn, phone=digits, name=name))


@app.command()
def erase(
    vin: Vin,
    certificate: Annotated[Path | None, typer.Option(help="Where to write the certificate.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a vehicle and all that leads to its people, and write a certificate of what was done and what stays.

    Refused while an SOS or RSA of the vehicle is not closed. Revoke its certificates first (`tcu vehicle revoke`): a
    vehicle that speaks afterwards is a new one.
    """
    if not yes:
        typer.confirm(f"Erase {vin} for ever?", abort=True, err=True)
    if certificate is not None:
        certificate.touch()  # before anything is gone
    with transaction() as conn:
        privacy.take_time(conn)
        issued = erase_vehicle(conn, vin, now=datetime.now(UTC))
        note(conn, "ERASE_VEHICLE", request=f"tcu privacy erase {issued.certificate_id}")
    path = certificate or Path(f"erasure-{issued.certificate_id}.json")
    path.write_text(json.dumps(issued.report, indent=2) + "\n")
    typer.echo(path)


def _of_person(conn: Connection, *, phone: str | None, name: str | None) -> list[tuple[str, Subject]]:
    """Return what to read for a person: the vehicles, and of other vehicles only the person's incidents."""
    vins = privacy.vehicles_of_person(conn, phone=phone, name=name)
    cids: dict[str, list[str]] = {}
    for cid, of in privacy.incidents_of_person(conn, phone=phone, name=name):
        cids.setdefault(of, []).append(cid)
    mine = [(table, privacy.subject(conn, vin)) for vin in vins for table in privacy.EXPORTED_TABLES]
    others = [
        (table, Subject(vin="", cids=cids[vin], phones=[]))
        for vin in cids
        if vin not in vins
        for table in ("sos_incidents", "sos_timeline", "rsa_incidents", "rsa_timeline", "voice_calls")
    ]
    return mine + others


def _print(conn: Connection, about: dict[str, Any], parts: Iterable[tuple[str, Subject]]) -> None:
    """Write one JSON object to standard output, row by row."""
    head = {"about": about, "exportedAt": format_instant(datetime.now(UTC))}
    sys.stdout.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "tables": [')
    for number, (table, subject) in enumerate(parts):
        sys.stdout.write(("," if number else "") + f'\n{{"table": "{table}", "rows": [')
        for place, row in enumerate(privacy.export(conn, table, subject)):
            sys.stdout.write(("," if place else "") + "\n" + json.dumps(row, ensure_ascii=False))
        sys.stdout.write("]}")
    sys.stdout.write("]}\n")
