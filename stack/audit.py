"""`python -m stack.audit [CHECKOUT]`: whether it holds secrets, dangerous code or packages with known vulnerabilities.

Exit code 0: everything was searched and nothing was found. 1: something was found. 2: nothing was found, but something
could not be searched, so that nothing is known of it: a tool is missing or failed, or the vulnerability service did
not answer. Writes the bill of materials (CycloneDX) of what runs to `.run/sbom.cdx.json`.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

LOCKS = ("requirements.lock", "requirements-dev.lock")
REVIEWED = Path("stack/no_secrets.toml")
BILL = Path(".run/sbom.cdx.json")
_OWN_KEYS = Path(__file__).with_name("own_keys.py")
_TOOL_WITHIN_S = 600
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?P<marker> *;)?", re.MULTILINE)


class Searched(NamedTuple):
    """What was found, and what nothing is known of; each a line for people."""

    found: list[str]
    unknown: list[str]


class NotSearched(Exception):
    """A tool is missing, failed, or answered what cannot be understood."""


def search_secrets(checkout: Path) -> Searched:
    """Search what git tracks; what is none is listed in stack/no_secrets.toml, and must be there."""
    tracked = _run(["git", "ls-files", "-z"], checkout).stdout.split("\0")
    files = [name for name in tracked if name and (checkout / name).is_file()]
    if not files:
        raise NotSearched("git tracks no file here")
    # Nothing is asked of anybody's server, and no comment beside a secret makes it none.
    options = ["--no-verify", "--disable-filter", "detect_secrets.filters.allowlist.is_line_allowlisted"]
    command = [_tool("detect-secrets"), "scan", *options, "--plugin", str(_OWN_KEYS), *files]
    results = _json(_run(command, checkout))["results"]
    reviewed = tomllib.loads((checkout / REVIEWED).read_text())
    seen = {(file, one["hashed_secret"]): one for file, ones in results.items() for one in ones}
    known = {(file, digest) for file, ones in reviewed.items() for digest in ones}
    new = [
        f"{file}:{one['line_number']}: {one['type']}; take it out and replace it wherever it is valid, "
        f"or say in {REVIEWED} why {digest} is none"
        for (file, digest), one in sorted(seen.items())
        if (file, digest) not in known
    ]
    gone = [f"{REVIEWED}: {digest} is no more in {file}; take it out" for file, digest in sorted(known - set(seen))]
    return Searched(new + gone, [])


def search_code(checkout: Path) -> Searched:
    """Search all code but the tests for what is known to be dangerous (ruff's S rules, those of bandit)."""
    command = [_tool("ruff"), "check", "--select", "S", "--no-cache", "--no-fix", "--extend-exclude", "tests", "."]
    done = _run([*command, "--output-format", "json"], checkout, fine=(0, 1))
    if ".py\n" not in _run([*command, "--show-files"], checkout).stdout:
        raise NotSearched("there is no Python file here")
    return Searched(
        [
            f"{Path(one['filename']).relative_to(checkout)}:{one['location']['row']}: {one['code']} {one['message']}"
            for one in json.loads(done.stdout)
        ],
        [],
    )


def search_packages(checkout: Path) -> Searched:
    """Ask the vulnerability service of pip-audit about each package of both locks."""
    locks = [word for lock in LOCKS for word in ("--requirement", lock)]
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    done = _run([_tool("pip-audit"), *locks, *options], checkout, fine=(0, 1))
    pins = {_normal(name) for lock in LOCKS for name in _pinned_everywhere((checkout / lock).read_text())}
    return judge_packages(_json(done), pins)


def judge_packages(report: dict[str, Any], pins: Iterable[str]) -> Searched:
    """Return the vulnerabilities of pip-audit's report, and the packages that it says nothing of.

    Not to know a package is no error for pip-audit: it ends with 0 although nobody answered.
    """
    said = {_normal(one["name"]): one for one in report["dependencies"]}
    found = [
        f"{name} {one['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version'}"
        for name, one in sorted(said.items())
        for vulnerability in one.get("vulns", [])
    ]
    skipped = {name for name, one in said.items() if "vulns" not in one}
    mute = sorted(skipped | (set(pins) - set(said)))
    unknown = [f"of {len(mute)} packages nothing is known: {_shortened(mute)}"] if mute else []
    return Searched(found, unknown)


def write_bill(checkout: Path) -> Searched:
    """Write the bill of materials of requirements.lock, which is what runs."""
    lock, bill = checkout / LOCKS[0], checkout / BILL
    bill.parent.mkdir(exist_ok=True)
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--output-format", "JSON"]
    _run([_tool("cyclonedx-py"), "requirements", *options, "--output-file", str(bill), LOCKS[0]], checkout)
    listed = {(one["name"], one.get("version")) for one in json.loads(bill.read_text())["components"]}
    missing = {(pin["name"], pin["version"]) for pin in _PIN.finditer(lock.read_text())} - listed
    if missing or not listed:
        raise NotSearched(f"{BILL} lacks {_shortened(sorted(name for name, _ in missing))}")
    return Searched([], [])


SEARCHES: dict[str, Callable[[Path], Searched]] = {
    "secrets in what git tracks": search_secrets,
    "dangerous code": search_code,
    "known vulnerabilities of packages": search_packages,
    "bill of materials": write_bill,
}


def audit(checkout: Path) -> int:
    """Search, print, and return the exit code."""
    any_found, any_unknown = False, False
    for name, search in SEARCHES.items():
        try:
            found, unknown = search(checkout)
        except (NotSearched, OSError, KeyError, TypeError, ValueError) as error:
            found, unknown = [], [str(error) or type(error).__name__]
        any_found, any_unknown = any_found or bool(found), any_unknown or bool(unknown)
        verdict = "FOUND" if found else "NOT KNOWN" if unknown else "nothing found"
        print(f"==> {name}: {verdict}")
        for line in found:
            print(f"    {line}")
        for line in unknown:
            print(f"    not searched: {line}")
    if any_unknown:
        print("==> Not all was searched: this is no clean bill (docs/operations.md, Audit).")
    return 1 if any_found else 2 if any_unknown else 0


def _pinned_everywhere(lock: str) -> list[str]:
    return [pin["name"] for pin in _PIN.finditer(lock) if pin["marker"] is None]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _shortened(names: list[str]) -> str:
    most = 5
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _tool(name: str) -> str:
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        raise NotSearched(f"{name} is not installed: `make setup`")
    return str(program)


def _run(command: list[str], checkout: Path, *, fine: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, cwd=checkout, capture_output=True, text=True, check=False, timeout=_TOOL_WITHIN_S
        )
    except subprocess.TimeoutExpired as error:
        raise NotSearched(f"{name} did not end within {_TOOL_WITHIN_S} s") from error
    if done.returncode not in fine:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise NotSearched(f"{name} ended with {done.returncode} and said: {said[-1]}")
    return done


def _json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise NotSearched(f"{Path(done.args[0]).name} did not report; it said: {said[-1]}") from error
    return answer


if __name__ == "__main__":
    sys.exit(audit(Path(sys.argv[1] if sys.argv[1:] else ".").resolve()))
