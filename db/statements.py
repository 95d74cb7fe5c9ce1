"""The SQL of queries/*.sql by name."""

import re
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def statements(service: str) -> dict[str, bytes]:
    """Return the statements of `queries/<service>.sql` by name; bytes, because they come from no caller's string."""
    text = Path(__file__).with_name("queries").joinpath(f"{service}.sql").read_text()
    _, *parts = _NAME.split(text)
    return {name: body.strip().rstrip(";").encode() for name, body in zip(parts[::2], parts[1::2], strict=True)}
