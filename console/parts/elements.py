"""The browser's parts as elements of a page."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nicegui.element import Element
from nicegui.events import GenericEventArguments

from console.public_api import Json
from console.settings import ConsoleSettings
from console.texts import said
from schemas.base import format_instant


class IncidentList(Element, component="incident_list.js", esm={"tcu-console": "lib"}):
    """Open incidents by urgency and age. Only the rows that are in sight exist in the browser."""

    def __init__(self, settings: ConsoleSettings, *, me: str | None, chosen: str | None) -> None:
        super().__init__()
        self.props.update(
            {
                "t": said("list", "clock", "kind", "urgency", "status"),
                "me": me,
                "agent-sla": settings.console_agent_sla_s,
                "server-now": format_instant(datetime.now(UTC)),
                "chosen": chosen,
                "sound": True,
            }
        )

    def replace(self, rows: Sequence[Json]) -> None:
        """Show these incidents and no others."""
        self.run_method("replace", list(rows))

    def change(self, rows: Sequence[Json], gone: Sequence[str]) -> None:
        """Show these too, or as they are now, and those no longer. A new SOS is heard."""
        self.run_method("change", list(rows), list(gone))

    def show(self, cid: str) -> None:
        """Mark an incident and bring it into sight."""
        self.run_method("show", cid)

    def on_choose(self, chosen: Callable[[str], Any]) -> None:
        """Call with the cid that the viewer chose."""
        self.on("choose", lambda event: chosen(str(event.args)))


class IncidentDetail(Element, component="incident_detail.js"):
    """One incident whole."""

    def __init__(self, settings: ConsoleSettings) -> None:
        super().__init__()
        texts = said("detail", "list", "clock", "kind", "urgency", "status", "call", "service", "consent", "yes", "no")
        self.props.update({"t": texts, "agent-sla": settings.console_agent_sla_s})

    def show(self, incident: Json | None, row: Json | None, vehicle: Json | None, actions: Sequence[Json]) -> None:
        """Show the incident's status answer, its line, the vehicle's latest state and what can be done now."""
        self.run_method("show", incident, row, vehicle, list(actions))

    def on_act(self, acted: Callable[[str], Any]) -> None:
        """Call with the name of the action that the viewer chose."""
        self.on("act", lambda event: acted(str(event.args)))


class ActionForm(Element, component="action_form.js"):
    """A dialog that asks for what an action needs."""

    def open(self, form: Json) -> None:
        """Ask."""
        self.run_method("open", form)

    def shut(self) -> None:
        """Close it: what was said was taken."""
        self.run_method("shut")

    def refuse(self, problem: str, fields: Mapping[str, str]) -> None:
        """Tell why what was said was not taken, beside the fields that it is about."""
        self.run_method("refuse", problem, dict(fields))

    def on_said(self, heard: Callable[[str, Json], Any]) -> None:
        """Call with the form's name and the values that were given."""

        def handle(event: GenericEventArguments) -> Any:
            return heard(str(event.args["name"]), dict(event.args["values"]))

        self.on("said", handle)


class Moment(Element, component="moment.js"):
    """An instant by the viewer's clock with UTC on hover; `mode` is "", "seconds" or "age"."""

    def __init__(self, at: str, mode: str = "") -> None:
        super().__init__()
        self.props.update({"at": at, "mode": mode})
