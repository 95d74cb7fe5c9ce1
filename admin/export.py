"""`tcu export`: what analysts read as Parquet files, one for each view and day."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from pyarrow import parquet
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from admin.audit import note
from admin.session import OperatorSettings
from db import analytics, pool
from db.analytics import Column
from db.pool import Connection

ROWS_AT_ONCE = 10_000
_DIGEST = "tcu:digest"
_PATIENCE_S = 900
"""The trips of a large fleet's day are worked out before the first of them comes."""
_TYPES = {
    "text": pa.string(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "bool": pa.bool_(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float64(),  # read from its text, 50.2 stays 50.2
    "float8": pa.float64(),
    "text[]": pa.list_(pa.string()),
}


def export(
    directory: Annotated[Path, typer.Argument(help="Where to: DIRECTORY/VIEW/day=YYYY-MM-DD/rows.parquet.")],
    since: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day (UTC).")],
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day after the last (UTC); today without it.")
    ] = None,
    view: Annotated[
        list[str] | None, typer.Option(help=f"Some of {', '.join(analytics.VIEWS)}; all without it.")
    ] = None,
) -> None:
    """Write what analysts read as Parquet, partitioned by day: no names, numbers and texts, places by the kilometre.

    Ended and begun again, it goes on: a day whose file is what the database has is left as it is, so that the same
    command later writes only days that changed: what is new, late, closed meanwhile, withheld or erased. Days that the
    database no longer has keep their files.
    """
    views = view or list(analytics.VIEWS)
    if unknown := set(views) - set(analytics.VIEWS):
        raise ValueError(f"expected --view to be one of {', '.join(analytics.VIEWS)}, not {', '.join(sorted(unknown))}")
    last = until.date() if until is not None else datetime.now(UTC).date()
    days = [since.date() + timedelta(days=n) for n in range((last - since.date()).days)]
    if not days:
        raise ValueError("expected --since before --until")
    with pool.connect(OperatorSettings().database_url, name="tcu-export", answer_within_s=_PATIENCE_S) as conn:
        note(conn, "EXPORT_ANALYTICS", request=f"tcu export {' '.join(views)}")
        conn.commit()  # before anything is handed out
        written = _write_all(conn, directory, views, days)
    typer.echo(f"{written:,} rows written to {directory}")


def _write_all(conn: Connection, directory: Path, views: Sequence[str], days: Sequence[date]) -> int:
    written = 0
    bar = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
    )
    with Progress(*bar, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        for view in views:
            columns = analytics.columns(conn, view)
            task = progress.add_task(view, total=len(days), rows=0)
            rows = 0
            for day in days:

                def tell(more: int, task: object = task, before: int = rows) -> None:
                    progress.update(task, rows=before + more)  # type: ignore[arg-type]

                rows += write_day(conn, view, columns, day, directory, tell)
                conn.commit()
                progress.update(task, advance=1, rows=rows)
            written += rows
    return written


def write_day(
    conn: Connection, view: str, columns: Sequence[Column], day: date, directory: Path, tell: Callable[[int], None]
) -> int:
    """Write a day's file unless it is what the database has, and return how many rows were written; `tell` hears."""
    file = directory / view / f"day={day}" / "rows.parquet"
    # Before the rows are read: what changes in between makes the next run write them again.
    digest = analytics.digest(conn, view, day)
    if digest is None or (file.exists() and _digest_of(file) == digest):
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is whole, and one with a dot: pandas and its like read every other file of a folder.
    partial = file.with_name(".rows.partial")
    schema = pa.schema([(column.name, _TYPES[column.type]) for column in columns])
    written = 0
    with parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
        for some in analytics.rows(conn, view, day, at_once=ROWS_AT_ONCE):
            arrays = [pa.array(v, type=f.type) for v, f in zip(zip(*some, strict=True), schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            written += len(some)
            tell(written)
        writer.add_key_value_metadata({_DIGEST: digest})
    os.replace(partial, file)
    return written


def _digest_of(file: Path) -> str | None:
    found = (parquet.read_metadata(file).metadata or {}).get(_DIGEST.encode())
    return None if found is None else found.decode()
