"""The call center: open incidents, one of them whole, and what can be done with it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from nicegui import background_tasks, ui
from nicegui.client import Client

from console import actions
from console.actions import Action, Choices, Subject
from console.pages.frame import Frame, tag
from console.parts.elements import ActionForm, IncidentDetail, IncidentList
from console.public_api import SAFETY, ApiRefused, Json
from console.sessions import Session
from console.settings import ConsoleSettings
from console.texts import say
from schemas.base import format_instant

_LOOK_AGAIN_S = 5.0
_CONFLICTS = frozenset({409, 412})


class CenterPage:
    """One open page; a viewer of the session's board."""

    def __init__(self, session: Session, settings: ConsoleSettings, client: Client, *, cid: str | None) -> None:
        self._session = session
        self._api = session.api
        self._client = client
        self._cid = cid
        self._incident: Json | None = None
        self._etag: str | None = None
        self._choices = Choices((), ())
        self._reading = asyncio.Lock()
        self._frame = Frame(session, page="center", sound=self._turn_sound)
        with self._frame:
            self._list = IncidentList(settings, me=session.who.agent_id, chosen=cid).classes("pane")
            with tag("div").classes("pane"):
                self._detail = IncidentDetail(settings)
            self._form = ActionForm()
        self._list.on_choose(self._choose)
        self._detail.on_act(self._act)
        self._form.on_said(self._said)

    async def begin(self) -> None:
        """Fill the page; what changes from now on comes by the board."""
        if self._session.board.loaded:
            self.replaced()
        await self._read_choices()
        if self._cid is not None:
            await self._look()
        ui.timer(_LOOK_AGAIN_S, self._look)  # the vehicle's state has no events

    def replaced(self) -> None:
        """Show the whole board."""
        self._list.replace(list(self._session.board.rows.values()))
        self._look_soon()

    def changed(self, rows: list[Json], gone: list[str]) -> None:
        """Show what has changed."""
        self._list.change(rows, gone)
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
        self._client.run_javascript(f"history.replaceState(null, '', '/center?cid=' + encodeURIComponent({cid!r}))")
        await self._look()

    def _look_soon(self) -> None:
        if self._cid is not None:
            background_tasks.create(self._look(), name="console-look")

    async def _look(self) -> None:
        """Read the chosen incident and show it."""
        if self._cid is None:
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
                self._show(*found)

    async def _read(self, cid: str) -> tuple[Json, Json, Json | None, str | None]:
        listed = (await self._api.get(f"{SAFETY}/incidents", cid=cid))["incidents"]
        if not listed:
            raise ApiRefused("no such incident", status=404)
        row = listed[0]
        path = f"{SAFETY}/vehicles/{row['vin']}/{row['service'].lower()}/status"
        (incident, etag), vehicles = await asyncio.gather(
            self._api.read(path, cid=cid), self._api.get("/api/v1/vehicles", vin=row["vin"], limit=1)
        )
        return row, incident, next(iter(vehicles["vehicles"]), None), etag

    def _show(self, row: Json, incident: Json, vehicle: Json | None, etag: str | None) -> None:
        self._incident, self._etag = incident, etag
        subject = self._subject(row["service"], incident)
        self._detail.show(incident, row, vehicle, actions.buttons(actions.offered(subject)))

    def _subject(self, service: str, incident: Json) -> Subject:
        return Subject(service, incident, self._session.who, format_instant(datetime.now(UTC)))

    def _present(self) -> Subject | None:
        if self._incident is None:
            return None
        return self._subject(self._incident["cid"].partition("_")[0], self._incident)

    async def _act(self, name: str) -> None:
        subject = self._present()
        if subject is None:
            return
        action = actions.named(subject, name)
        form = actions.form_of(action, subject, self._choices)
        if form is not None:
            self._form.open(form)
        else:
            await self._send(action, subject, {})

    async def _said(self, name: str, values: Json) -> None:
        subject = self._present()
        if subject is not None:
            await self._send(actions.named(subject, name), subject, values)

    async def _send(self, action: Action, subject: Subject, values: Json) -> None:
        request = action.request(subject, values)
        try:
            # A partner's words bring no ETag: they are about the dispatch, not about what the counselor read.
            await self._api.send("POST", request.path, request.body, if_match=None if action.as_partner else self._etag)
        except ApiRefused as refused:
            detail = say("stale_write") if refused.status in _CONFLICTS else refused.detail
            if action.form is not None:
                self._form.refuse(say("failed", detail=detail), refused.fields)
            ui.notify(say("failed", detail=detail), type="negative", position="bottom-left")
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
            ui.notify(say("failed", detail=refused.detail), type="negative", position="bottom-left")
        self._choices = Choices(
            tuple((one["agentId"], f"{one['name']} · {one['agentId']}") for one in agents["agents"]),
            tuple((one["partner"], one["name"]) for one in partners["partners"]),
        )
