"""`python -m schemas`: write the MQTT contract's documents below docs/, or below the folder named."""

import sys
from pathlib import Path

from schemas.contract import documents


def main(folder: Path) -> None:
    """Write every document, and nothing else."""
    for path, text in documents().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
