"""Pictures of the newest results, and their figures into docs/performance.md: nobody types one."""

import re
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from benchmarks.report import Figure, Results, load, markdown, number
from stack.places import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "performance.md"
PICTURES = CHECKOUT / "docs" / "performance"
GROUPS = ("drain", "live", "api", "takeover", "size", "analyst", "beside", "storage", "screen", "profile")
_GOOD, _BAD, _PLAIN = "#2a7f62", "#b3261e", "#4a6fa5"
# The same figures make the same file.
mpl.rcParams["svg.hashsalt"] = "tcu"


def draw() -> list[Path]:
    """Draw each group that has results, fill the document, and return what was written."""
    PICTURES.mkdir(exist_ok=True)
    text = DOCUMENT.read_text()
    written: list[Path] = []
    for group in GROUPS:
        results = load(group)
        if results is None:
            text = fill(text, group, "Not measured yet.")
            continue
        pictures = [_draw_unit(results, unit) for unit in _units(results)]
        written += pictures
        shown = "\n".join(f"![{group}: {picture.stem}](performance/{picture.name})" for picture in pictures)
        text = fill(text, group, f"{_told(results)}\n\n{markdown(results)}\n\n{shown}")
    DOCUMENT.write_text(text)
    return [*written, DOCUMENT]


def fill(text: str, group: str, figures: str) -> str:
    """Return the document with these figures between the group's two marks. Raises ValueError where there are none."""
    begin, end = f"<!-- figures: {group} -->", f"<!-- end: {group} -->"
    filled, times = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{figures}\n{end}", text, flags=re.DOTALL
    )
    if times != 1:
        raise ValueError(f"expected {begin} … {end} once in {DOCUMENT.name}")
    return filled


def _told(results: Results) -> str:
    run = results.run
    return (
        f"Taken {run['at']} on {run['cpus']} cores (load {run['load_before']} before), Python {run['python']},"
        f" PostgreSQL {run['postgres']}, TimescaleDB {run['timescaledb']}, Mosquitto {run['mosquitto']};"
        f" {run['messages']:,} messages, seed {run['seed']}, {run['rounds']} rounds."
    )


def _units(results: Results) -> list[str]:
    """Return the units of which there is something to compare."""
    units = [figure.unit for figure in results.figures if figure.unit]
    return [unit for unit in dict.fromkeys(units) if units.count(unit) > 1]


def _draw_unit(results: Results, unit: str) -> Path:
    figures: list[Figure] = [figure for figure in results.figures if figure.unit == unit][::-1]
    picture, axes = plt.subplots(figsize=(9, 0.8 + 0.36 * len(figures)))
    colours = {None: _PLAIN, True: _GOOD, False: _BAD}
    bars = axes.barh(
        [figure.name for figure in figures], [figure.value for figure in figures],
        color=[colours[figure.met] for figure in figures],
    )  # fmt: skip
    axes.bar_label(bars, [number(figure.value) for figure in figures], padding=3)
    for place, figure in enumerate(figures):
        if figure.bar is not None:
            axes.plot([figure.bar, figure.bar], [place - 0.4, place + 0.4], color="black", linewidth=2)
    values = [value for figure in figures for value in (figure.value, figure.bar or 0) if value > 0]
    if values and max(values) > 50 * min(values):
        axes.set_xscale("log")
    axes.set_xlabel(f"{unit}; black: the bar" if any(figure.bar is not None for figure in figures) else unit)
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    name = re.sub(r"[^a-z]+", "-", {"×": "ratios", "%  of the time": "shares"}.get(unit, unit).lower()).strip("-")
    file = PICTURES / f"{results.group}-{name}.svg"
    picture.tight_layout()
    picture.savefig(file, metadata={"Date": None})
    plt.close(picture)
    return file
