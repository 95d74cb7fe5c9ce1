"""The pictures of the documentation: taken by a browser from a demo that runs, so that they stay true."""

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from playwright.sync_api import Browser, Page, sync_playwright

from schemas.base import format_instant
from schemas.demo import DEMO_CURFEW_VINS, DEMO_FLEET_VINS
from stack import environment, lifecycle
from stack.places import CHECKOUT, Places, run_as
from stack.server import ServerFailed

PICTURES = CHECKOUT / "docs" / "pictures"
_STORIES_S = 75
"""How long the demo plays before the pictures are taken: its nights and trips leave something to see."""
_DESK = {"width": 1600, "height": 900}
_PHONE = {"width": 390, "height": 844}
_PARTNER = "SAMSUNG_FIRE"

Json = dict[str, Any]


def take(places: Places) -> list[Path]:
    """Return the pictures that were taken, of a demo of their own that is stopped afterwards."""
    program = shutil.which("chromium")
    if program is None:
        raise ServerFailed("there is no Chromium: `make browser` installs it")
    lifecycle.clean(places)
    try:
        values = lifecycle.up(places, tied=True)
        with _stories(values), sync_playwright() as playwright:
            typer.echo(f"==> playing for {_STORIES_S} s")
            time.sleep(_STORIES_S)
            scene = _Scene(values)
            emergency, request = scene.incidents()
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            PICTURES.mkdir(exist_ok=True)
            return [
                _center(browser, values, "center", emergency),
                _center(browser, values, "center-dark", request, theme="dark"),
                _closing(browser, values, emergency),
                _page(browser, values, "guardian", f"/guardian?vin={scene.family()}", {"width": 1280, "height": 1180}),
                _page(browser, values, "guardian-phone", f"/guardian?vin={scene.family()}", _PHONE, theme="dark"),
                _page(browser, values, "operator", "/operator", {"width": 1600, "height": 1150}),
            ]
    finally:
        lifecycle.down(places)
        shutil.rmtree(places.state, ignore_errors=True)


@contextmanager
def _stories(values: dict[str, str]) -> Iterator[None]:
    """Play the demo's stories meanwhile."""
    simulator = subprocess.Popen(
        run_as(None, [sys.executable, "-m", "simulator", "demo"], stop_signal="INT"),
        cwd=CHECKOUT,
        env=environment.process_environment(values),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        simulator.kill()
        simulator.wait()


class _Scene:
    """What stands open when the pictures are taken, made by the public API as app, center and partner would."""

    def __init__(self, values: dict[str, str]) -> None:
        self._url = values["TCU_API_URL"]
        self._token = values["TCU_DEMO_TOKEN"]

    def incidents(self) -> tuple[str, str]:
        """Return the cid of an emergency that is worked on, and of a breakdown whose partner is on its way, late."""
        medical, fire, flat, tow, lockout = DEMO_FLEET_VINS[:5]
        self._post(
            f"safety/vehicles/{fire}/sos",
            {"emergencyType": "ACCIDENT", "urgency": "CRITICAL", "description": "Hit the guard rail; airbags are out."},
        )
        said = {
            "emergencyType": "MEDICAL",
            "urgency": "HIGH",
            "description": "Driver chest pain, unable to drive",
            "contactNumber": "+82-10-1234-5678",
            "passengerCount": 2,
            "customerConsent": {"granted": True, "locationSharing": True, "voiceRecording": False},
        }
        emergency = self._post(f"safety/vehicles/{medical}/sos", said | self._where(medical))["cid"]
        self._post(f"safety/vehicles/{medical}/sos/call", {"cid": emergency, "status": "CONNECTED"})
        self._post(f"safety/vehicles/{flat}/rsa/request", {"serviceType": "TIRE_CHANGE"} | self._where(flat))
        self._post(
            f"safety/vehicles/{lockout}/sos", {"emergencyType": "OTHER", "urgency": "LOW"} | self._where(lockout)
        )
        return emergency, self._tow(tow)

    def family(self) -> str:
        """Return the vehicle of the curfew's stories that has most to show."""
        return max(
            DEMO_CURFEW_VINS,
            key=lambda vin: self._get(f"childcare/vehicles/{vin}/curfew/violations")["pagination"]["total"],
        )

    def _tow(self, vin: str) -> str:
        now = datetime.now(UTC)
        asked = {
            "serviceType": "TOWING",
            "description": "The engine does not start.",
            "customerConsent": {"granted": True},
        }
        cid: str = self._post(f"safety/vehicles/{vin}/rsa/request", asked | self._where(vin))["cid"]
        self._post(f"safety/vehicles/{vin}/rsa/dispatch", {"cid": cid, "partner": _PARTNER, "serviceType": "TOWING"})
        self._post(
            f"safety/partners/{_PARTNER}/dispatch/confirm",
            {
                "cid": cid,
                "status": "CONFIRMED",
                "partnerTicketId": "SFT_12345",
                "provider": {"name": "FastTow"},
                "estimatedArrival": format_instant(now + timedelta(minutes=12)),
            },
        )
        place = self._where(vin)["location"]
        self._post(
            f"safety/partners/{_PARTNER}/dispatch/location",
            {
                "cid": cid,
                "status": "EN_ROUTE",
                "currentLocation": {
                    "latitude": place["latitude"] + 0.021,
                    "longitude": place["longitude"] - 0.034,
                },
                "estimatedArrival": format_instant(now + timedelta(minutes=19)),
                "estimatedDistance": 5.4,
            },
        )
        return cid

    def _where(self, vin: str) -> Json:
        points = self._get(f"vehicles/{vin}/track?minutes=15")["points"]
        at = points[-1] if points else {"latitude": 37.5665, "longitude": 126.978}
        return {"location": {"latitude": at["latitude"], "longitude": at["longitude"], "accuracy": 5.2}}

    def _get(self, path: str) -> Json:
        return self._ask("GET", path, None)

    def _post(self, path: str, body: Json) -> Json:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Json | None) -> Json:
        request = urllib.request.Request(  # noqa: S310 - our own http URL
            f"{self._url}/api/v1/{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
                found: Json = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise ServerFailed(f"{method} {path}: {error.read().decode(errors='replace')}") from error


def _center(browser: Browser, values: dict[str, str], name: str, cid: str, *, theme: str = "light") -> Path:
    page = _signed_in(browser, values, _DESK, theme=theme)
    page.goto(f"{values['TCU_CONSOLE_URL']}/center?cid={cid}")
    page.wait_for_selector(f'.detail[data-cid="{cid}"]')
    page.wait_for_selector(".leaflet-interactive, .sign")
    return _shot(page, name)


def _closing(browser: Browser, values: dict[str, str], cid: str) -> Path:
    page = _signed_in(browser, values, _DESK)
    page.goto(f"{values['TCU_CONSOLE_URL']}/center?cid={cid}")
    page.click('.detail [data-action="close"]')
    page.wait_for_selector("dialog[open]")
    return _shot(page, "close")


def _page(
    browser: Browser, values: dict[str, str], name: str, path: str, size: dict[str, int], *, theme: str = "light"
) -> Path:
    page = _signed_in(browser, values, size, theme=theme)
    page.goto(values["TCU_CONSOLE_URL"] + path)
    page.wait_for_selector(".plot canvas")
    return _shot(page, name)


def _signed_in(browser: Browser, values: dict[str, str], size: dict[str, int], *, theme: str = "light") -> Page:
    phone = size is _PHONE
    context = browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme="dark" if theme == "dark" else "light",
        timezone_id="Asia/Seoul",
        locale="en-GB",
        is_mobile=phone,
        has_touch=phone,
        device_scale_factor=2 if phone else 1,
    )
    page = context.new_page()
    page.goto(values["TCU_CONSOLE_URL"])
    page.fill("#token", values["TCU_DEMO_TOKEN"])
    page.click("button[type=submit]")
    page.wait_for_selector(".top")
    return page


def _shot(page: Page, name: str) -> Path:
    page.wait_for_timeout(2500)  # plots, map and the first second of the clocks
    file = PICTURES / f"{name}.png"
    page.screenshot(path=file)
    page.context.close()
    return file
