"""The live screen under load: frames with a thousand open incidents, and what the page keeps after many changes."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from typing import Any
from urllib.request import Request, urlopen

import psycopg
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks.api import add_incidents
from benchmarks.drain import Say
from benchmarks.measure import percentile
from benchmarks.report import Figure
from benchmarks.servers import TOKENS, Servers
from schemas.demo import fleet_vin

INCIDENTS = 1000
EVENTS_PER_S = 5
FRAMES_S = 60
FAST_EVENTS_PER_S = 20
"""A working day has some 100,000 events; in half an hour these are 36,000."""
ROUTE_S = 15 * 60
_SLOW_MS = 50
_CLICKS = 12
_SERVICES = ("POLICE", "AMBULANCE", "FIRE", "TOWING")
_RECORD = """
window.frames_ = [];
let last = performance.now();
(function next(now) { window.frames_.push(now - last); last = now; requestAnimationFrame(next); })(last);
"""


def run(parts: Servers, say: Say, *, seed: int, minutes: int) -> list[Figure]:
    """Measure the frames at the pace of a busy center, then the memory at four times that pace for so many minutes."""
    random, visitors = Random(seed), count(INCIDENTS + 1)
    url = parts.new_database()
    program = shutil.which("chromium")
    if program is None:
        raise FileNotFoundError("there is no Chromium: `make browser` installs it")
    with parts.rules(url), parts.api(url) as api_port, parts.console(api_port) as port, sync_playwright() as playwright:
        say(f"{INCIDENTS:,} open incidents")
        add_incidents(url, random, first=1, count=INCIDENTS)
        cids = _cids(api_port)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = _opened(browser, port)
        say(f"frames, {EVENTS_PER_S} events/s")
        with _events(api_port, url, random, cids, visitors, per_s=EVENTS_PER_S):
            frames_ms, clicks_ms = _frames(page)
        # What is shown of it grows with each change of it, as it should: it is left alone while memory is counted.
        shown = page.get_attribute(".detail", "data-cid")
        others = {vin: cid for vin, cid in cids.items() if cid != shown}
        driven = next(vin for vin, cid in cids.items() if cid == shown)
        say(f"memory, {FAST_EVENTS_PER_S} events/s for {minutes} minutes")
        with _driving(url, driven), _events(api_port, url, random, others, visitors, per_s=FAST_EVENTS_PER_S) as sent:
            page.wait_for_selector(".map .sign.car")
            kept = _kept(page, say, minutes)
        browser.close()
    parts.drop_database(url)
    begun, ended = kept[0], kept[-1]
    at = f"{INCIDENTS:,} open incidents, {EVENTS_PER_S} events/s"
    slow = sum(frame > _SLOW_MS for frame in frames_ms)
    return [
        Figure(f"frame, {at}, p50", percentile(frames_ms, 50), "ms"),
        Figure(f"frame, {at}, p95", percentile(frames_ms, 95), "ms", bar=_SLOW_MS, at_most=True),
        Figure(f"frame, {at}, p99", percentile(frames_ms, 99), "ms"),
        Figure(f"frames over {_SLOW_MS} ms", 100 * slow / len(frames_ms), "%"),
        Figure("click → incident shown, p50", percentile(clicks_ms, 50), "ms"),
        Figure("click → incident shown, slowest", max(clicks_ms), "ms"),
        Figure(f"events in {minutes + 1} minutes, shown on map and list", sent[0], ""),
        Figure("heap of the page at the start", begun["JSHeapUsedSize"] / 2**20, "MiB"),
        Figure("heap of the page at the end", ended["JSHeapUsedSize"] / 2**20, "MiB"),
        Figure("nodes, end / start", ended["Nodes"] / begun["Nodes"], "×", bar=1.1, at_most=True),
        Figure(
            "listeners, end / start", ended["JSEventListeners"] / begun["JSEventListeners"], "×", bar=1.1, at_most=True
        ),
        Figure("heap, end / start", ended["JSHeapUsedSize"] / begun["JSHeapUsedSize"], "×", bar=1.25, at_most=True),
    ]


def _opened(browser: Browser, port: int) -> Page:
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.goto(f"http://127.0.0.1:{port}")
    page.fill("#token", TOKENS[0])
    page.click("button[type=submit]")
    page.wait_for_selector(".row")
    page.wait_for_timeout(3000)
    return page


def _frames(page: Page) -> tuple[list[float], list[float]]:
    """Return the time between frames, and from a click on a row to its incident, while a counselor looks around."""
    page.evaluate(_RECORD)
    clicks_ms: list[float] = []
    for number in range(_CLICKS):
        page.mouse.move(200, 500)
        page.mouse.wheel(0, 900 if number % 2 else 2700)
        page.wait_for_timeout(300)
        row = page.locator(".row").nth(8)
        cid = row.get_attribute("data-cid")
        began_s = time.perf_counter()
        page.locator(f'.row[data-cid="{cid}"]').click()
        page.wait_for_selector(f'.detail[data-cid="{cid}"]')
        clicks_ms.append((time.perf_counter() - began_s) * 1000)
        page.wait_for_timeout(1000 * FRAMES_S / _CLICKS - 300)
    frames: list[float] = page.evaluate("window.frames_.slice(5)")
    return frames, clicks_ms


def _kept(page: Page, say: Say, minutes: int) -> list[dict[str, float]]:
    """Return what the page holds after each minute, garbage collected; first after one of warming up."""
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable")
    page.evaluate("window.frames_ = null")
    found = []
    for minute in range(minutes + 1):
        page.wait_for_timeout(60_000)
        found.append(_measured(client))
        heap_mib = found[-1]["JSHeapUsedSize"] / 2**20
        say(f"minute {minute} of {minutes}: {heap_mib:.2f} MiB, {found[-1]['Nodes']:,.0f} nodes")
    return found


def _measured(client: CDPSession) -> dict[str, float]:
    for _ in range(2):
        client.send("HeapProfiler.collectGarbage")
    return {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}


@contextmanager
def _driving(url: str, vin: str) -> Iterator[None]:
    """Let this vehicle go round and tell its place each second, as it has for as long as its route is drawn."""
    done = threading.Event()
    statement = (
        "INSERT INTO vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect, latitude, longitude)"
        " SELECT %(vin)s, gen_random_uuid(), at, at, false,"
        " 37.5 + 0.02 * sin(extract(epoch FROM at) / 60), 127 + 0.02 * cos(extract(epoch FROM at) / 60)"
        " FROM generate_series(now() - %(since)s * interval '1 second', now(), interval '1 second') AS at"
    )

    def drive(conn: psycopg.Connection) -> None:
        while not done.wait(1):
            conn.execute(statement, {"vin": vin, "since": 0})

    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement, {"vin": vin, "since": ROUTE_S})
        driving = threading.Thread(target=drive, args=(conn,))
        driving.start()
        try:
            yield
        finally:
            done.set()
            driving.join()


@contextmanager
def _events(
    port: int, url: str, random: Random, cids: dict[str, str], visitors: Iterator[int], *, per_s: float
) -> Iterator[list[int]]:
    """Change incidents at this pace meanwhile; give how many changes there were so far.

    Most are dispatches. One in ten is a new press, and the press before it is cancelled: rows and marks come and go.
    """
    done, sent = threading.Event(), [0]
    vins = list(cids)
    broken: list[Exception] = []

    def change() -> None:
        due_s = time.monotonic()
        while not done.wait(max(0.0, due_s - time.monotonic())):
            if sent[0] % 10:
                vin = random.choice(vins)
                body = {"cid": cids[vin], "serviceType": random.choice(_SERVICES), "status": "EN_ROUTE"}
                _call(port, "POST", f"/api/v1/safety/vehicles/{vin}/sos/dispatch", body)
            else:
                _replace_visitor(port, url, random, next(visitors))
            sent[0] += 1
            due_s += 1 / per_s

    def change_until_done() -> None:
        try:
            change()
        except Exception as error:  # noqa: BLE001 - told to whoever measures
            broken.append(error)

    changing = threading.Thread(target=change_until_done)
    changing.start()
    try:
        yield sent
    finally:
        done.set()
        changing.join()
    if broken:
        raise broken[0]


def _replace_visitor(port: int, url: str, random: Random, number: int) -> None:
    """Let the vehicle of this number press, and cancel the press of the one before."""
    if number > INCIDENTS + 1:
        path = f"/api/v1/safety/vehicles/{fleet_vin(number - 1)}/sos"
        _call(port, "POST", f"{path}/cancel", {"cid": _call(port, "GET", f"{path}/status")["cid"]})
    add_incidents(url, random, first=number, count=1)


def _cids(port: int) -> dict[str, str]:
    found = _call(port, "GET", "/api/v1/safety/incidents?limit=1000")["incidents"]
    by_vin = {one["vin"]: one["cid"] for one in found}
    if by_vin.keys() != {fleet_vin(number) for number in range(1, INCIDENTS + 1)}:
        raise AssertionError(f"expected {INCIDENTS} open incidents, found {len(by_vin)}")
    return by_vin


def _call(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode() if body is not None else None,
        # Another caller than the page: each has a count of its own.
        {"Authorization": f"Bearer {TOKENS[1]}", "Content-Type": "application/json"},
        method=method,
    )
    with urlopen(request, timeout=30) as answer:  # noqa: S310 - likewise
        return json.load(answer)
