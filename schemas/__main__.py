"""`python -m schemas`: write the MQTT contract's documents below docs/, or below the folder named."""

import argparse
from pathlib import Path

from schemas.contract import documents


def main(folder: Path) -> None:
    """Write every document, and nothing else."""
    for path, text in documents().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m schemas", description="Write asyncapi.yaml and json-schemas/.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"), help="where to; docs without it")
    main(parser.parse_args().folder)
