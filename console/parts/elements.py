"""The browser's parts as elements of a page."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nicegui.element import Element
from nicegui.elements import echart, leaflet
from nicegui.events import GenericEventArguments

from console.places import PLACES
from console.public_api import Json
from console.settings import ConsoleSettings
from console.texts import said
from schemas.base import format_instant

_LEAFLET = Path(leaflet.__file__).parent / "dist"
"""Leaflet as NiceGUI brings it; importing its package, and that of ECharts, makes both known to the pages."""
_ = echart


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

    def show(
        self, incident: Json, row: Json, vehicle: Json | None, actions: Sequence[Json], *, etag: str | None
    ) -> None:
        """Show the incident's status answer and its ETag, its line, the vehicle's latest state, what can be done."""
        self.run_method("show", incident, row, vehicle, list(actions), etag)

    def show_unread(self, why: str, *, keep: bool) -> None:
        """Tell why the incident could not be read, beside what is shown of it already or alone."""
        self.run_method("show_unread", why, keep)

    def on_act(self, acted: Callable[[str, str, str | None], Any]) -> None:
        """Call with the action that the viewer chose, and cid and ETag of the incident that was seen then."""

        def handle(event: GenericEventArguments) -> Any:
            etag = event.args["etag"]
            return acted(str(event.args["name"]), str(event.args["cid"]), None if etag is None else str(etag))

        self.on("act", handle)


class LiveMap(Element, component="live_map.js"):
    """Where open incidents are, and one of them with vehicle, route and partner."""

    def __init__(self, settings: ConsoleSettings) -> None:
        super().__init__()
        self.add_resource(_LEAFLET)
        self.props.update(
            {
                "t": said("map", "kind"),
                "places": PLACES if settings.console_tile_url is None else (),
                "tile-url": settings.console_tile_url,
                "attribution": settings.console_tile_attribution,
            }
        )

    def replace(self, rows: Sequence[Json]) -> None:
        """Show these incidents and no others."""
        self.run_method("replace", [_spot(row) for row in rows])

    def change(self, rows: Sequence[Json], gone: Sequence[str]) -> None:
        """Show these too, or as they are now, and those no longer."""
        self.run_method("change", [_spot(row) for row in rows], list(gone))

    def focus(self, what: Json) -> None:
        """Show one incident: `cid`, `incident`, `vehicle`, `partner` and `destination` as places, `route` as points."""
        self.run_method("focus", what)

    def on_choose(self, chosen: Callable[[str], Any]) -> None:
        """Call with the cid that the viewer chose."""
        self.on("choose", lambda event: chosen(str(event.args)))


def _spot(row: Json) -> Json:
    """Return what the map needs of an incident's line."""
    return {
        name: row[name] for name in ("cid", "vin", "service", "kind", "urgency", "status", "customerName", "location")
    }


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


class CurfewWeek(Element, component="curfew_week.js"):
    """The curfew of a week, as `console.week.week` gives it."""

    def __init__(self, days: Sequence[Json], *, today: str) -> None:
        super().__init__()
        self.props.update({"t": said("week"), "days": list(days), "today": today})


class Plot(Element, component="plot.js"):
    """A small plot: "lines" over time or "bars" over names."""

    def __init__(self, title: str, *, kind: str, unit: str = "", height: int = 150) -> None:
        super().__init__()
        self.props.update({"title": title, "kind": kind, "unit": unit, "height": height})

    def show(self, data: Json) -> None:
        """Show `series` of `name`, `colour` (a name of the page's colours) and `data`.

        Bars have `names` too; lines reach from `since` until `until`.
        """
        self.run_method("show", data)


class DataTable(Element, component="data_table.js"):
    """A table; `columns` have key, label and kind: "", "moment", "age", "mark", "code", "number" or "button"."""

    def __init__(self, columns: Sequence[tuple[str, str, str]], *, empty: str) -> None:
        super().__init__()
        self.props.update(
            {
                "columns": [{"key": key, "label": label, "kind": kind} for key, label, kind in columns],
                "empty": empty,
            }
        )

    def show(self, rows: Sequence[Json]) -> None:
        """Show these rows, each with an `id`; a mark has `text` and `look`."""
        self.run_method("show", list(rows))

    def on_act(self, acted: Callable[[str], Any]) -> None:
        """Call with the id of the row whose button was pressed."""
        self.on("act", lambda event: acted(str(event.args)))


class Moment(Element, component="moment.js"):
    """An instant by the viewer's clock with UTC on hover; `mode` is "", "seconds" or "age"."""

    def __init__(self, at: str, mode: str = "") -> None:
        super().__init__()
        self.props.update({"at": at, "mode": mode})

    def show(self, at: str) -> None:
        """Show another instant."""
        self.props["at"] = at
        self.update()
