"""What analysts read, by the day: the views of the schema `analytics` that have a time."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from db.pool import Connection
from db.statements import statements

_SQL = statements("analytics")

VIEWS = tuple(_SQL)


class Column(NamedTuple):
    """A column by its name and PostgreSQL's name of its type, as text, timestamptz or text[]."""

    name: str
    type: str


def columns(conn: Connection, view: str) -> list[Column]:
    """Return the columns of a view."""
    cursor = conn.execute(_SQL[view] + b" LIMIT 0", _bounds(date(1970, 1, 1)))
    return [Column(found.name, found.type_display) for found in cursor.description or ()]


def digest(conn: Connection, view: str, day: date) -> str | None:
    """Return what changes with any row that the view has of a UTC day, whatever their order; None where it has none."""
    row = conn.execute(
        b"SELECT nullif(count(*), 0) || ':' || sum(hashtextextended(of_the_day::text, 0)) FROM (" + _SQL[view]
        + b") AS of_the_day",
        _bounds(day),
    ).fetchone()  # fmt: skip
    return str(row[0]) if row is not None and row[0] is not None else None


def rows(conn: Connection, view: str, day: date, *, at_once: int) -> Iterator[list[tuple[Any, ...]]]:
    """Give the view's rows of a UTC day as of one instant, so many at a time; read within one transaction."""
    with conn.cursor(name="rows") as cursor:
        cursor.execute(_SQL[view], _bounds(day))
        while some := cursor.fetchmany(at_once):
            yield some


def _bounds(day: date) -> dict[str, datetime]:
    since = datetime.combine(day, time(), UTC)
    return {"since": since, "until": since + timedelta(days=1)}
