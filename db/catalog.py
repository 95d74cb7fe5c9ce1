"""The schema as it stands in a database, in words: `docs/schema.md` is this of a migrated empty one."""

from typing import Any

from db.pool import Connection
from db.statements import statements

_SQL = statements("catalog")


def describe(conn: Connection) -> str:
    """Return tables, views and functions as Markdown: columns, constraints, indexes, and what analysts may read."""
    intervals = {row[0]: f"{row[2]} of `{row[1]}`" for row in conn.execute(_SQL["dimensions"])}
    lines = ["# Schema", "", "Written by `tcu schema`; a test holds it against a migrated empty database.", ""]
    for oid, name, kind, comment in conn.execute(_SQL["relations"]).fetchall():
        lines += [f"## {name}", "", *_summary(comment, "view" if kind == "v" else None, intervals.get(name))]
        lines += ["| column | type | null | default | meaning |", "|---|---|---|---|---|"]
        lines += [_column(row) for row in conn.execute(_SQL["columns"], {"relation": oid})]
        rules = [row[0] for row in conn.execute(_SQL["constraints"], {"relation": oid})]
        rules += [row[0] for row in conn.execute(_SQL["indexes"], {"relation": oid})]
        lines += ["", *(f"- `{rule}`" for rule in rules), *([""] if rules else [])]
    lines += ["## Functions", ""]
    lines += [f"- `{name}`: {' '.join((comment or '').split())}" for name, comment in conn.execute(_SQL["functions"])]
    lines += ["", "## Role `analyst`", "", "May read, and nothing else:", ""]
    for name, whole, columns in conn.execute(_SQL["readable"]):
        if whole:
            lines.append(f"- `{name}`")
        elif columns:
            lines.append(f"- `{name}`: {', '.join(columns)}")
    return "\n".join(lines) + "\n"


def _summary(comment: str | None, kind: str | None, interval: str | None) -> list[str]:
    notes = [comment, kind and "A view.", interval and f"Hypertable, one chunk per {interval}."]
    said = " ".join(note for note in notes if note)
    return [said, ""] if said else []


def _column(row: tuple[Any, ...]) -> str:
    name, type_, required, default, identity, comment = row
    value = "identity" if identity else f"`{default}`" if default else ""
    return f"| {name} | {type_} | {'no' if required else 'yes'} | {value} | {comment or ''} |"
