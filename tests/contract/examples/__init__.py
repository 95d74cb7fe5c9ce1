"""The guides' examples, copied as printed."""

import json
from pathlib import Path
from typing import Any


def guide(name: str) -> dict[str, Any]:
    """Return one example."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name(f"{name}.json").read_text())
    return found
