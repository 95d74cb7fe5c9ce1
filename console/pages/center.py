"""The call center: open incidents, one of them whole, and what can be done with it."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from nicegui import background_tasks, ui
from nicegui.client import Client

from console import actions
from console.actions import Action, Choices, Subject
from console.pages.frame import Frame, notify, tag
from console.parts.elements import ActionForm, IncidentDetail, IncidentList, LiveMap
from console.public_api import SAFETY, ApiRefused, Json
from console.sessions import Session
from console.settings import ConsoleSettings
from console.texts import say
from schemas.base import format_instant, parse_instant

_LOOK_AGAIN_S = 5.0
_MOMENT_S = 0.1
_ROUTE_MINUTES = 15
_OLD_AFTER = timedelta(minutes=5)
_STALE = 412


@dataclass(frozen=True, slots=True)
class Found:
    """An incident as it was read: its line, its status answer with ETag, the vehicle's state and its last positions."""

    row: Json
    incident: Json
    vehicle: Json | None
    route: list[Json]
    etag: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A form that was opened: what it was filled with, and the ETag of what that was read from."""

    filled: Json
    etag: str | None


class CenterPage:
    """One open page; a viewer of the session's board."""

    def __init__(self, session: Session, settings: ConsoleSettings, client: Client, *, cid: str | None) -> None:
        self._session = session
        self._api = session.api
        self._client = client
        self._cid = cid
        self._incident: Json | None = None
        self._etag: str | None = None
        self._opened: Opened | None = None
        self._choices = Choices((), ())
        self._looks_soon = False
        self._reading = asyncio.Lock()
        self._acting = asyncio.Lock()
        self._frame = Frame(session, page="center", sound=self._turn_sound)
        with self._frame:
            self._list = IncidentList(settings, me=session.who.agent_id, chosen=cid).classes("pane")
            with tag("div").classes("pane"):
                self._detail = IncidentDetail(settings)
            self._map = LiveMap(settings).classes("pane")
            self._form = ActionForm()
        self._list.on_choose(self._choose)
        self._map.on_choose(self._choose)
        self._detail.on_act(self._act)
        self._form.on_said(self._said)

    async def begin(self) -> None:
        """Fill the page; what changes from now on comes by the board."""
        if self._session.board.loaded:
            self.replaced()
        await self._read_choices()
        if self._cid is not None:
            await self._look()
        ui.timer(_LOOK_AGAIN_S, self._look_again)  # the vehicle's state has no events

    def replaced(self) -> None:
        """Show the whole board."""
        rows = list(self._session.board.rows.values())
        self._list.replace(rows)
        self._map.replace(rows)
        self._look_soon()

    def changed(self, rows: list[Json], gone: list[str]) -> None:
        """Show what has changed."""
        self._list.change(rows, gone)
        self._map.change(rows, gone)
        if self._cid in {*gone, *(row["cid"] for row in rows)}:
            self._look_soon()

    def happened(self, service: str, event: Json) -> None:
        """Nothing: the board tells what follows from it."""

    def turned(self) -> None:
        """Show whether the page is live."""
        self._frame.turned()

    def _turn_sound(self, on: bool) -> None:  # noqa: FBT001 - a switch
        self._list.props["sound"] = on
        self._list.update()

    async def _choose(self, cid: str) -> None:
        self._cid = cid
        self._list.show(cid)
        address = f"/center?cid={quote(cid, safe='')}"
        self._client.run_javascript(f"history.replaceState(null, '', {json.dumps(address)})")
        await self._look()

    def _look_soon(self) -> None:
        """Read the chosen incident, once for all that happens within a moment."""
        if self._cid is not None and not self._looks_soon:
            self._looks_soon = True
            background_tasks.create(self._look_later(), name="console-look")

    async def _look_later(self) -> None:
        await asyncio.sleep(_MOMENT_S)
        self._looks_soon = False
        await self._look()

    async def _look_again(self) -> None:
        if self._client.has_socket_connection:  # nobody looks at a page that has lost it
            await self._look()

    async def _look(self) -> None:
        """Read the chosen incident and show it."""
        if self._cid is None or self._client.is_deleted:
            return
        async with self._reading:
            cid = self._cid
            try:
                found = await self._read(cid)
            except ApiRefused as refused:
                if refused.ends_session:
                    self._session.board.end()
                return  # it stays as it was; the head line tells that the connection is lost
            if cid == self._cid and not self._client.is_deleted:
                self._show(found)

    async def _read(self, cid: str) -> Found:
        listed = (await self._api.get(f"{SAFETY}/incidents", cid=cid))["incidents"]
        if not listed:
            raise ApiRefused("no such incident", status=404)
        row = listed[0]
        path = f"{SAFETY}/vehicles/{row['vin']}/{row['service'].lower()}/status"
        (incident, etag), vehicles, track = await asyncio.gather(
            self._api.read(path, cid=cid),
            self._api.get("/api/v1/vehicles", vin=row["vin"], limit=1),
            self._api.get(f"/api/v1/vehicles/{row['vin']}/track", minutes=_ROUTE_MINUTES),
        )
        return Found(row, incident, next(iter(vehicles["vehicles"]), None), track["points"], etag)

    def _show(self, found: Found) -> None:
        self._incident, self._etag = found.incident, found.etag
        subject = self._subject(found.row["service"], found.incident)
        self._detail.show(found.incident, found.row, found.vehicle, actions.buttons(actions.offered(subject)))
        self._map.focus(_focus(found))

    def _subject(self, service: str, incident: Json) -> Subject:
        return Subject(service, incident, self._session.who, format_instant(datetime.now(UTC)))

    def _present(self) -> Subject | None:
        if self._incident is None:
            return None
        return self._subject(self._incident["cid"].partition("_")[0], self._incident)

    async def _act(self, name: str) -> None:
        # One thing after the other: what a counselor does next is about what the last one has made of the incident, and
        # its event may show that here before the answer does.
        async with self._acting:
            subject = self._present()
            if subject is None:
                return
            action = actions.named(subject, name)
            form = actions.form_of(action, subject, self._choices)
            if form is not None:
                self._opened = Opened(actions.filled(form, subject), self._etag)
                self._form.open(form)
            else:
                await self._send(action, subject, {}, self._etag)

    async def _said(self, name: str, values: Json) -> None:
        async with self._acting:
            subject = self._present()
            if subject is not None:
                action = actions.named(subject, name)
                await self._send(action, subject, values, self._etag_for(action, subject))

    def _etag_for(self, action: Action, subject: Subject) -> str | None:
        """Return the ETag that goes with the open form: of what it was filled from, where that has changed since."""
        form = actions.form_of(action, subject, self._choices)
        if self._opened is None or form is None or actions.filled(form, subject) == self._opened.filled:
            return self._etag
        return self._opened.etag

    async def _send(self, action: Action, subject: Subject, values: Json, etag: str | None) -> None:
        request = action.request(subject, values)
        try:
            # A partner's words bring no ETag: they are about the dispatch, not about what the counselor read.
            await self._api.send("POST", request.path, request.body, if_match=None if action.as_partner else etag)
        except ApiRefused as refused:
            detail = say("stale_write") if refused.status == _STALE else refused.detail
            if action.form is not None:
                self._form.refuse(say("failed", detail=detail), refused.fields)
            notify(say("failed", detail=detail), look="bad")
            if refused.status == _STALE:
                self._opened = None  # who sends it again has been told
            await self._look()
            return
        self._form.shut()
        await self._look()

    async def _read_choices(self) -> None:
        agents: Any = {"agents": []}
        partners: Any = {"partners": []}
        try:
            agents = await self._api.get(f"{SAFETY}/sos/agents")
            partners = await self._api.get(f"{SAFETY}/partners")
        except ApiRefused as refused:
            notify(say("failed", detail=refused.detail), look="bad")
        self._choices = Choices(
            tuple((one["agentId"], f"{one['name']} · {one['agentId']}") for one in agents["agents"]),
            tuple((one["partner"], one["name"]) for one in partners["partners"]),
        )


def _focus(found: Found) -> Json:
    """Return what the map shows of an incident."""
    tracking = found.incident.get("locationTracking") or {}
    provider = found.incident.get("provider") or {}
    return {
        "cid": found.row["cid"],
        "incident": _place(found.row["location"]),
        "vehicle": _vehicle_place(found.vehicle),
        "route": found.route,
        "partner": _place(tracking.get("currentLocation"), name=provider.get("name") or found.row["partner"]),
        "destination": _place(tracking.get("destination"), name=(tracking.get("destination") or {}).get("address")),
    }


def _place(said: Json | None, **more: object) -> Json | None:
    if said is None or said["latitude"] is None or said["longitude"] is None:
        return None
    return {"latitude": said["latitude"], "longitude": said["longitude"], **more}


def _vehicle_place(vehicle: Json | None) -> Json | None:
    if vehicle is None or vehicle["asOf"] is None:
        return None
    old = vehicle["online"] is False or datetime.now(UTC) - parse_instant(vehicle["asOf"]) > _OLD_AFTER
    return _place(vehicle["location"], heading=vehicle["heading"], old=old)
