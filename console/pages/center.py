"""The call center: open incidents, one of them whole, and what can be done with it."""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
    """An incident as it was read: its line, its status answer with ETag, the vehicle's state and its last positions.

    What is only beside it is None and empty where it could not be read.
    """

    row: Json
    incident: Json
    vehicle: Json | None
    route: list[Json]
    etag: str | None

    @property
    def cid(self) -> str:
        """The incident's id."""
        return str(self.row["cid"])


@dataclass(frozen=True, slots=True)
class Opened:
    """A form that was opened: of what, and what it was filled with; `told`: its viewer knows that this has changed."""

    found: Found
    choices: Choices
    filled: Json
    told: bool = False


class CenterPage:
    """One open page; a viewer of the session's board."""

    def __init__(self, session: Session, settings: ConsoleSettings, client: Client, *, cid: str | None) -> None:
        self._session = session
        self._api = session.api
        self._client = client
        self._cid = cid
        self._found: Found | None = None
        self._follows: dict[str, str | None] = {}
        self._opened: Opened | None = None
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
                elif cid == self._cid and not self._client.is_deleted:
                    self._show_unread(cid, say("unread", detail=refused.detail))
                return
            if cid == self._cid and not self._client.is_deleted:
                self._show(found)

    async def _read(self, cid: str) -> Found:
        listed = (await self._api.get(f"{SAFETY}/incidents", cid=cid))["incidents"]
        if not listed:
            raise ApiRefused(say("detail.unknown", cid=cid), status=404)
        row = listed[0]
        path = f"{SAFETY}/vehicles/{row['vin']}/{row['service'].lower()}/status"
        (incident, etag), vehicles, track = await asyncio.gather(
            self._api.read(path, cid=cid),
            self._beside("/api/v1/vehicles", vin=row["vin"], limit=1),
            self._beside(f"/api/v1/vehicles/{row['vin']}/track", minutes=_ROUTE_MINUTES),
        )
        vehicle = next(iter(vehicles["vehicles"]), None) if vehicles is not None else None
        return Found(row, incident, vehicle, track["points"] if track is not None else [], etag)

    async def _beside(self, path: str, **params: object) -> Json | None:
        """Read what an incident can be shown without; None where that is not to be had now."""
        try:
            return await self._api.get(path, **params)
        except ApiRefused as refused:
            if refused.ends_session:
                raise
            return None

    def _show(self, found: Found) -> None:
        self._found = found
        offered = actions.buttons(actions.offered(self._subject(found)))
        self._detail.show(found.incident, found.row, found.vehicle, offered, etag=found.etag)
        self._map.focus(_focus(found))

    def _show_unread(self, cid: str, why: str) -> None:
        """Tell that an incident could not be read; what was read of it before stays, and nothing of another."""
        if self._found is not None and self._found.cid != cid:
            self._found = None
            self._map.focus(_NOTHING)
        self._detail.show_unread(why, keep=self._found is not None)

    def _subject(self, found: Found) -> Subject:
        return Subject(found.row["service"], found.incident, self._session.who, format_instant(datetime.now(UTC)))

    async def _act(self, name: str, cid: str, etag: str | None) -> None:
        """Do what was pressed beside this incident while it was as this ETag names it, or ask for what it takes."""
        # One thing after the other: what a counselor does next is about what the last one has made of the incident, and
        # its event may show that here before the answer does.
        async with self._acting:
            found = self._found
            if found is None or found.cid != cid:  # another was chosen while this was on its way
                notify(say("failed", detail=say("detail.not_shown", cid=cid)), look="bad")
                return
            subject = self._subject(found)
            action = actions.named(subject, name)
            choices = await self._choices_for(action)
            form = actions.form_of(action, subject, choices)
            if form is not None:
                self._opened = Opened(found, choices, actions.filled(form, subject))
                self._form.open(form)
            else:
                await self._send(action, found, {}, self._now(etag))

    async def _said(self, name: str, values: Json) -> None:
        """Do what a form was filled for: with the incident that it was opened for, whichever is shown by now."""
        async with self._acting:
            opened = self._opened
            if opened is None:
                return
            found = self._found if self._found is not None and self._found.cid == opened.found.cid else opened.found
            subject = self._subject(found)
            action = actions.named(subject, name)
            form = actions.form_of(action, subject, opened.choices)
            etag = self._now(opened.found.etag)
            # Nothing that it was filled from has changed, or its viewer has been told so.
            if opened.told or (form is not None and actions.filled(form, subject) == opened.filled):
                etag = found.etag
            await self._send(action, found, values, etag)

    def _now(self, etag: str | None) -> str | None:
        """Return the ETag that this page's own actions have made of one that its viewer saw."""
        while etag is not None and etag in self._follows:
            etag = self._follows[etag]
        return etag

    async def _send(self, action: Action, found: Found, values: Json, etag: str | None) -> None:
        request = action.request(self._subject(found), values)
        try:
            # A partner's words bring no ETag: they are about the dispatch, not about what the counselor read.
            await self._api.send("POST", request.path, request.body, if_match=None if action.as_partner else etag)
        except ApiRefused as refused:
            detail = say("stale_write") if refused.status == _STALE else refused.detail
            if action.form is not None:
                self._form.refuse(say("failed", detail=detail), refused.fields)
            notify(say("failed", detail=detail), look="bad")
            if refused.status == _STALE and self._opened is not None:
                self._opened = replace(self._opened, told=True)  # who sends it again means it so
            await self._look()
            return
        self._form.shut()
        self._opened = None
        await self._look()
        if etag is not None and self._found is not None and self._found.cid == found.cid and self._found.etag != etag:
            self._follows.pop(self._found.etag or "", None)  # the end of the chain, also where it has been there before
            self._follows[etag] = self._found.etag

    async def _choices_for(self, action: Action) -> Choices:
        """Read who can be chosen in the action's form, as they are now. What can't be read is no choice, and told."""
        agents: Json = {"agents": []}
        partners: Json = {"partners": []}
        try:
            if action.chooses == "agents" and self._session.who.agent_id is None:
                agents = await self._api.get(f"{SAFETY}/sos/agents")
            elif action.chooses == "partners":
                partners = await self._api.get(f"{SAFETY}/partners")
        except ApiRefused as refused:
            notify(say("failed", detail=refused.detail), look="bad")
        return Choices(
            tuple((one["agentId"], f"{one['name']} · {one['agentId']}") for one in agents["agents"]),
            tuple((one["partner"], one["name"]) for one in partners["partners"]),
        )


_NOTHING: Json = {"cid": None, "incident": None, "vehicle": None, "route": [], "partner": None, "destination": None}


def _focus(found: Found) -> Json:
    """Return what the map shows of an incident."""
    tracking = found.incident.get("locationTracking") or {}
    current = tracking.get("currentLocation")
    provider = found.incident.get("provider") or {}
    name = provider.get("name") or found.row["partner"]
    return {
        "cid": found.cid,
        "incident": _place(found.row["location"]),
        "vehicle": _vehicle_place(found.vehicle),
        "route": found.route,
        "partner": _place(current, name=name, at=current and current["lastUpdate"], old=_is_old(current)),
        "destination": _place(tracking.get("destination"), name=(tracking.get("destination") or {}).get("address")),
    }


def _place(said: Json | None, **more: object) -> Json | None:
    if said is None or said["latitude"] is None or said["longitude"] is None:
        return None
    return {"latitude": said["latitude"], "longitude": said["longitude"], **more}


def _vehicle_place(vehicle: Json | None) -> Json | None:
    if vehicle is None or vehicle["asOf"] is None:
        return None
    old = vehicle["online"] is False or _is_before(vehicle["asOf"])
    return _place(vehicle["location"], heading=vehicle["heading"], at=vehicle["asOf"], old=old)


def _is_old(partner: Json | None) -> bool:
    return partner is not None and (partner["lastUpdate"] is None or _is_before(partner["lastUpdate"]))


def _is_before(instant: str) -> bool:
    return datetime.now(UTC) - parse_instant(instant) > _OLD_AFTER
