"""What the console decides by itself: texts, what is offered, and the week as it is drawn."""

import ast
import asyncio
import json
import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import api
from console import actions, night, sessions, texts
from console.actions import Subject
from console.board import Board
from console.guard import policy
from console.pages import operator
from console.public_api import ApiRefused, Json, PublicApi
from console.sessions import Desk, Session
from console.settings import ConsoleSettings
from console.watch import Watch
from console.week import monday_of, week
from rules import rsa, sos
from rules.curfew import Rule, Window
from schemas.access import Role, WhoAmI
from schemas.base import format_instant
from schemas.curfew import Day
from schemas.rsa import RsaStatus
from schemas.sos import SosStatus
from schemas.topics import LaneName

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
        "dispatchInfo": {"dispatched": False} | dict.fromkeys(SENT),
        "partner": "SAMSUNG_FIRE",
        "partnerTicketId": None,
        "provider": None,
        "serviceType": "TOWING",
        "locationTracking": {"breakdownLocation": None, "destination": None},
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


SENT = ("serviceType", "status", "provider", "unitNumber", "contactNumber", "estimatedArrival")
EXAMPLES = Path(api.__file__).parent / "examples"
ELSEWHERE = {"cid", "vin", "status", "agentId", "timestamp", "customerConsent", "provider.id", "costDetails.totalCost"}
"""What a form does not ask: the incident and the counselor say it, or it follows from the rest."""
SPELLINGS = {
    "costDetails.discountAmount": "costDetails.discount",
    "costDetails.paymentStatus": "costDetails.billingStatus",
    "customerFeedback.satisfactionRating": "customerFeedback.satisfaction",
}


def leaves(of: Json, base: str = "") -> set[str]:
    """Return the dotted names of what has a value; the two places as text, which the guide has both ways."""
    found: set[str] = set()
    for name, value in of.items():
        path = base + name
        inner = isinstance(value, dict) and not path.endswith("Location")
        found |= leaves(value, f"{path}.") if inner else {SPELLINGS.get(path, path)}
    return found


@pytest.mark.parametrize(
    ("action", "status", "example"),
    [
        ("close", "RESOLVED", "sos_closure_request"),
        ("dispatch_service", "CONNECTED", "sos_dispatch_request"),
        ("close", "COMPLETED", "rsa_closure_request"),
        ("complete", "ARRIVED", "rsa_partner_dispatch_completion_request"),
    ],
)
def test_a_form_asks_for_what_the_guides_request_has(action: str, status: str, example: str) -> None:
    asked = json.loads((EXAMPLES / f"{example}.json").read_text())
    of = subject(example[:3].upper(), status)
    form = actions.form_of(actions.named(of, action), of, actions.Choices((), ()))
    assert form is not None
    named = {one["name"] for one in form["fields"]}
    assert leaves(asked) - ELSEWHERE <= named


def test_the_company_that_came_is_told_where_it_is_another_than_was_known() -> None:
    of = subject("RSA", "COMPLETED")
    known = {"id": "PROV_001", "name": "FastTow", "phone": "02-1", "driver": {"name": "Kim", "phone": None}}
    of.incident["provider"] = known | {"vehicle": None}
    close = actions.named(of, "close")
    filled = {"provider.name": "FastTow", "provider.driver.name": "Kim"}
    assert "provider" not in close.request(of, filled).body
    other = close.request(of, filled | {"provider.driver.name": "Lee"}).body["provider"]
    assert other == known | {"driver": {"name": "Lee"}}


def test_what_was_used_is_told_one_by_one_and_the_total_follows() -> None:
    of = subject("RSA", "COMPLETED")
    said = {
        "serviceDetails.specialEquipment": "WHEEL_LIFT, DOLLY,",
        "costDetails.baseFee": 50000,
        "costDetails.discount": 1000,
    }
    body = actions.named(of, "close").request(of, said).body
    assert body["serviceDetails"] == {"specialEquipment": ["WHEEL_LIFT", "DOLLY"]}
    assert body["costDetails"] == {"baseFee": 50000, "discount": 1000, "totalCost": 49000}


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
    assert days[4]["released"][0]["utc"] == "2026-03-06 12:00:00 UTC – 2026-03-06 13:00:00 UTC"


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, second, tzinfo=UTC)


def window(*span: datetime) -> dict[str, Any]:
    return {"utc": dict(zip(("start", "end"), map(format_instant, span), strict=True))}


def released(start: datetime, end: datetime, status: str = "active") -> dict[str, Any]:
    return {
        "exceptionId": "exc_1", "startTime": format_instant(start), "endTime": format_instant(end), "status": status
    }  # fmt: skip


THIS_NIGHT, NEXT_NIGHT = (at(6, 13), at(6, 21)), (at(7, 13), at(7, 21))
NIGHTS_AT = {
    "hours before it": (None, THIS_NIGHT, [], at(6, 9), THIS_NIGHT),
    "more than a day before it": (None, THIS_NIGHT, [], at(5, 12, 59), None),
    "read before it began": (None, THIS_NIGHT, [], at(6, 16, 7, 5), (at(6, 16, 7, 5), at(6, 21))),
    "read hours ago within it": (THIS_NIGHT, NEXT_NIGHT, [], at(6, 20, 30), (at(6, 20, 30), at(6, 21))),
    "read within the one before": (THIS_NIGHT, NEXT_NIGHT, [], at(6, 21, 0), NEXT_NIGHT),
    "no window at all": (None, None, [], at(6, 16), None),
    "released for a while": (THIS_NIGHT, None, [released(at(6, 13), at(6, 17))], at(6, 16), (at(6, 17), at(6, 21))),
    "released all night": (THIS_NIGHT, None, [released(at(6, 13), at(6, 21))], at(6, 16), (at(6, 21), at(6, 21))),
    "released later": (
        THIS_NIGHT, None, [released(at(6, 19), at(6, 20), "scheduled")], at(6, 16), (at(6, 16), at(6, 19))
    ),
    "released twice": (
        THIS_NIGHT, None, [released(at(6, 17), at(6, 18), "scheduled"), released(at(6, 15), at(6, 17))], at(6, 16),
        (at(6, 18), at(6, 21)),
    ),
    "no more released": (
        THIS_NIGHT, None, [released(at(6, 13), at(6, 17), "cancelled")], at(6, 16), (at(6, 16), at(6, 21))
    ),
}  # fmt: skip


@pytest.mark.parametrize(("held", "following", "exceptions", "now", "left"), NIGHTS_AT.values(), ids=NIGHTS_AT)
def test_what_of_a_night_can_be_released_is_known_at_the_tap(
    held: night.Span | None,
    following: night.Span | None,
    exceptions: list[dict[str, Any]],
    now: datetime,
    left: night.Span | None,
) -> None:
    explained = {"window": held and window(*held), "nextWindow": following and window(*following)}
    assert night.tonight(explained, exceptions, now=now) == left


def test_a_night_is_released_until_a_round_time_or_its_end() -> None:
    assert night.choices(THIS_NIGHT, now=at(6, 9)) == [at(6, 14), at(6, 15), at(6, 16), at(6, 21)]
    assert night.choices((at(6, 18, 41, 30), at(6, 21)), now=at(6, 18, 41, 30)) == [
        at(6, 19, 45),
        at(6, 20, 45),
        at(6, 21),
    ]
    assert night.choices((at(6, 21), at(6, 21)), now=at(6, 18)) == []


def test_driving_is_allowed_until_the_exception_ends_or_the_night_does() -> None:
    explained = {"window": window(*THIS_NIGHT), "exceptionId": "exc_1"}
    assert night.released_until(explained, [released(at(6, 13), at(6, 17))]) == at(6, 17)
    assert night.released_until(explained, [released(at(6, 13), at(6, 23))]) == at(6, 21)
    assert night.released_until(explained | {"exceptionId": None}, []) == at(6, 21)


def process(name: str, minutes_silent: int = 0) -> dict[str, Any]:
    beat_at = format_instant(at(6, 12) - timedelta(minutes=minutes_silent))
    return {"name": name, "alive": not minutes_silent, "ready": True, "figures": {}, "beatAt": beat_at}


@pytest.mark.parametrize(
    ("processes", "shown"),
    [
        ([process("rules@vm:1", 1), process("rules@vm:2")], ["rules@vm:1", "rules@vm:2"]),
        ([process("rules@vm:1", 6), process("rules@vm:2")], ["rules@vm:2"]),
        ([process("rules@vm:1", 6), process("api@vm:2")], ["rules@vm:1", "api@vm:2"]),
        ([process("ingest-bulk@vm:1", 6), process("ingest-urgent@vm:2")], ["ingest-bulk@vm:1", "ingest-urgent@vm:2"]),
        ([process("ingest-bulk@vm:1", 6), process("ingest@vm:2")], ["ingest@vm:2"]),
        ([process("ingest@vm:1", 6), process("ingest-urgent@vm:2")], ["ingest@vm:1", "ingest-urgent@vm:2"]),
        (
            [process("ingest@vm:1", 6), *(process(f"ingest-{lane}@vm:2") for lane in LaneName)],
            [f"ingest-{lane}@vm:2" for lane in LaneName],
        ),
    ],
)
def test_a_process_that_ended_is_shown_until_another_does_its_work(
    processes: list[dict[str, Any]], shown: list[str]
) -> None:
    assert [one["name"] for one in operator.missed(processes, now=at(6, 12))] == shown


@pytest.mark.parametrize(
    ("alive", "ready", "standing_by", "words", "look"),
    [
        (True, True, False, "alive", "good"),
        (True, False, True, "standing by", ""),
        (True, False, False, "not ready", "warn"),
        (False, False, True, "silent", "bad"),
    ],
)
def test_a_worker_that_stands_by_is_nothing_to_worry_about(
    alive: bool,
    ready: bool,
    standing_by: bool,
    words: str,
    look: str,
) -> None:
    one = process("ingest-urgent@vm:1") | {"alive": alive, "ready": ready, "figures": {"standing_by": standing_by}}
    assert operator.shown(one)["state"] == {"text": words, "look": look}


def test_an_outage_is_a_gap_in_a_plot() -> None:
    samples = [{"at": format_instant(at(6, 12, 0, second)), "lag": second} for second in (0, 10, 50)]
    assert list(operator.points(samples, "lag")) == [
        ("2026-03-06T12:00:00Z", 0),
        ("2026-03-06T12:00:10Z", 10),
        ("2026-03-06T12:00:10Z", None),
        ("2026-03-06T12:00:50Z", 50),
    ]
    assert list(operator.points([], "lag")) == []


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


def test_a_session_lasts_an_hour_from_when_its_last_page_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody() -> None:
        api = PublicApi("http://127.0.0.1:1", "sk_nobody")
        who = WhoAmI(role=Role.AGENT, vins=(), every_vehicle=True, agent_id=None, partner=None, expires_at=None)
        desk = Desk(who, Role.AGENT, api, Board(api, ended=lambda: None))
        session = Session("name", desk, began_s=0, used_s=0)
        ended = lambda: None  # noqa: E731 - told apart by its identity
        session.opened(ended)
        monkeypatch.setattr("time.monotonic", lambda: 3 * 3600.0)
        assert not session.is_over(3 * 3600.0)
        session.closed(ended)
        assert [session.is_over(s) for s in (3 * 3600.0, 4 * 3600.0, 4 * 3600.0 + 1)] == [False, False, True]
        session.opened(ended)
        assert [session.is_over(s) for s in (12 * 3600.0, 12 * 3600.0 + 1)] == [False, True]

    asyncio.run(nobody())


def health(status: str, rules: str) -> dict[str, Any]:
    return {"status": status, "systems": {"rules": {"status": rules}}}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (health("HEALTHY", "OPERATIONAL"), None),
        (health("DEGRADED", "OPERATIONAL"), None),
        (health("DOWN", "OPERATIONAL"), "live.lost.worker"),
        (health("DOWN", "DOWN"), "live.lost.rules"),
        (health("DEGRADED", "DEGRADED"), "live.lost.rules"),
        (ApiRefused("not now", status=503), "live.lost.service"),
        (ApiRefused("nobody there"), "live.lost.long"),
        (ApiRefused("too often", status=429), None),
    ],
)
def test_a_board_is_live_only_while_the_service_is_well(answer: dict[str, Any] | ApiRefused, why: str | None) -> None:
    answers = [health("HEALTHY", "OPERATIONAL"), answer, health("HEALTHY", "OPERATIONAL")]
    seen: list[tuple[str | None, bool]] = []
    read_anew: list[None] = []

    class Service(PublicApi):
        async def get(self, _path: str, **_params: Any) -> Json:
            seen.append((watch.why, watch.lost_since is not None))
            if not answers:
                raise ApiRefused("no such key", status=401)
            said = answers.pop(0)
            if isinstance(said, ApiRefused):
                raise said
            return said

    service = Service("http://127.0.0.1:1", "sk_nobody")
    watch = Watch(service, every_s=0, unannounced=lambda: read_anew.append(None), turned=lambda: None)
    with pytest.raises(ApiRefused):
        asyncio.run(watch.run())
    assert seen == [("live.lost.long", True), (None, False), (why, why is not None), (None, False)]
    assert len(read_anew) == (why == "live.lost.rules")


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
