"""What the console decides by itself: texts, what is offered, and the week as it is drawn."""

import ast
import asyncio
import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from console import actions, sessions, texts
from console.actions import Subject
from console.board import Board
from console.guard import policy
from console.public_api import PublicApi
from console.sessions import Desk
from console.settings import ConsoleSettings
from console.week import monday_of, week
from rules import rsa, sos
from rules.curfew import Rule, Window
from schemas.access import Role, WhoAmI
from schemas.base import format_instant
from schemas.curfew import Day
from schemas.rsa import RsaStatus
from schemas.sos import SosStatus

CONSOLE = Path(__file__).parents[2] / "console"
MOVES = {
    "SOS": {
        "resolve": sos.Action.RESOLVE, "close": sos.Action.CLOSE, "cancel": sos.Action.CANCEL,
        "dispatch_service": sos.Action.DISPATCH, "call_connected": sos.Action.CONNECT,
    },
    "RSA": {
        "dispatch_partner": rsa.Action.DISPATCH, "confirm": rsa.Action.CONFIRM, "reject": rsa.Action.REJECT,
        "en_route": rsa.Action.DEPART, "arrived": rsa.Action.ARRIVE, "complete": rsa.Action.COMPLETE,
        "close": rsa.Action.CLOSE, "cancel": rsa.Action.CANCEL,
    },
}  # fmt: skip


def used_keys() -> set[str]:
    """Return the literal keys that `say` is called with, and those that the browser's parts name."""
    found = set()
    for path in CONSOLE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    for path in CONSOLE.rglob("*.js"):
        found |= set(re.findall(r"""t\[["']([\w.]+)["']\]""", path.read_text()))
    return found


def test_every_text_that_a_part_names_exists() -> None:
    for path in CONSOLE.rglob("*.js"):
        named = set(re.findall(r"""t\[["']([\w.]+)["']\]""", path.read_text()))
        assert named <= set(texts.ENGLISH), path.name


def test_no_text_is_left_that_nobody_shows() -> None:
    # Keys of the guides' words and of fields are put together from their names.
    made = (
        "urgency",
        "kind",
        "status",
        "call",
        "service",
        "consent",
        "act",
        "field",
        "result",
        "severity",
        "exception",
    )
    made += ("day", "period", "curfew", "part", "health", "windows", "nav", "list", "family.now", "family.window_")
    used = used_keys()
    left = {key for key in texts.ENGLISH if not key.startswith(made) and key not in used}
    assert left == set()


def subject(service: str, status: str, role: Role = Role.OPERATOR) -> Subject:
    who = WhoAmI(role=role, vins=(), every_vehicle=True, agent_id="AGENT_001", partner=None, expires_at=None)
    incident: dict[str, Any] = {
        "cid": f"{service}_20260307_001",
        "vin": "KMHSH81C7LU123456",
        "status": status,
        "voiceCall": None,
        "contactCenter": {"agentId": None},
    }
    return Subject(service, incident, who, "2026-03-07T18:30:00Z")


@pytest.mark.parametrize(
    ("service", "status"), [("SOS", status) for status in SosStatus] + [("RSA", status) for status in RsaStatus]
)
def test_what_is_offered_is_what_the_incident_allows(service: str, status: str) -> None:
    offered = {action.name for action in actions.offered(subject(service, status))}
    moves = sos.MOVES if service == "SOS" else rsa.MOVES
    allowed = {name for name, move in MOVES[service].items() if (status, move) in moves}
    assert offered & set(MOVES[service]) == allowed


def test_a_counselor_is_not_offered_the_partners_words() -> None:
    offered = {action.name for action in actions.offered(subject("RSA", "DISPATCHED", Role.AGENT))}
    assert offered == {"dispatch_partner", "close", "cancel"}


def test_fields_are_named_as_the_apis_errors_name_them() -> None:
    values = {"provider.driver.name": "Kim", "provider.name": "FastTow", "status": "CONFIRMED"}
    assert actions.unflat(values) == {
        "provider": {"driver": {"name": "Kim"}, "name": "FastTow"},
        "status": "CONFIRMED",
    }


def set_policy(zone: str, *windows: tuple[list[Day], str, str]) -> dict[str, Any]:
    spans = [{"days": d, "start": start, "end": end} for d, start, end in windows or [([Day.MONDAY], "09:00", "12:00")]]
    return {"enabled": True, "timezone": zone, "days": list(Day), "timeWindow": None, "timeWindows": spans}


WEEKS = {
    "an hour is skipped": ("America/New_York", date(2026, 3, 2)),
    "an hour is repeated": ("America/New_York", date(2026, 10, 26)),
    "midnight is skipped": ("America/Santiago", date(2026, 8, 31)),
    "half an hour": ("Australia/Lord_Howe", date(2026, 9, 28)),
    "no change": ("Asia/Seoul", date(2026, 3, 2)),
}
NIGHTS = [("21:00", "07:00"), ("01:30", "02:30"), ("23:30", "01:15"), ("09:00", "12:00")]


@pytest.mark.parametrize(("zone", "monday"), WEEKS.values(), ids=WEEKS)
@pytest.mark.parametrize(("start", "end"), NIGHTS)
def test_the_week_is_drawn_as_the_rules_judge_it(zone: str, monday: date, start: str, end: str) -> None:
    days = [Day.SATURDAY, Day.SUNDAY, Day.MONDAY]
    drawn = week(set_policy(zone, (days, start, end)), monday, now=datetime(2026, 3, 7, tzinfo=UTC))
    began = [datetime.fromisoformat(day["beginsAt"]) for day in drawn]
    spans = [
        (at + timedelta(minutes=block["begin"]), at + timedelta(minutes=block["end"]))
        for at, day in zip(began, drawn, strict=True)
        for block in day["restricted"]
    ]
    joined: list[tuple[datetime, datetime]] = []
    for begin, finish in spans:
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], finish)
        else:
            joined.append((begin, finish))
    window = Window(frozenset({5, 6, 0}), time.fromisoformat(start), time.fromisoformat(end))
    until = began[-1] + timedelta(minutes=drawn[-1]["minutes"])
    assert joined == Rule(ZoneInfo(zone), (window,)).spans(began[0], until)


def test_a_day_is_as_long_as_it_is_and_shows_where_the_clock_is_set() -> None:
    skipped = week(set_policy("America/New_York"), date(2026, 3, 2), now=datetime(2026, 3, 7, tzinfo=UTC))[6]
    repeated = week(set_policy("America/New_York"), date(2026, 10, 26), now=datetime(2026, 3, 7, tzinfo=UTC))[6]
    assert (skipped["minutes"], [(c["minute"], c["label"]) for c in skipped["changes"]]) == (
        1380,
        [(120, "02:00→03:00")],
    )
    assert (repeated["minutes"], [(c["minute"], c["label"]) for c in repeated["changes"]]) == (
        1500,
        [(120, "02:00→01:00")],
    )


def test_exceptions_and_violations_are_drawn_where_they_were_and_cut_at_midnight() -> None:
    now = datetime(2026, 3, 6, 16, tzinfo=UTC)
    violation = {"timestamp": "2026-03-05T14:30:00Z", "endedAt": "2026-03-05T15:30:00Z", "severity": "HIGH"}
    exception = {"startTime": "2026-03-06T12:00:00Z", "endTime": "2026-03-06T13:00:00Z", "status": "expired"}
    days = week(
        set_policy("Asia/Seoul"), date(2026, 3, 2), exceptions=[exception | {"reason": "late"}],
        violations=[violation], now=now,
    )  # fmt: skip
    assert [[(b["begin"], b["end"]) for b in day["violations"]] for day in days][3:5] == [[(1410, 1440)], [(0, 30)]]
    assert [(b["begin"], b["end"], b["title"]) for b in days[4]["released"]] == [(1260, 1320, "21:00–22:00 · late")]


def test_the_week_is_that_of_the_zones_calendar() -> None:
    sunday_evening = datetime(2026, 3, 8, 20, tzinfo=UTC)
    assert monday_of(sunday_evening, ZoneInfo("Asia/Seoul")) == date(2026, 3, 9)
    assert monday_of(sunday_evening, ZoneInfo("America/New_York")) == date(2026, 3, 2)
    assert format_instant(sunday_evening) == "2026-03-08T20:00:00Z"


def test_a_board_that_fails_begins_anew_and_looks_lost_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_AGAIN_S", 0)
    runs: list[bool] = []

    class Failing(Board):
        async def run(self) -> None:
            runs.append(self.lost_since is not None)
            if len(runs) == 1:
                raise KeyError("a defect")

    async def keep() -> None:
        api = PublicApi("http://127.0.0.1:1", "sk_nobody")
        board = Failing(api, ended=lambda: None)
        who = WhoAmI(role=Role.AGENT, vins=(), every_vehicle=True, agent_id=None, partner=None, expires_at=None)
        await sessions._keep(Desk(who, Role.AGENT, api, board))

    asyncio.run(keep())
    assert runs == [True, True]


def test_images_come_from_here_and_from_the_tile_server_that_was_set() -> None:
    url = "https://{s}.tiles.example/{z}/{x}/{y}.png"
    settings = ConsoleSettings(api_url="http://127.0.0.1:1/", console_tile_url=url)
    assert settings.api_url == "http://127.0.0.1:1"
    assert "img-src 'self' data: https://*.tiles.example;" in policy(settings.tile_origin)
    assert "img-src 'self' data:;" in policy(None)
    with pytest.raises(ValueError, match="http or https"):
        ConsoleSettings(api_url="http://127.0.0.1:1", console_tile_url="javascript:alert(1)")


LOOK = (CONSOLE / "static" / "look.css").read_text()
GROUNDS = ("ground", "pane", "raised", "chosen")
PAIRS = [(text, ground) for text in ("text", "dim") for ground in GROUNDS]
PAIRS += [
    (text, ground)
    for text in ("accent", "good", "warn", "bad", "high", "medium", "low", "rsa")
    for ground in ("pane", "raised", "chosen")
]
PAIRS += [("good", "good-ground"), ("warn", "warn-ground"), ("bad", "bad-ground"), ("accent-ink", "accent")]
PAIRS += [("map-name", "map-ground"), ("dim", "map-ground"), ("dim", "warn-ground"), ("dim", "bad-ground")]


def colours(theme: str) -> dict[str, str]:
    light, dark = (
        re.search(f"^{root} {{(.*?)^}}", LOOK, re.M | re.S) for root in (":root", r':root\[data-theme="dark"\]')
    )
    assert light is not None
    assert dark is not None
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light[1]))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark[1])) if theme == "dark" else {})


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_can_be_told_from_its_ground(theme: str, text: str, ground: str) -> None:
    known = colours(theme)
    lighter, darker = sorted((luminance(known[text]), luminance(known[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (known[text], known[ground])
