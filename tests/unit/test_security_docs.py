"""SECURITY.md: each threat says what protects, what remains and which tests hold it, and those tests exist."""

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
THREATS = dict(
    part.split("\n", 1)
    for part in (CHECKOUT / "SECURITY.md").read_text().partition("\n## Threats\n")[2].split("\n### ")[1:]
)


def defined_in(file: Path) -> set[str]:
    parsed = ast.parse(file.read_text()) if file.exists() else ast.Module([], [])
    return {node.name for node in parsed.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_threats_are_at_least_these() -> None:
    assert set(THREATS) >= {
        "A TCU is stolen",
        "A certificate is cloned",
        "A partner is compromised",
        "A curious insider",
        "A guardian turns stalker",
        "An operator's laptop is lost",
        "The broker's host is compromised",
        "The network is hostile",
    }


@pytest.mark.parametrize("threat", THREATS)
def test_a_threat_says_what_protects_what_remains_and_which_tests_hold_it(threat: str) -> None:
    protects, remains, tests = re.findall(r"^- \*\*(\w+):\*\* \S", THREATS[threat], re.MULTILINE)
    assert (protects, remains, tests) == ("Protects", "Remains", "Tests")
    named = THREATS[threat].partition("**Tests:**")[2]
    nodes = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", named)
    assert nodes
    assert named.count("`") == 2 * len(nodes)  # nothing there is spelled another way and so not looked for
    missing = [f"{file}::{test}" for file, test in nodes if test not in defined_in(CHECKOUT / file)]
    assert missing == []
