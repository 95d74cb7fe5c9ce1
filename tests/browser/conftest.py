"""The whole product and a real browser: broker, worker, rules, API and console on a database of the module's own."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from db import agents
from db.pool import connect
from rules.apply import consents
from schemas.access import Role
from schemas.curfew import ConsentRequest
from schemas.topics import LaneName
from stack.broker import Broker
from stack.places import free_port
from stack.server import Server
from tests.api import AGENT, OPERATOR, OTHER_VIN, VIN, Api, serving
from tests.processes import end_sessions, is_ready, product_process, worker_environment
from tests.wire import Wire, wire

expect.set_options(timeout=20_000)  # what is expected comes at once on a quiet machine, and late on a busy one
OTHER_AGENT = "AGENT_002"
TOKENS = {
    "operator": OPERATOR,
    "agent": "sk_agent_one",
    "other_agent": "sk_agent_two",
    "guardian": "sk_guardian_of_one",
    "family": "sk_guardian_of_two",
    "brief": "sk_for_some_seconds",
}


@dataclass(frozen=True, slots=True)
class Site:
    """The running product. `url` is the console as the browser reaches it, over a wire that a test may cut, and
    `console_url` without it.

    A test that stops the rules process starts it again.
    """

    url: str
    console_url: str
    api: Api
    rules: Server
    to_console: Wire
    to_api: Wire
    console_log: Path


@pytest.fixture(scope="module")
def site(
    lasting_database_url: str, broker: Broker, pki_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The product, up; one for a module's tests, which use vehicles of their own or end what they begin."""
    logs = tmp_path_factory.mktemp("site")
    database_url = lasting_database_url
    worker = worker_environment(broker, pki_dir, database_url)
    rules = _process("rules", logs, {"TCU_DATABASE_URL": database_url}, database_url)
    with serving(database_url) as api, wire(api.port) as to_api:
        _add_people(api)
        port = free_port()
        processes = [
            *(_process(f"ingest-{lane}", logs, worker, database_url) for lane in LaneName),
            rules,
            product_process(
                "console",
                {
                    "TCU_ENVIRONMENT": "production",
                    "TCU_API_URL": f"http://127.0.0.1:{to_api.port}",
                    "TCU_CONSOLE_PORT": str(port),
                },
                log=logs / "console.log",
                ready=lambda: _lives(port),
            ),
        ]
        try:
            with ThreadPoolExecutor() as at_once:
                for started in [at_once.submit(process.start, wait_s=60) for process in processes]:
                    started.result()
            with wire(port) as to_console:
                url, direct = (f"http://127.0.0.1:{number}" for number in (to_console.port, port))
                yield Site(url, direct, api, rules, to_console, to_api, logs / "console.log")
        finally:
            for process in processes:
                process.kill()
    end_sessions(broker, pki_dir)


def _process(name: str, logs: Path, environment: Mapping[str, str], database_url: str) -> Server:
    process = product_process(
        name, environment, log=logs / f"{name}.log", ready=lambda: is_ready(database_url, name, process.pid)
    )
    return process


def _lives(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/livez").status_code == HTTPStatus.OK
    except httpx.HTTPError:
        return False


def _add_people(api: Api) -> None:
    with connect(api.database_url, name="tests") as conn:
        agents.put(conn, OTHER_AGENT, name="Counselor 2", extension="802")
        consents.record(conn, VIN, ConsentRequest(granted=True), actor="DRIVER", now=datetime.now(UTC))
    api.add_key(TOKENS["agent"], Role.AGENT, every_vehicle=True, agent_id=AGENT)
    api.add_key(TOKENS["other_agent"], Role.AGENT, every_vehicle=True, agent_id=OTHER_AGENT)
    api.add_key(TOKENS["guardian"], Role.GUARDIAN, vins=[VIN])
    api.add_key(TOKENS["family"], Role.GUARDIAN, vins=[VIN, OTHER_VIN])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window; not for longer than its module, for it keeps an event loop running."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no Chromium: `make browser` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody who sits before a browser of their own; `faults` are errors of scripts, `foreign` requests elsewhere."""

    page: Page
    faults: list[str]
    foreign: list[str]

    def row(self, cid: str) -> Locator:
        """The incident's row of the list."""
        return self.page.locator(f'.row[data-cid="{cid}"]')

    def choose(self, cid: str) -> None:
        """Open an incident."""
        self.row(cid).click()
        expect(self.page.locator(f'.detail[data-cid="{cid}"]')).to_be_visible()

    def status(self) -> Locator:
        """The status of the chosen incident."""
        return self.page.get_by_test_id("status")

    def act(self, action: str, **fields: str | bool) -> None:
        """Press an action's button, and fill and submit its form where fields are given; `__` stands for a dot."""
        self.page.click(f'.detail [data-action="{action}"]')
        if not fields:
            return
        self.fill(**fields)
        self.submit()

    def fill(self, **fields: str | bool) -> None:
        """Fill fields of the open form."""
        for name, value in fields.items():
            field = self.page.locator(f'[id="f-{name.replace("__", ".")}"]')
            if isinstance(value, bool):
                field.set_checked(value)
            elif field.evaluate("field => field.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)

    def submit(self) -> None:
        """Submit the open form; it closes when it was taken."""
        self.page.click('dialog [data-action="submit"]')
        expect(self.page.locator("dialog[open]")).to_have_count(0)


SignIn = Callable[..., Seat]


@pytest.fixture(scope="module")
def signed_in(site: Site, chromium: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Browsers signed in as one of TOKENS; those that tests share have the pages' scripts in their cache."""
    contexts: dict[str, BrowserContext] = {}

    def of(who: str, *, fresh: bool = False, **more: Any) -> BrowserContext:
        name = f"{who} {uuid4() if fresh else more}"
        if name not in contexts:
            options = {"viewport": {"width": 1600, "height": 900}, "timezone_id": "Asia/Seoul", "locale": "en-GB"}
            context = contexts[name] = chromium.new_context(**options | more)
            context.set_default_timeout(20_000)
            page = context.new_page()
            page.goto(site.url)
            page.fill("#token", TOKENS[who])
            page.click("button[type=submit]")
            page.wait_for_selector(".top")
            page.close()
        return contexts[name]

    yield of
    for context in contexts.values():
        context.close()


@pytest.fixture
def sign_in(site: Site, signed_in: Callable[..., BrowserContext]) -> Iterator[SignIn]:
    """Seats somebody before a new page, signed in as one of TOKENS; no script may fail, nor ask another origin."""
    seats: list[Seat] = []

    def seat(who: str, **options: Any) -> Seat:
        page = signed_in(who, **options).new_page()
        faults: list[str] = []
        foreign: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
        page.on("request", lambda request: None if is_own(request.url) else foreign.append(request.url))
        seats.append(Seat(page, faults, foreign))
        page.goto(site.url)
        page.wait_for_selector(".live:not(.lost)")
        return seats[-1]

    def is_own(url: str) -> bool:
        return url.startswith((site.url, "data:", "blob:"))

    yield seat
    for seated in seats:
        seated.page.close()
        assert seated.faults == []
        assert seated.foreign == []
