"""The guardian's page: is driving allowed now, the week, what was violated and why, exceptions and figures."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from nicegui import background_tasks, ui
from nicegui.client import Client
from nicegui.element import Element

from console.actions import field
from console.night import choices, released_until, tonight
from console.pages.frame import Frame, button, notify, tag
from console.parts.elements import ActionForm, CurfewWeek, Moment, Plot
from console.public_api import CHILDCARE, ApiRefused, Json
from console.sessions import Session
from console.texts import say, utc, word
from console.week import monday_of, week, week_span
from schemas.access import Role
from schemas.base import format_instant, parse_instant
from schemas.curfew import CurfewAction, Day

_LOOK_AGAIN_S = 60.0
_RETRY_S = 5.0
_MOMENT_S = 0.3
_NOT_FOUND = 404
_CONFLICT = 412
_PERIODS = ("7d", "30d", "90d", "365d")
_SHOWN = 20
_VEHICLES = _VIOLATIONS = 200
"""As many as the API gives at once."""
_MAY_SET = frozenset({Role.OWNER, Role.GUARDIAN, Role.OPERATOR})


@dataclass(slots=True)
class Opened:
    """A form that was opened: about which vehicle, and the ETag of the policy that it was filled from."""

    vin: str
    etag: str | None


class GuardianPage:
    """One open page about one vehicle at a time; a viewer of the session's board."""

    def __init__(self, session: Session, client: Client, *, vin: str | None) -> None:
        self._session = session
        self._api = session.api
        self._client = client
        self._vin = vin
        self._vehicles: list[Json] | None = None
        self._weeks_ahead = 0
        self._period = "30d"
        self._facts: Json = {}
        self._shown: dict[str, Any] = {}
        self._counted: Any = None
        self._statistics_told: Json = {}
        self._opened: Opened | None = None
        self._looks_soon = False
        self._looking = asyncio.Lock()
        self._releasing = asyncio.Lock()
        self._frame = Frame(session, page="guardian")
        with self._frame:
            self._now = tag("section").classes("box now")
            self._late: Element | None = None
            self._week = tag("section").classes("box wide")
            self._violations = tag("section").classes("box")
            self._exceptions = tag("section").classes("box")
            self._statistics = tag("section").classes("box wide")
            self._form = ActionForm()
        self._form.on_said(self._said)

    @property
    def _may_set(self) -> bool:
        return self._session.role in _MAY_SET

    async def begin(self) -> None:
        """Fill the page; what happens from now on comes by the board."""
        await self._look()
        ui.timer(_LOOK_AGAIN_S, self._look_again)  # the clock alone changes whether driving is allowed

    def replaced(self) -> None:
        """Show whether the vehicle has an emergency."""
        self._look_soon()

    def changed(self, rows: list[Json], gone: list[str]) -> None:
        """Show whether the vehicle has an emergency."""
        if gone or any(row["vin"] == self._vin for row in rows):
            self._look_soon()

    def happened(self, service: str, event: Json) -> None:
        """Show a violation or an exception as it begins, changes and ends."""
        if service == "CURFEW" and event.get("vin") == self._vin:
            self._look_soon()

    def turned(self) -> None:
        """Show whether the page is live."""
        self._frame.turned()

    def _look_soon(self, wait_s: float = _MOMENT_S) -> None:
        """Read everything again, once for all that happens until then."""
        if not self._looks_soon:
            self._looks_soon = True
            background_tasks.create(self._look_later(wait_s), name="console-look")

    async def _look_later(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        self._looks_soon = False
        await self._look()

    async def _look_again(self) -> None:
        if self._client.has_socket_connection:  # nobody looks at a page that has lost it
            await self._look()

    async def _look(self) -> None:
        """Read everything about the vehicle and show it."""
        if self._client.is_deleted:
            return
        async with self._looking:
            try:
                if self._vehicles is None:
                    await self._read_vehicles()
                vin = self._vin
                facts = None if vin is None else await self._read(vin)
            except ApiRefused as refused:
                if refused.ends_session:
                    self._session.board.end()
                    return
                if not refused.is_for_good:  # it stays as it was, but not for long
                    self._look_soon(max(_RETRY_S, refused.retry_after_s))
                if not self._facts:
                    with self._client:
                        self._show_nothing(say("unread", detail=refused.detail))
                return
            with self._client:
                if facts is None:
                    self._show_nothing(say("family.no_vehicle"))
                elif vin == self._vin:  # else another was chosen meanwhile, which is read next
                    self._facts = facts
                    self._show()

    async def _read_vehicles(self) -> None:
        found: list[Json] = (await self._api.get("/api/v1/vehicles", limit=_VEHICLES))["vehicles"]
        if self._vin is not None and self._vin not in {vehicle["vin"] for vehicle in found}:  # an operator has more
            found = (await self._api.get("/api/v1/vehicles", vin=self._vin))["vehicles"] + found
        self._vehicles = found
        known = [vehicle["vin"] for vehicle in found]
        if self._vin not in known:
            self._vin = known[0] if known else None

    async def _read(self, vin: str) -> Json:
        base = f"{CHILDCARE}/vehicles/{vin}/curfew"
        (policy, etag), explained, told = await asyncio.gather(
            self._read_policy(base),
            self._api.get(f"{base}/explain"),
            self._api.get(f"{base}/violations", limit=_SHOWN),
        )
        violations, exceptions = told["violations"], policy["exceptions"] if policy else []
        counted = (vin, self._period, violations, exceptions, datetime.now(UTC).date())
        if counted != self._counted:  # figures change only with these: a family may ask for little in a minute
            self._statistics_told = await self._api.get(f"{base}/statistics", period=self._period)
            self._counted = counted
        return {
            "vin": vin,
            "policy": policy,
            "etag": etag,
            "explained": explained,
            "violations": violations,
            "of_week": await self._of_week(base, policy, violations) if policy else [],
            "exceptions": sorted(exceptions, key=_start, reverse=True)[:_SHOWN],
            "statistics": self._statistics_told,
        }

    async def _read_policy(self, base: str) -> tuple[Json | None, str | None]:
        try:
            return await self._api.read(f"{base}/policy")
        except ApiRefused as refused:
            if refused.status != _NOT_FOUND:
                raise
            return None, None

    async def _of_week(self, base: str, policy: Json, newest: list[Json]) -> list[Json]:
        """Return the violations of the week that is shown; `newest` where they hold all of them."""
        begin, end = week_span(self._monday(ZoneInfo(policy["timezone"])), ZoneInfo(policy["timezone"]))
        if len(newest) < _SHOWN or parse_instant(newest[-1]["timestamp"]) < begin:
            return newest
        span = {"from": format_instant(begin), "to": format_instant(end)}
        found: list[Json] = (await self._api.get(f"{base}/violations", limit=_VIOLATIONS, **span))["violations"]
        return found

    def _monday(self, zone: ZoneInfo) -> date:
        return monday_of(datetime.now(UTC), zone) + timedelta(weeks=self._weeks_ahead)

    # ---- what is shown

    def _show_nothing(self, why: str) -> None:
        """Show this alone, beside the choice of a vehicle: nothing that was shown before can be pressed."""
        self._facts, self._shown, self._late = {}, {}, None
        for part in (self._now, self._week, self._violations, self._exceptions, self._statistics):
            part.clear()
        with self._now:
            if self._vehicles:
                self._vehicle_choice()
            tag("p", why).props('role="status"')

    def _show(self) -> None:
        """Make those parts anew whose facts have changed; what the viewer has opened stays open."""
        facts, now, today = self._facts, datetime.now(UTC), datetime.now(self._zone()).date()
        explained = {name: said for name, said in facts["explained"].items() if name not in {"at", "clock"}}
        own = [(row["service"], row["status"]) for row in self._session.board.rows.values() if row["vin"] == self._vin]
        spans = (facts["policy"], facts["of_week"], self._weeks_ahead)
        statistics = {name: said for name, said in facts["statistics"].items() if name != "generatedAt"}
        parts: dict[str, tuple[Callable[[], None], Any]] = {
            "now": (self._show_now, (self._vin, explained, facts["policy"], own, today)),
            "late": (self._show_late, (self._vin, self._lates(now))),
            "week": (self._show_week, (self._vin, spans, today)),
            "violations": (self._show_violations, (self._vin, facts["violations"])),
            "exceptions": (self._show_exceptions, (self._vin, facts["exceptions"])),
            "statistics": (self._show_statistics, (self._vin, statistics)),
        }
        for name, (show, shown_of) in parts.items():
            if self._shown.get(name) != shown_of:
                self._shown[name] = shown_of
                show()

    def _show_now(self) -> None:
        explained, policy = self._facts["explained"], self._facts["policy"]
        self._now.clear()
        with self._now:
            with tag("div").classes("now-head"):
                self._vehicle_choice()
                for row in self._session.board.rows.values():
                    if row["vin"] == self._vin:
                        words = {"kind": row["service"], "status": word("status", row["status"])}
                        tag("p", say("family.sos", **words)).classes("note bad").props('role="alert"')
            with tag("div").classes("now-state"):
                inside = explained["inside"]
                state = "family.no_policy" if policy is None else f"family.now.{'inside' if inside else 'outside'}"
                tag("h1", say(state)).classes("restricted" if inside else "free").props("data-testid=now")
                self._show_until()
                tag("p", explained["reasonText"]).classes("dim small")
            if policy is not None and not policy["consent"]["granted"]:
                tag("p", say("family.no_consent")).classes("note warn")
            elif policy is not None and not policy["enabled"]:
                tag("p", say("family.off")).classes("note warn")
            self._late = None
            if self._may_set and policy is not None:
                with tag("details").classes("late"):
                    tag("summary", say("family.late")).classes("button primary big")
                    self._late = tag("div").classes("actions")
        self._shown.pop("late", None)

    def _vehicle_choice(self) -> None:
        vehicles = self._vehicles or []
        if len(vehicles) == 1:
            tag("p", _named(vehicles[0])).classes("vehicle")
            return
        with tag("label").classes("vehicle"):
            tag("span", say("family.vehicle")).classes("sr-only")
            choice = tag("select")
            with choice:
                for vehicle in vehicles:
                    option = tag("option", _named(vehicle)).props(f'value="{vehicle["vin"]}"')
                    if vehicle["vin"] == self._vin:
                        option.props("selected")
        choice.on("change", lambda event: self._turn_to(str(event.args)), args=None, js_handler=_EMIT_VALUE)

    async def _turn_to(self, vin: str) -> None:
        if vin != self._vin and vin in {vehicle["vin"] for vehicle in self._vehicles or []}:
            self._vin = vin
            self._show_nothing(say("list.loading"))
            await self._look()

    def _show_until(self) -> None:
        explained = self._facts["explained"]
        if explained["window"] is not None:
            key = "family.until" if explained["inside"] else "family.released"
            at = released_until(explained, self._exceptions_known())
        elif explained["nextWindow"] is not None:
            key, at = "family.from", parse_instant(explained["nextWindow"]["utc"]["start"])
        else:
            return
        tag("p", say(key, time=self._wall(at))).classes("dim").props["title"] = utc(at)

    def _exceptions_known(self) -> list[Json]:
        policy = self._facts["policy"]
        return policy["exceptions"] if policy else []

    def _wall(self, instant: datetime) -> str:
        """Return an instant by the policy's wall clock, with the day where it is not today's."""
        zone = self._zone()
        at, now = instant.astimezone(zone), datetime.now(zone)
        return f"{at:%H:%M}" if at.date() == now.date() else f"{say(f'day.{_day_of(at)}')} {at:%H:%M}"

    def _zone(self) -> ZoneInfo:
        policy = self._facts["policy"]
        return ZoneInfo(policy["timezone"] if policy else "UTC")

    def _lates(self, now: datetime) -> list[datetime] | None:
        """Return until when the coming night may be released: nothing where it is, None where there is no night."""
        night = tonight(self._facts["explained"], self._exceptions_known(), now=now)
        return None if night is None else choices(night, now=now)

    def _show_late(self) -> None:
        """Offer to release the coming night for a while: one tap opens the choices, the next one chooses."""
        if self._late is None:
            return
        lates = self._lates(datetime.now(UTC))
        self._late.clear()
        with self._late:
            if not lates:
                tag("p", say("family.late.none" if lates is None else "family.late.released")).classes("dim")
                return
            for until in lates[:-1]:
                self._releaser(say("family.late.until", time=self._wall(until)), until)
            self._releaser(say("family.late.all"), lates[-1])

    def _releaser(self, label: str, until: datetime) -> None:
        vin = self._facts["vin"]

        async def release() -> None:
            async with self._releasing:
                if self._facts.get("vin") != vin:  # another was chosen while this was on its way
                    return
                night = tonight(self._facts["explained"], self._exceptions_known(), now=datetime.now(UTC))
                if night is None or night[0] >= until:  # it was tapped twice, or the page has slept for long
                    await self._look()
                    return
                times = {"startTime": format_instant(night[0]), "endTime": format_instant(until)}
                await self._send(
                    self._facts["vin"], "POST", "exception", {"reason": say("family.late.reason"), **times}
                )

        button(label).classes("button big").on("click", release).props["title"] = utc(until)

    def _show_week(self) -> None:
        policy = self._facts["policy"]
        self._week.clear()
        with self._week:
            with tag("div").classes("box-head"):
                tag("h2", say("family.week"))
                if policy is not None:
                    self._week_choice()
                if self._may_set:
                    label = say("family.set" if policy is None else "family.edit")
                    button(label).classes("button").props("data-action=edit").on("click", self._edit)
            if policy is None:
                tag("p", say("family.no_policy")).classes("dim")
                return
            zone, now = self._zone(), datetime.now(UTC)
            monday, since = self._monday(zone), parse_instant(policy["updatedAt"])
            days = week(policy, monday, exceptions=policy["exceptions"], violations=self._facts["of_week"], now=now)
            CurfewWeek(days, today=now.astimezone(zone).date().isoformat())
            tag("p", say("family.zone", zone=policy["timezone"])).classes("dim small")
            if self._weeks_ahead < 0 and week_span(monday, zone)[0] < since:
                told = tag("p", say("family.as_now")).classes("note warn small")
                with told:
                    Moment(policy["updatedAt"])

    def _week_choice(self) -> None:
        async def turn(weeks: int) -> None:
            self._weeks_ahead = self._weeks_ahead + weeks if weeks else 0
            async with self._looking:
                policy, base = self._facts["policy"], f"{CHILDCARE}/vehicles/{self._facts['vin']}/curfew"
                try:
                    self._facts["of_week"] = await self._of_week(base, policy, self._facts["violations"])
                except ApiRefused as refused:
                    _tell(refused)
                self._show_week()

        with tag("span").classes("actions"):
            before = button("").props(f'aria-label="{say("family.before")}" data-action=week-before')
            before.classes("icon before").on("click", lambda: turn(-1))
            if self._weeks_ahead:
                button(say("family.this_week")).classes("button quiet").on("click", lambda: turn(0))
            after = button("").props(f'aria-label="{say("family.after")}" data-action=week-after')
            after.classes("icon after").on("click", lambda: turn(1))

    def _show_violations(self) -> None:
        self._violations.clear()
        with self._violations:
            tag("h2", say("family.violations"))
            if not self._facts["violations"]:
                tag("p", say("family.no_violations")).classes("dim")
            with tag("ul").classes("entries"):
                for one in self._facts["violations"]:
                    self._show_violation(one)

    def _show_violation(self, one: Json) -> None:
        with tag("li").classes(f"entry severity-{one['severity']}").props(f"data-id={one['violationId']}"):
            with tag("div"):
                Moment(one["timestamp"]).classes("strong")
                tag("span", say("family.minutes", count=one["duration"])).classes("strong")
                if not one["resolved"]:
                    tag("span", say("family.goes_on")).classes("mark bad")
                tag("p", f"{word('severity', one['severity'])} · {_where(one)}").classes("dim small")
            why = button(say("family.why")).classes("button quiet")
        why.on("click", lambda: self._explain(one))

    async def _explain(self, violation: Json) -> None:
        """Show why driving was a violation at the moment it began."""
        path = f"{CHILDCARE}/vehicles/{self._facts['vin']}/curfew/explain"
        try:
            told = await self._api.get(path, at=violation["timestamp"])
        except ApiRefused as refused:
            _tell(refused)
            return
        with self._client, ui.dialog() as dialog, tag("div").classes("card explain"):
            dialog.props["aria-label"] = told["reasonText"]
            tag("h1", told["reasonText"])
            with tag("dl"):
                tag("dt", say("family.at"))
                tag("dd", f"{told['clock'] or '–'}")
                if told["window"] is not None:
                    for name in ("local", "utc"):
                        tag("dt", say(f"family.window_{name}"))
                        span = told["window"][name]
                        tag("dd", f"{span['start']} – {span['end']}")
            button(say("back")).classes("button").on("click", dialog.close)
        dialog.on("hide", dialog.delete)
        dialog.open()

    def _show_exceptions(self) -> None:
        self._exceptions.clear()
        with self._exceptions:
            with tag("div").classes("box-head"):
                tag("h2", say("family.exceptions"))
                if self._may_set:
                    add = button(say("family.add_exception")).classes("button").props("data-action=exception")
                    add.on("click", self._ask_exception)
            if not self._facts["exceptions"]:
                tag("p", say("family.no_exceptions")).classes("dim")
            with tag("ul").classes("entries"):
                for one in self._facts["exceptions"]:
                    self._show_exception(one)

    def _show_exception(self, one: Json) -> None:
        vin, path = self._facts["vin"], f"exceptions/{one['exceptionId']}"
        with tag("li").classes("entry").props(f"data-id={one['exceptionId']}"):
            with tag("div"):
                Moment(one["startTime"]).classes("strong")
                tag("span", "–")
                Moment(one["endTime"]).classes("strong")
                tag("span", word("exception", one["status"])).classes("mark")
                tag("p", one["reason"]).classes("dim small")
            if self._may_set and one["status"] in {"active", "scheduled"}:
                cancel = button(say("family.cancel_exception")).classes("button quiet")
                cancel.on("click", lambda: self._send(vin, "DELETE", path, None))

    def _show_statistics(self) -> None:
        told = self._facts["statistics"]
        self._statistics.clear()
        with self._statistics:
            with tag("div").classes("box-head"):
                tag("h2", say("family.statistics"))
                with tag("span").classes("chips"):
                    for period in _PERIODS:
                        chip = button(say(f"period.{period}")).classes("chip")
                        chip.props(f"aria-pressed={str(period == self._period).lower()}")
                        chip.on("click", self._period_setter(period))
            summary = told["summary"]
            longest, mean = summary["longest"], summary["averageMinutes"]
            with tag("dl").classes("figures"):
                _figure("family.total", str(summary["totalViolations"]))
                _figure("family.sum_minutes", str(summary["totalMinutes"]))
                _figure("family.mean", "–" if mean is None else say("family.minutes", count=round(mean, 1)))
                _figure("family.longest", "–" if longest is None else say("family.minutes", count=longest["duration"]))
                _figure("family.granted", str(summary["exceptionsGranted"]))
            if told["byWeekday"] is None:
                return
            with tag("div").classes("plots"):
                by_day = Plot(say("family.by_day"), kind="bars")
                by_hour = Plot(say("family.by_hour"), kind="bars")
            names = [say(f"day.{day}") for day in Day]
            counts = [told["byWeekday"].get(day, 0) for day in Day]
            name = say("family.total")
            by_day.show({"names": names, "series": [{"name": name, "colour": "--accent", "data": counts}]})
            hours = [f"{hour:02d}" for hour in range(24)]
            by_hour.show({"names": hours, "series": [{"name": name, "colour": "--accent", "data": told["byHour"]}]})

    def _period_setter(self, period: str) -> Callable[[], Any]:
        async def turn() -> None:
            self._period = period
            await self._look()

        return turn

    # ---- what is changed

    def _open(self, form: Json) -> None:
        self._opened = Opened(self._facts["vin"], self._facts["etag"])
        self._form.open(form)

    def _edit(self) -> None:
        policy = self._facts["policy"]
        self._open(
            {
                "name": "policy",
                "title": say("family.set" if policy is None else "family.edit"),
                "lead": "",
                "fields": _policy_fields(policy),
                "submit": say("save"),
                "back": say("back"),
            }
        )

    def _ask_exception(self) -> None:
        now = datetime.now(UTC)
        self._open(
            {
                "name": "exception",
                "title": say("family.add_exception"),
                "lead": "",
                "fields": [
                    field("reason", required=True),
                    field("startTime", "instant", required=True, value=format_instant(now)),
                    field("endTime", "instant", required=True, value=format_instant(now + timedelta(hours=2))),
                ],
                "submit": say("save"),
                "back": say("back"),
            }
        )

    async def _said(self, name: str, values: Json) -> None:
        """Send what a form says, about the vehicle that it was opened for."""
        opened = self._opened
        if opened is None:
            return
        if name == "exception":
            taken = await self._send(opened.vin, "POST", "exception", values, form=True)
        else:
            body = _policy_body(values)
            taken = await self._send(opened.vin, "PUT", "policy", body, form=True, if_match=opened.etag)
        if taken:
            self._opened = None

    async def _send(
        self, vin: str, method: str, path: str, body: Json | None, *, form: bool = False, if_match: str | None = None
    ) -> bool:
        """Send a change and show what has become of it; tell whether it was taken."""
        try:
            await self._api.send(method, f"{CHILDCARE}/vehicles/{vin}/curfew/{path}", body, if_match=if_match)
        except ApiRefused as refused:
            detail = say("stale_write") if refused.status == _CONFLICT else refused.detail
            if refused.status == _CONFLICT:
                await self._look()
                if self._opened is not None and self._facts.get("vin") == vin:
                    self._opened.etag = self._facts["etag"]  # who sends it again means it so
            if form:
                self._form.refuse(
                    say("failed", detail=detail), {_FIELDS.get(k, k): v for k, v in refused.fields.items()}
                )
            else:
                with self._client:
                    notify(say("failed", detail=detail), look="bad")
            return False
        if form:
            self._form.shut()
        await self._look()
        return True


_EMIT_VALUE = "(event) => emit(event.target.value)"
_FIELDS = {"timeWindows": "windows", "days": "windows"}
"""Which field of the form a field of the policy is."""


def _policy_fields(policy: Json | None) -> list[Json]:
    days = [[day.value, say(f"day.{day}")] for day in Day]
    given = (policy or {}).get("timeWindows") or ([policy["timeWindow"]] if policy else [])
    every = policy["days"] if policy else ["sunday", "monday", "tuesday", "wednesday", "thursday"]
    known = [{"start": w["start"], "end": w["end"], "days": w.get("days") or every} for w in given]
    first = {"start": "22:00", "end": "06:00", "days": every}
    texts = {name: say(f"windows.{name}") for name in ("from", "until", "add", "remove")}
    chosen = policy["actions"] if policy else [CurfewAction.NOTIFICATION.value]
    return [
        field("enabled", "flag", value=policy["enabled"] if policy else True),
        field(
            "timezone",
            "listed",
            required=True,
            value=policy["timezone"] if policy else "",
            choices=sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")),
        ),
        field("windows", "windows", value=known or [first], days=days, **texts),
        field("actions", "checks", value=chosen, choices=[[a.value, say(f"curfew.{a}")] for a in CurfewAction]),
    ]


def _policy_body(values: Json) -> Json:
    """Return the policy as the curfew guide has it; with one window in the guide's own form."""
    given = values["windows"]
    order = [day.value for day in Day]
    spans = [{"start": w["start"], "end": w["end"], "days": sorted(w["days"], key=order.index)} for w in given]
    body = {name: values[name] for name in ("enabled", "timezone", "actions")}
    days = spans[0]["days"]
    if len(spans) == 1:
        return body | {"days": days, "timeWindow": {"start": spans[0]["start"], "end": spans[0]["end"]}}
    return body | {"days": days, "timeWindows": spans}


def _start(exception: Json) -> datetime:
    return parse_instant(exception["startTime"])


def _figure(key: str, value: str) -> None:
    with tag("div"):
        tag("dt", say(key))
        tag("dd", value)


def _named(vehicle: Json) -> str:
    parts = [vehicle["make"], vehicle["model"], vehicle["licensePlate"]]
    known = " ".join(str(part) for part in parts if part)
    return f"{known} · {vehicle['vin']}" if known else str(vehicle["vin"])


def _where(violation: Json) -> str:
    at = violation["location"]
    return say("list.nowhere") if at is None else f"{at['latitude']:.4f}, {at['longitude']:.4f}"


def _day_of(at: datetime) -> Day:
    return tuple(Day)[at.weekday()]


def _tell(refused: ApiRefused) -> None:
    notify(say("failed", detail=refused.detail), look="bad")
