"""The questions of docs/analysts.md: read out of it, asked of the sample, answered and drawn into it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import psycopg
from matplotlib import pyplot as plt

from benchmarks.report import load, number
from benchmarks.servers import Servers
from db import sample
from stack.places import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "analysts.md"
PICTURES = CHECKOUT / "docs" / "analysts"
_QUESTION = re.compile(
    r"(^### (\d+)\. ([^\n]+)\n\n```sql\n(.+?)\n```\n\n)<!-- answer -->\n(.*?)<!-- end -->", re.MULTILINE | re.DOTALL
)
_FEW = 12
"""So many bars have room for their names."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its query, and the answer that the document shows."""

    number: int
    title: str
    query: str
    shown: str

    @property
    def name(self) -> str:
        """How the benchmark calls it."""
        return f"{self.number}. {self.title}"

    @property
    def picture(self) -> Path:
        """Where its picture is."""
        return PICTURES / f"{self.number:02}.svg"


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query, with the names of its columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def table(self) -> str:
        """Return it as a Markdown table."""
        lines = [self.columns, ["---"] * len(self.columns), *(list(map(str, row)) for row in self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def questions() -> list[Question]:
    """Return the questions of the document."""
    found = _QUESTION.findall(DOCUMENT.read_text())
    return [Question(int(number), title, query, shown) for _, number, title, query, shown in found]


def ask(conn: psycopg.Connection[Any], question: Question) -> Answer:
    """Return the answer of the database."""
    cursor = conn.execute(question.query.encode())
    return Answer([column.name for column in cursor.description or ()], cursor.fetchall())


def write(parts: Servers) -> list[Path]:
    """Ask the sample each question as an analyst does; put answers, pictures and times into the document."""
    url = parts.new_database()
    with psycopg.connect(url) as conn:
        sample.load(conn)
        conn.execute("ANALYZE")
    PICTURES.mkdir(exist_ok=True)
    times = _times()
    blocks: dict[int, str] = {}
    every = questions()
    with psycopg.connect(parts.analysts(url), autocommit=True) as conn:
        for question in every:
            answer = ask(conn, question)
            _draw(question, answer)
            shown = [answer.table(), f"![{question.title}](analysts/{question.picture.name})"]
            shown += [times[question.name]] if question.name in times else []
            blocks[question.number] = "\n\n".join(shown)
    parts.drop_database(url)
    text = _QUESTION.sub(
        lambda found: f"{found[1]}<!-- answer -->\n{blocks[int(found[2])]}\n<!-- end -->", DOCUMENT.read_text()
    )
    DOCUMENT.write_text(text)
    return [DOCUMENT, *(question.picture for question in every)]


def _times() -> dict[str, str]:
    """Return how long each question took when it was measured last."""
    results = load("analyst")
    if results is None:
        return {}
    asked, at = results.figures[0].value, str(results.run["at"])[:10]
    return {
        figure.name: f"On {asked:,.0f} status messages: {number(figure.value)} s ({at})."
        for figure in results.figures
        if figure.unit == "s"
    }


def _draw(question: Question, answer: Answer) -> None:
    """Draw the figures of an answer against its first column: as lines where that is an hour, else as bars."""
    texts = [place for place, value in enumerate(answer.rows[0]) if place == 0 or isinstance(value, str)]
    figures = [place for place in range(len(answer.columns)) if place not in texts and _is_number(answer, place)]
    names = [" ".join(str(row[place]) for place in texts) for row in answer.rows]
    with mpl.rc_context({"svg.hashsalt": "tcu", "svg.fonttype": "none"}):
        picture, every = plt.subplots(1, len(figures), figsize=(4 * len(figures), 2.6), squeeze=False)
        for axes, place in zip(every[0], figures, strict=True):
            values = [float(row[place]) for row in answer.rows]
            if len(names) > _FEW:
                axes.plot(range(len(names)), values, color="#4a6fa5")
                step = max(1, len(names) // 6)
                axes.set_xticks(range(0, len(names), step), names[::step], fontsize=7)
                axes.set_ylim(bottom=0)
            else:
                axes.barh(names[::-1], values[::-1], color="#4a6fa5")
                axes.tick_params(axis="y", labelsize=7)
            axes.set_title(answer.columns[place].replace("_", " "), fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
        picture.tight_layout()
        picture.savefig(question.picture, metadata={"Date": None})
        plt.close(picture)


def _is_number(answer: Answer, place: int) -> bool:
    try:
        return all(float(row[place]) is not None for row in answer.rows)
    except (TypeError, ValueError):
        return False
