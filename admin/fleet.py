"""`tcu vehicle import`: many vehicles from a CSV file, line by line."""

import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from admin.session import transaction
from db import vehicles
from mosquitto.pki import issue_vehicle, sign_vehicle
from schemas.base import PhoneNumber, ShortText, Vin

BATCH = 500
"""Lines in one transaction, and between two lines of progress."""

_Empty = BeforeValidator(lambda value: value or None)  # nothing between two commas is nothing known


class VehicleLine(BaseModel):
    """What a line says of a vehicle."""

    model_config = ConfigDict(extra="forbid")

    vin: Vin
    make: Annotated[ShortText | None, _Empty] = None
    model: Annotated[ShortText | None, _Empty] = None
    model_year: Annotated[Annotated[int, Field(ge=1900, le=2100)] | None, _Empty] = None
    customer_name: Annotated[ShortText | None, _Empty] = None
    customer_phone: Annotated[PhoneNumber | None, _Empty] = None


def import_file(file: Path, certify: Callable[[str], str | None] | None) -> int:
    """Register the vehicles of a file and return how many lines could not be taken.

    `certify` gives a VIN its certificate, or tells why not; without it vehicles are only registered. Progress and
    faults go to standard error. Raises ValueError where the header names unknown columns or no vin.
    """
    done = faulty = 0
    # What is no UTF-8 is told with its line: no field takes lone surrogates.
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as text:
        lines = _lines(text)
        while batch := list(islice(lines, BATCH)):
            taken = []
            for number, line in batch:
                fault = line if isinstance(line, str) else certify and certify(line.vin)
                if fault is None and isinstance(line, VehicleLine):
                    taken.append(line)
                else:
                    typer.echo(f"{file}:{number}: {fault}", err=True)
                    faulty += 1
            _register(taken)
            done += len(taken)
            typer.echo(f"{done} vehicles, {faulty} faulty lines", err=True)
    return faulty


def certify(pki_dir: Path, csr_dir: Path | None, vin: str) -> str | None:
    """Return why the vehicle gets no certificate, None where it has one (after its signing request, where given)."""
    try:
        if csr_dir is None:
            issue_vehicle(pki_dir, vin)
        else:
            sign_vehicle(pki_dir, vin, (csr_dir / f"{vin}.csr").read_bytes())
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _lines(text: Iterator[str]) -> Iterator[tuple[int, VehicleLine | str]]:
    """Give (number, vehicle or what is wrong with it) of each line that is not blank; a VIN counts the first time."""
    header = [name.strip() for name in next(csv.reader([next(text, "")]), [])]
    known = list(VehicleLine.model_fields)
    if "vin" not in header or not set(header) <= set(known) or len(set(header)) != len(header):
        found = ", ".join(header) or "nothing"
        raise ValueError(f"expected a header of vin and any of {', '.join(known[1:])}, got {found}")
    seen: dict[str, int] = {}
    for number, written in enumerate(text, start=2):
        if not written.strip():
            continue
        line = _line(written, header)
        if isinstance(line, VehicleLine):
            first = seen.setdefault(line.vin, number)
            if first != number:
                line = f"vin: {line.vin} is on line {first} already"
        yield number, line


def _line(written: str, header: Sequence[str]) -> VehicleLine | str:
    try:
        # One by one, so that a quote that is never closed spoils its own line only.
        fields = next(csv.reader([written], strict=True))
    except csv.Error as error:
        return str(error)
    if len(fields) != len(header):
        return f"expected {len(header)} fields ({', '.join(header)}), got {len(fields)}"
    try:
        return VehicleLine.model_validate({name: value.strip() for name, value in zip(header, fields, strict=True)})
    except ValidationError as error:
        faults = (f"{one['loc'][0]}: {one['msg']}, got {one['input']!r}" for one in error.errors())
        return "; ".join(faults)


def _register(lines: Sequence[VehicleLine]) -> None:
    with transaction() as conn:
        # Sorted, as every writer of vehicles takes its locks.
        for line in sorted(lines, key=lambda line: line.vin):
            vehicles.describe(conn, **line.model_dump())
