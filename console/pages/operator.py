"""The operator's page: health of each part, the last hour as plots, processes, jobs, quarantine and vehicles."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

from nicegui import ui
from nicegui.client import Client
from nicegui.element import Element

from console.pages.frame import Frame, button, notify, retext, tag
from console.parts.elements import DataTable, Plot
from console.public_api import OPERATIONS, SAFETY, ApiRefused, Json
from console.sessions import Session
from console.texts import say, word
from schemas.base import format_instant, parse_instant
from schemas.topics import LaneName

_OFTEN_S, _SELDOM_S = 3.0, 10.0
_SHOWN = 100
_PAYLOAD_SHOWN = 160
_HOUR = timedelta(hours=1)
_GAP = timedelta(seconds=30)
_SILENT_SHOWN = timedelta(minutes=5)
_LOOKS = {"OPERATIONAL": "good", "HEALTHY": "good", "DEGRADED": "warn", "DOWN": "bad", "UNKNOWN": "old"}
_PLOTS: Mapping[str, tuple[str, Sequence[tuple[str, str, str]]]] = {
    "ops.rates": (
        "/s",
        [
            ("bulkPerSecond", "ops.status_rate", "--accent"),
            ("enginePerSecond", "ops.engine_rate", "--rsa"),
            ("urgentPerSecond", "ops.urgent_rate", "--high"),
        ],
    ),
    "ops.lag": (
        " s",
        [("lagSeconds", "ops.worker_lag", "--accent"), ("streamLagSeconds", "ops.stream_lag", "--rsa")],
    ),
    "ops.waiting": ("", [("waiting", "ops.waiting", "--accent")]),
    "ops.events": ("/s", [("eventsPerSecond", "ops.events", "--accent")]),
    "ops.connected": ("", [("connectedVehicles", "ops.connected", "--good")]),
    "ops.streams": ("", [("openStreams", "ops.streams", "--rsa")]),
    "ops.quarantined": ("", [("quarantined", "ops.quarantined", "--bad")]),
}
"""Plots of the last hour: unit, and (figure of a sample, name, colour) of each line."""


class OperatorPage:
    """One open page; a viewer of the session's board only for whether it is live."""

    def __init__(self, session: Session, client: Client) -> None:
        self._session = session
        self._api = session.api
        self._client = client
        self._only_online = True
        self._sections: dict[str, list[tuple[Element, Element]]] = {}
        self._frame = Frame(session, page="operator")
        with self._frame:
            with self._section("ops.health", "health", wide=True):
                self._health = tag("div").classes("parts")
                self._alerts = tag("ul").classes("alerts")
            with self._section("ops.hour", "history", wide=True), tag("div").classes("plots dense"):
                self._plots = {key: Plot(say(key), kind="lines", unit=_PLOTS[key][0], height=130) for key in _PLOTS}
            with self._section("ops.processes", "processes"):
                self._processes = DataTable(
                    [
                        ("name", say("ops.name"), "name"),
                        ("state", say("ops.state"), "mark"),
                        ("startedAt", say("ops.since"), "age"),
                        ("beatAt", say("ops.beat"), "age"),
                        ("figures", say("ops.figures"), "small"),
                    ],
                    empty=say("ops.none"),
                )
            with self._section("ops.jobs", "processes"):
                self._jobs = DataTable(
                    [
                        ("name", say("ops.name"), "code"),
                        ("every", say("ops.every"), "number"),
                        ("lastRun", say("ops.last_run"), "age"),
                        ("took", say("ops.took"), "number"),
                        ("failures", say("ops.failures"), "mark"),
                    ],
                    empty=say("ops.none"),
                )
            with self._section("ops.quarantine", "quarantine", wide=True):
                self._quarantine = DataTable(
                    [
                        ("receivedAt", say("ops.received"), "moment"),
                        ("timesReceived", say("ops.times"), "number"),
                        ("topic", say("ops.topic"), "code"),
                        ("why", say("ops.why"), ""),
                        ("payload", say("ops.payload"), "code"),
                        ("replay", "", "button"),
                    ],
                    empty=say("ops.none"),
                )
                self._quarantine_count = tag("p").classes("dim small")
            with self._section("ops.vehicles", "vehicles", wide=True) as head:
                with head:
                    self._online_only = button(say("ops.only_online")).classes("chip").props("aria-pressed=true")
                self._vehicles = DataTable(
                    [
                        ("vin", say("ops.vin"), "code"),
                        ("state", say("ops.online"), "mark"),
                        ("asOf", say("ops.as_of"), "age"),
                        ("speedKph", say("ops.speed"), "number"),
                        ("engineStatus", say("detail.engine"), ""),
                        ("battery", say("ops.battery"), "number"),
                        ("place", say("detail.place"), ""),
                    ],
                    empty=say("ops.none"),
                )
                self._vehicle_count = tag("p").classes("dim small")
        self._quarantine.on_act(self._replay)
        self._online_only.on("click", self._turn_online)

    @contextmanager
    def _section(self, title: str, shows: str, *, wide: bool = False) -> Iterator[Element]:
        """Make a section of what is read by this name; gives its head. Its note tells when that could not be read."""
        with tag("section").classes("box wide" if wide else "box") as section:
            with tag("div").classes("box-head") as head:
                tag("h2", say(title))
            note = tag("p").classes("note warn").props('role="status"')
            self._sections.setdefault(shows, []).append((section, note))
            self._mark(shows, None)
            yield head

    async def begin(self) -> None:
        """Fill the page; from now on it is read again and again: figures have no events."""
        await self._look_often()
        await self._look_seldom()
        ui.timer(_OFTEN_S, self._look_often, immediate=False)
        ui.timer(_SELDOM_S, self._look_seldom, immediate=False)

    def replaced(self) -> None:
        """Nothing: incidents are not shown here."""

    def changed(self, rows: list[Json], gone: list[str]) -> None:
        """Nothing: incidents are not shown here."""

    def happened(self, service: str, event: Json) -> None:
        """Nothing: incidents are not shown here."""

    def turned(self) -> None:
        """Show whether the page is live."""
        self._frame.turned()

    async def _look_often(self) -> None:
        health, processes = await asyncio.gather(
            self._read("health", f"{SAFETY}/sos/system/health"), self._read("processes", f"{OPERATIONS}/processes")
        )
        if health is not None:
            self._show_health(health)
        if processes is not None:
            self._processes.show([shown(one) for one in missed(processes["processes"], now=datetime.now(UTC))])
            self._jobs.show([_job(one) for one in processes["jobs"]])

    async def _look_seldom(self) -> None:
        online = True if self._only_online else None
        history, quarantine, vehicles = await asyncio.gather(
            self._read("history", f"{OPERATIONS}/history", minutes=60),
            self._read("quarantine", f"{OPERATIONS}/quarantine", limit=_SHOWN),
            self._read("vehicles", "/api/v1/vehicles", limit=_SHOWN, online=online),
        )
        if history is not None:
            now = datetime.now(UTC)
            hour = {"since": format_instant(now - _HOUR), "until": format_instant(now)}
            for key, plot in self._plots.items():
                plot.show({"series": [_line(history["samples"], *line) for line in _PLOTS[key][1]], **hour})
        if quarantine is not None:
            self._quarantine.show([_message(one) for one in quarantine["messages"]])
            retext(self._quarantine_count, _counted(quarantine["messages"], quarantine["pagination"]))
        if vehicles is not None:
            self._vehicles.show([_vehicle(one) for one in vehicles["vehicles"]])
            retext(self._vehicle_count, _counted(vehicles["vehicles"], vehicles["pagination"]))

    async def _read(self, what: str, path: str, **params: object) -> Json | None:
        """Read what some sections show, and let them look old while that fails; None where nobody looks or it fails."""
        if not self._client.has_socket_connection:
            return None
        try:
            found = await self._api.get(path, **params)
        except ApiRefused as refused:
            if refused.ends_session:
                self._session.board.end()
            self._mark(what, say("unread", detail=refused.detail))
            return None
        self._mark(what, None)
        return found

    def _mark(self, what: str, why: str | None) -> None:
        for section, note in self._sections[what]:
            section.classes(**{"remove" if why is None else "add": "stale"})
            retext(note, why or "")
            note.set_visibility(why is not None)

    def _show_health(self, health: Json) -> None:
        self._health.clear()
        with self._health:
            _part(say("ops.system"), health["status"], say("ops.load", load=health["metrics"]["systemLoad"]))
            for name, part in health["systems"].items():
                _part(say(f"part.{name}"), part["status"], _figures_of(part))
        self._alerts.clear()
        with self._alerts:
            for alert in health["alerts"]:
                look = "bad" if alert["level"] == "CRITICAL" else "warn" if alert["level"] == "WARNING" else ""
                tag("li", alert["message"]).classes(f"note {look}")

    async def _turn_online(self) -> None:
        self._only_online = not self._only_online
        self._online_only.props(f"aria-pressed={str(self._only_online).lower()}")
        await self._look_seldom()

    async def _replay(self, quarantine_id: str) -> None:
        look: Literal["good", "bad"] = "good"
        try:
            await self._api.send("POST", f"{OPERATIONS}/quarantine/{int(quarantine_id)}/replay")
            words = say("ops.handed_in")
        except ApiRefused as refused:
            words, look = say("failed", detail=refused.detail), "bad"
        with self._client:
            notify(words, look=look)
        await self._look_seldom()


def _part(name: str, status: str, told: str) -> None:
    look = _LOOKS.get(status, "old")
    with tag("div").classes(f"part {look}").props(f'data-part="{name}"'):
        tag("b", name)
        with tag("span").classes(f"mark {look}"):
            tag("span").classes(f"dot {look}")
            tag("span", word("health", status))
        line = tag("p", told).classes("dim small")
        line.props["title"] = told


def _figures_of(part: Json) -> str:
    """Return the one or two figures of a part that say most, or why there are none."""
    if part.get("responseTime"):
        return str(part["responseTime"])
    if "alive" in part:
        return f"{part['ready']} / {part['alive']}"
    if part.get("deliveryRate"):
        return str(part["deliveryRate"])
    return str(part.get("reason") or "")


def missed(processes: Sequence[Json], *, now: datetime) -> list[Json]:
    """Return the processes without those that have been silent for long and whose work another does."""
    done = {part for one in processes if one["alive"] for part in _work(one)}
    return [
        one
        for one in processes
        if one["alive"] or now - parse_instant(one["beatAt"]) < _SILENT_SHOWN or not _work(one) <= done
    ]


def _work(one: Json) -> frozenset[str]:
    """Return what a process does by its name, as rules or ingest-bulk; a worker without a lane serves all of them."""
    name = one["name"].partition("@")[0]
    return frozenset({f"ingest-{lane}" for lane in LaneName} if name == "ingest" else {name})


def shown(one: Json) -> Json:
    """Return a process as its row of the table."""
    state = _state(one)
    look = {"alive": "good", "standing_by": "", "not_ready": "warn", "silent": "bad"}[state]
    told = {name: value for name, value in one["figures"].items() if name != "standing_by"}
    figures = " · ".join(f"{name} {_short(value)}" for name, value in told.items() if value is not None)
    return one | {"id": one["name"], "state": {"text": say(f"health.{state}"), "look": look}, "figures": figures}


def _state(one: Json) -> str:
    if not one["alive"]:
        return "silent"
    if one["figures"].get("standing_by"):
        return "standing_by"
    return "alive" if one["ready"] else "not_ready"


def _job(one: Json) -> Json:
    failures = one["failures"]
    return one | {
        "id": one["name"],
        "every": f"{one['everySeconds']:g} s",
        "took": None if one["tookSeconds"] is None else f"{one['tookSeconds'] * 1000:.0f} ms",
        "failures": {"text": str(failures), "look": "bad" if failures else "good"},
    }


def _message(one: Json) -> Json:
    raised = one["cid"] is not None
    return one | {
        "id": str(one["quarantineId"]),
        "why": f"{one['reason']} · {one['detail']}" + (f" · {say('ops.raised', cid=one['cid'])}" if raised else ""),
        "payload": one["payload"][:_PAYLOAD_SHOWN],
        "replay": None if raised else say("ops.replay"),
    }


def _vehicle(one: Json) -> Json:
    online = one["online"]
    look = "good" if online else "bad" if online is False else "old"
    words = {True: "detail.online", False: "detail.offline", None: "detail.not_said"}[online]
    at, volts = one["location"], one["batteryVoltage"]
    return one | {
        "id": one["vin"],
        "state": {"text": say(words), "look": look},
        "speedKph": None if one["speedKph"] is None else round(one["speedKph"]),
        "battery": None if volts is None else f"{volts:.1f} V",
        "place": None if at is None else f"{at['latitude']:.4f}, {at['longitude']:.4f}",
    }


def _line(samples: Sequence[Json], figure: str, name: str, colour: str) -> Json:
    return {"name": say(name), "colour": colour, "data": list(points(samples, figure))}


def points(samples: Sequence[Json], figure: str) -> Iterator[tuple[str, float | None]]:
    """Give a figure of the samples, and null where there was none for so long that a line would tell a tale."""
    if samples:
        yield samples[0]["at"], samples[0][figure]
    for before, one in pairwise(samples):
        if parse_instant(one["at"]) - parse_instant(before["at"]) > _GAP:
            yield before["at"], None
        yield one["at"], one[figure]


def _counted(page: Sequence[Json], pagination: Json) -> str:
    return say("ops.more", shown=len(page), total=pagination["total"])


def _short(figure: object) -> str:
    return f"{figure:.3g}" if isinstance(figure, float) else str(figure)
