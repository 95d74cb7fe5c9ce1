"""`make audit` on copies that hold what it is there to find; the tools are the real ones."""

import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stack import audit
from stack.audit import NotSearched, Searched, judge_packages, search_code, search_packages, search_secrets

CHECKOUT = Path(__file__).parents[2]
PIN = "jinja2==2.4.1 \\\n    --hash=sha256:{digest}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of some of the checkout, with locks that pin one old package, tracked by git."""
    for name in ("pyproject.toml", "schemas/incident.py", "schemas/production.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / name, tmp_path / name)
    for lock in audit.LOCKS:
        (tmp_path / lock).write_text(PIN.format(digest="0" * 64))
    (tmp_path / "stack").mkdir()
    (tmp_path / audit.REVIEWED).write_text("")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return track(tmp_path)


def track(checkout: Path) -> Path:
    subprocess.run(["git", "add", "-A"], cwd=checkout, check=True)
    return checkout


def test_planted_faults_are_found_and_told_apart_from_what_nothing_is_known_of(checkout: Path) -> None:
    # Made here: a secret in this file would be found in this file.
    key = f"sk_{secrets.token_hex(36)}"
    (checkout / "schemas" / "planted.py").write_text(
        f'KEY = "{key}"\nSPOKEN = eval(input())  # pragma: allowlist secret\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "stack.audit", str(track(checkout))],
        cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    told = done.stdout
    assert "==> secrets in what git tracks: FOUND" in told
    assert "schemas/planted.py:1: Key of this product" in told
    assert "==> dangerous code: FOUND" in told
    assert "schemas/planted.py:2: S307" in told
    assert key not in told
    # By whether the vulnerability service can be reached from here; never as if nothing were wrong.
    service = told.partition("known vulnerabilities of packages: ")[2]
    assert service.startswith(("FOUND\n    jinja2 2.4.1: ", "NOT KNOWN\n    not searched: "))
    assert ("Not all was searched" in told) == service.startswith("NOT KNOWN")
    assert '"jinja2"' in (checkout / audit.BILL).read_text()


def test_what_is_reviewed_is_no_secret_in_that_file_and_must_be_there(checkout: Path) -> None:
    reviewed = checkout / audit.REVIEWED
    (found,) = search_secrets(checkout).found  # a sentence of schemas/production.py
    file, digest = found.partition(":")[0], found.split()[-3]
    reviewed.write_text(f'["{file}"]\n{digest} = "a sentence"\n')
    assert search_secrets(checkout) == Searched([], [])
    (checkout / file).write_text("")
    assert search_secrets(checkout).found == [f"{audit.REVIEWED}: {digest} is no more in {file}; take it out"]


def test_a_package_that_nobody_answered_for_is_not_taken_for_sound() -> None:
    vulnerability = {"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": [], "description": ""}
    report = {
        "dependencies": [
            {"name": "jinja2", "version": "2.4.1", "vulns": [vulnerability]},
            {"name": "sound", "version": "1", "vulns": []},
            {"name": "Un_known", "skip_reason": "Dependency not found and could not be audited"},
        ],
        "fixes": [],
    }
    found, unknown = judge_packages(report, {"jinja2", "sound", "un-known", "left-out"})
    assert found == ["jinja2 2.4.1: PYSEC-2019-217, mended in 2.10.1"]
    assert unknown == ["of 2 packages nothing is known: left-out, un-known"]
    assert judge_packages({"dependencies": report["dependencies"][1:2]}, {"sound"}) == Searched([], [])


def test_a_tool_that_is_missing_or_fails_is_no_clean_bill(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "requirements.lock").write_text("jinja2 == == 2\n")
    with pytest.raises(NotSearched, match="pip-audit did not report"):
        search_packages(checkout)
    for file in checkout.rglob("*.py"):
        file.unlink()
    with pytest.raises(NotSearched, match="there is no Python file here"):
        search_code(checkout)
    monkeypatch.setattr(sys, "executable", str(checkout / "bin" / "python"))
    assert audit.audit(checkout) == 2
    told = capsys.readouterr().out
    for name in ("detect-secrets", "ruff", "pip-audit", "cyclonedx-py"):
        assert f"not searched: {name} is not installed: `make setup`" in told
