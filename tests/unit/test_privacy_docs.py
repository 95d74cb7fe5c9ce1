"""docs/privacy.md names every table, with the term that the job keeps and what the erasure does."""

import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

from db import privacy
from rules.retention import Terms
from rules.settings import RulesSettings

DOCS = Path(__file__).parents[2] / "docs"


def rows() -> dict[str, list[str]]:
    text = (DOCS / "privacy.md").read_text().partition("<!-- tables -->")[2].partition("<!-- /tables -->")[0]
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in text.strip().splitlines()[2:]]
    assert len({line[0] for line in lines}) == len(lines)
    return {line[0]: line[1:] for line in lines}


def words(term: timedelta) -> str:
    units = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
    number, unit = next((term // length, unit) for unit, length in units if term >= length)
    return f"{number} {unit}{'s' if number > 1 else ''}"


def test_every_table_of_the_schema_is_there_with_why_it_is_kept() -> None:
    sections = re.findall(r"^## (\w+)\n\n([^|]*)\|", (DOCS / "schema.md").read_text(), re.MULTILINE)
    tables = {name for name, summary in sections if "A view." not in summary}
    assert "vehicle_status" in tables
    assert set(rows()) == tables
    assert all(cells[0] for cells in rows().values())


def test_terms_are_those_that_the_job_keeps() -> None:
    for field in fields(Terms):
        assert rows()[field.name][1] == words(getattr(Terms(), field.name)), field.name
    kept_by_job = {field.name for field in fields(Terms)}
    assert [t for t, cells in rows().items() if t not in kept_by_job and re.match(r"\d", cells[1])] == []
    for name in RulesSettings.model_fields:
        assert not name.startswith("keep_") or f"TCU_{name.upper()}" in (DOCS / "privacy.md").read_text()


def test_what_happens_to_a_table_is_what_the_erasure_does() -> None:
    erased = set(privacy.ERASED_TABLES)
    assert erased == set(privacy.EXPORTED_TABLES)
    for table, cells in rows().items():
        expected = "stays" if table not in erased else "changed" if table in {"api_keys", "audit"} else "deleted"
        assert cells[2] == expected, table
