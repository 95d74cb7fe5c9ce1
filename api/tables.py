"""Long answers as JSON, CSV or Parquet, as the caller accepts: written whole before the first byte goes out.

Rows go from the database's cursor to a file, in memory while it is small. So an answer of any length takes little
memory, its failure is still told by a status, and a caller who reads slowly holds no connection of the database.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from tempfile import SpooledTemporaryFile
from threading import BoundedSemaphore
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from fastapi import Request
from pyarrow import parquet
from starlette.responses import Response, StreamingResponse

from api.limits import LimitedError
from rules.errors import DomainError
from schemas.base import format_instant

_IN_MEMORY_BYTES = 1024 * 1024
_PIECE_BYTES = 64 * 1024
_ROWS_AT_ONCE = 5000
_QUALITY = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)", re.ASCII)

INSTANT = pa.timestamp("us", tz="UTC")
NUMBER = pa.float64()
COUNT = pa.int64()
TEXT = pa.string()
TEXTS = pa.list_(pa.string())
TRUTH = pa.bool_()


class Format(StrEnum):
    """In what an answer can be, the first where the caller does not care."""

    JSON = "application/json"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"


class Column(NamedTuple):
    """A column by its name on the wire, and its type in Parquet."""

    name: str
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Rows:
    """A table that is read once."""

    columns: Sequence[Column]
    rows: Iterable[Sequence[Any]]


_turns = BoundedSemaphore(2)
"""A long answer takes a connection and a processor for seconds; presses need both, whoever asks for how many."""
_WAIT_S = 1.0


@contextmanager
def turn() -> Iterator[None]:
    """Give one of the few turns that long answers have in this process. Raises LimitedError where all are taken."""
    if not _turns.acquire(timeout=_WAIT_S):
        raise LimitedError(
            "TOO_MANY_LONG_ANSWERS", "others' long answers are being written; try again", retry_after_s=2
        )
    try:
        yield
    finally:
        _turns.release()


class NotAcceptableError(DomainError):
    """The caller accepts none of the formats that there are (RFC 9110 §12.5.1)."""

    code = "NOT_ACCEPTABLE"


def accepted(request: Request) -> Format:
    """Return the format that the caller likes best. Raises NotAcceptableError."""
    said = ",".join(request.headers.getlist("accept")) or "*/*"
    liked = {one: _liking(one, said) for one in Format}
    best = max(Format, key=lambda one: liked[one])  # the first of equals
    if not liked[best]:
        raise NotAcceptableError(f"expected to be asked for {', '.join(Format)}")
    return best


def _liking(media_type: str, said: str) -> float:
    """Return the weight of a media type, that of the most specific range which names it."""
    ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
    found: tuple[int, float] = (-1, 0.0)
    for part in said.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        if name in ranges:
            weights = [match[1] for word in parameters if (match := _QUALITY.fullmatch(word))]
            found = max(found, (ranges.index(name), float(weights[0]) if weights else 1.0), key=lambda one: one[0])
    return found[1]


class Written:
    """A table in a file, whole; `answer` hands it out and removes it."""

    def __init__(self, table: Rows, format_: Format, head: dict[str, Any]) -> None:
        """Write the rows; JSON puts them behind the members of `head`. Raises what reading the rows raises."""
        self._format = format_
        self._file = SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - lives as long as the answer
        try:
            {Format.JSON: _write_json, Format.CSV: _write_csv, Format.PARQUET: _write_parquet}[format_](
                self._file, table, head
            )
        except BaseException:
            self._file.close()
            raise

    def answer(self) -> Response:
        """Return it as a response."""
        headers = {"Content-Length": str(self._file.tell()), "Vary": "Accept"}
        return StreamingResponse(self._pieces(), media_type=self._format, headers=headers)

    def _pieces(self) -> Iterator[bytes]:
        with self._file:
            self._file.seek(0)
            while piece := self._file.read(_PIECE_BYTES):
                yield piece


def _write_json(file: Any, table: Rows, head: dict[str, Any]) -> None:
    names = [column.name for column in table.columns]
    encoder = msgspec.json.Encoder()
    file.write(encoder.encode({name: _plain(value) for name, value in head.items()})[:-1] + b',"rows":[')
    comma = b"\n"
    for row in table.rows:
        file.write(comma + encoder.encode({name: _plain(value) for name, value in zip(names, row, strict=True)}))
        comma = b",\n"
    file.write(b"]}\n")


def _write_csv(file: Any, table: Rows, _head: dict[str, Any]) -> None:
    rows = iter(table.rows)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(column.name for column in table.columns)
    while True:
        some = list(islice(rows, _ROWS_AT_ONCE))
        writer.writerows([_in_a_cell(value) for value in row] for row in some)
        file.write(text.getvalue().encode())
        if not some:
            return
        text.seek(0)
        text.truncate()


def _write_parquet(file: Any, table: Rows, _head: dict[str, Any]) -> None:
    rows = iter(table.rows)
    schema = pa.schema([(column.name, column.type) for column in table.columns])
    with parquet.ParquetWriter(pa.PythonFile(file, mode="w"), schema, compression="zstd") as writer:
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            values = zip(*some, strict=True)
            arrays = [pa.array(v, type=c.type) for v, c in zip(values, table.columns, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _plain(value: Any) -> Any:
    return format_instant(value) if isinstance(value, datetime) else value


def _in_a_cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(value)
    return str(value).lower() if isinstance(value, bool) else _plain(value)
