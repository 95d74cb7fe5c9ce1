"""Who may see what: generated from the routes, so that a new route is covered or fails here."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx
import pytest
from fastapi import Depends
from fastapi.routing import iter_route_contexts

from api.access import Action
from api.app import check_rules, create_app
from api.deps import Rule
from api.settings import ApiSettings
from db import events
from db.events import NewEvent
from db.pool import connect
from schemas import curfew
from schemas.access import Role
from stack.server import wait_until
from tests.api import (
    AGENT,
    BASE,
    KEY_SECRET,
    MANY,
    OPERATOR,
    OTHER_PARTNER,
    OTHER_VIN,
    PARTNER,
    VIN,
    Api,
    serving,
    streaming,
)
from tests.contract.examples import guide
from tests.services.test_api_tokens import KEY, key_set, trusting
from tests.services.test_api_tokens import token as jwt_of
from tests.unit.test_access_docs import DOCUMENT

UNKNOWN_VIN = "KMHSH81C7LU999999"
WITHOUT = {"owner": Role.OWNER, "guardian": Role.GUARDIAN, "driver": Role.DRIVER, "agent": Role.AGENT}

CURFEW = "//api/v1/childcare/vehicles/{vin}/curfew"
"""Two slashes: not relative to the base path of SOS and RSA."""

BODIES: dict[str, Any] = {
    "GET /vehicles/{vin}/sos/status": None,
    "GET /vehicles/{vin}/sos/history": None,
    "POST /vehicles/{vin}/sos": guide("sos_incident_request"),
    "POST /vehicles/{vin}/sos/take": {"cid": "SOS_20260307_001", "agentId": AGENT},
    "POST /vehicles/{vin}/sos/call": {"cid": "SOS_20260307_001", "status": "CONNECTED"},
    "POST /vehicles/{vin}/sos/dispatch": {"cid": "SOS_20260307_001", "serviceType": "POLICE"},
    "POST /vehicles/{vin}/sos/resolve": {"cid": "SOS_20260307_001"},
    "POST /vehicles/{vin}/sos/cancel": {"cid": "SOS_20260307_001"},
    "POST /vehicles/{vin}/sos/close": guide("sos_closure_request"),
    "GET /vehicles/{vin}/rsa/status": None,
    "GET /vehicles/{vin}/rsa/history": None,
    "POST /vehicles/{vin}/rsa/request": {"serviceType": "TOWING"},
    "POST /vehicles/{vin}/rsa/dispatch": guide("rsa_dispatch_request"),
    "POST /vehicles/{vin}/rsa/cancel": {"cid": "RSA_20260307_001"},
    "POST /vehicles/{vin}/rsa/close": guide("rsa_closure_request"),
    "POST /partners/{partner}/dispatch/confirm": guide("rsa_partner_dispatch_confirmation_request"),
    "POST /partners/{partner}/dispatch/location": {"cid": "RSA_20260307_001", "status": "EN_ROUTE"},
    "POST /partners/{partner}/service/complete": guide("rsa_partner_dispatch_completion_request"),
    "GET /sos/agents/{agentId}/incidents": None,
    "PUT /sos/agents/{agentId}/availability": {"availability": "AVAILABLE"},
    "GET /sos/events": None,
    "GET /rsa/events": None,
    "GET /sos/system/health": None,
    "POST /sos/system/test": {"testVehicle": {"vin": VIN}, "testScenarios": ["VOICE_CONNECT"]},
    "GET /sos/stats": None,
    "GET /rsa/stats": None,
    "GET /sos/agents/{agentId}/performance": None,
    "GET /rsa/agents/{agentId}/performance": None,
    f"GET {CURFEW}/policy": None,
    f"PUT {CURFEW}/policy": guide("curfew_policy_setting"),
    f"POST {CURFEW}/exception": guide("curfew_exception_setting"),
    f"GET {CURFEW}/exceptions": None,
    f"DELETE {CURFEW}/exceptions/{{exceptionId}}": None,
    f"GET {CURFEW}/violations": None,
    f"GET {CURFEW}/statistics": None,
    f"GET {CURFEW}/explain": None,
    f"POST {CURFEW}/dry-run": guide("curfew_policy_setting"),
    f"GET {CURFEW}/events": None,
    "GET //api/v1/childcare/vehicles/{vin}/commands": None,
    "GET //api/v1/childcare/vehicles/{vin}/consents": None,
    "PUT //api/v1/childcare/vehicles/{vin}/consents": {"granted": True},
    "GET //api/v1/childcare/curfew/events": None,
    "GET //api/v1/childcare/curfew/templates": None,
    "GET //api/v1/me": None,
    "POST //api/v1/stream-tickets": None,
    "GET /incidents": None,
    "GET /sos/agents": None,
    "GET /partners": None,
    "GET //api/v1/vehicles": None,
    "GET //api/v1/vehicles/{vin}/track": None,
    "GET //api/v1/vehicles/{vin}/telemetry": None,
    "GET //api/v1/vehicles/{vin}/trips": None,
    "GET //api/v1/vehicles/{vin}/latest": None,
    "GET //api/v1/operations/quarantine": None,
    "POST //api/v1/operations/quarantine/{quarantineId}/replay": None,
    "GET //api/v1/operations/processes": None,
    "GET //api/v1/operations/history": None,
}
"""A good body for each route that asks for a key."""

OPEN = {"/livez", "/readyz", "/metrics", "/docs", "/docs/start.js", "/docs/{name}", "/openapi.json"}
"""Routes that tell nothing of anybody."""


def routes() -> list[str]:
    app = create_app(ApiSettings(database_url="postgresql://localhost/none", key_secret=KEY_SECRET))
    found = [
        f"{method} {route.path.removeprefix(BASE) if route.path.startswith(BASE) else '/' + route.path}"
        for route in iter_route_contexts(app.routes)
        if route.path not in OPEN
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]
    assert len(found) >= 16, "the routes were not found"
    return found


ROUTES = routes()
VEHICLE_ROUTES = [route for route in ROUTES if "{vin}" in route]


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def filled(route: str, *, vin: str = VIN, partner: str = PARTNER) -> tuple[str, str]:
    method, path = route.split(" ")
    path = path.replace("{vin}", vin).replace("{partner}", partner).replace("{agentId}", AGENT)
    return method, path.replace("{exceptionId}", "exc_001").replace("{quarantineId}", "1")


def body_of(route: str, *, cids: tuple[str, str] | None = None) -> Any:
    """Return a good body, which speaks of these incidents, SOS and RSA, where it speaks of any."""
    body = BODIES[route]
    if body is None:
        return None
    body = {name: value for name, value in body.items() if name != "vin"}
    if cids is not None and "cid" in body:
        body["cid"] = cids[0] if body["cid"].startswith("SOS") else cids[1]
    return body


def ask(
    api: Api,
    route: str,
    *,
    token: str | None,
    vin: str = VIN,
    partner: str = PARTNER,
    cids: tuple[str, str] | None = None,
) -> Any:
    method, path = filled(route, vin=vin, partner=partner)
    return api.call(method, path, body_of(route, cids=cids), token=token)


def told(response: Any) -> dict[str, Any]:
    return {name: value for name, value in response.json().items() if name != "requestId"}


def test_a_key_without_the_vehicle_is_answered_as_if_the_vehicle_were_unknown(api: Api) -> None:
    tokens = [api.add_key(f"sk_{name}", role, vins=[OTHER_VIN]) for name, role in WITHOUT.items()]
    tokens.append(api.add_key("sk_partner", Role.PARTNER, partner=PARTNER, every_vehicle=True))
    tokens.append(api.add_key("sk_analyst", Role.ANALYST, every_vehicle=True))
    for route in VEHICLE_ROUTES:
        unknown = ask(api, route, token=OPERATOR, vin=UNKNOWN_VIN)
        assert unknown.status_code == 404, route
        for token in tokens:
            answer = ask(api, route, token=token)
            assert (answer.status_code, told(answer)) == (404, told(unknown)), (route, token)


def test_a_key_without_the_vehicle_is_refused_before_its_body_is_looked_at(api: Api) -> None:
    token = api.add_key("sk_owner", Role.OWNER, vins=[OTHER_VIN])
    for route in VEHICLE_ROUTES:
        method, path = route.split(" ")
        assert api.call(method, path.replace("{vin}", VIN), {}, token=token).status_code == 404, route


@pytest.mark.parametrize("vin", ["KMHSH81C7LU12345", "kmhsh81c7lu123456", "%00MHSH81C7LU12345", "%F0%9F%9A%97"])
def test_a_text_that_is_no_vin_is_an_unknown_vehicle(api: Api, vin: str) -> None:
    for route in VEHICLE_ROUTES:
        assert ask(api, route, token=OPERATOR, vin=vin).status_code == 404, route


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    """One connection for hundreds of requests."""
    with httpx.Client(base_url=api.url, verify=False, timeout=30) as kept:  # noqa: S501 - plain http
        yield kept


def answered(
    client: httpx.Client, route: str, *, token: str | None, cids: tuple[str, str] | None = None, **place: str
) -> tuple[int, str]:
    """Return status and text of an answer; of a stream that opens, only its status."""
    method, path = filled(route, **place)
    path = path.removeprefix("/") if path.startswith("//") else BASE + path
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with client.stream(method, path, json=body_of(route, cids=cids), headers=headers) as answer:
        opened = answer.headers["content-type"].startswith("text/event-stream")
        return answer.status_code, "" if opened else answer.read().decode()


def test_every_route_refuses_who_proves_nothing(database_url: str, tmp_path: Path) -> None:
    keys_file = tmp_path / "keys.json"
    keys_file.write_text(key_set(first=KEY.public_key()))
    with serving(database_url, **trusting(str(keys_file))) as api:
        past = datetime.now(UTC) - timedelta(seconds=1)
        api.add_key("sk_gone", Role.OPERATOR, every_vehicle=True)
        api.revoke("sk_gone")
        refused = {
            None: "KEY_MISSING",
            "sk_nobody": "KEY_UNKNOWN",
            api.add_key("sk_old", Role.OPERATOR, every_vehicle=True, expires_at=past): "KEY_EXPIRED",
            "sk_gone": "KEY_REVOKED",
            jwt_of(exp=int(time.time()) - 60): "TOKEN_EXPIRED",
            jwt_of(aud="another"): "TOKEN_AUDIENCE",
        }
        with httpx.Client(base_url=api.url, verify=False, timeout=30) as client:  # noqa: S501 - plain http
            for route in ROUTES:
                for token, code in refused.items():
                    status, text = answered(client, route, token=token)
                    assert (status, json.loads(text)["code"]) == (401, code), route


def documented() -> dict[str, set[str]]:
    """Return the roles that docs/access.md lets ask each route, as `METHOD /path`."""
    found = {}
    for line in DOCUMENT.read_text().split("<!-- actions -->")[1].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(Role) + 2 and cells[0] != "action":
            roles = {role for role, mark in zip(Role, cells[1:-1], strict=True) if mark == "yes"}
            found |= {route: roles for route in cells[-1].split("<br>") if route}
    return found


def in_document(route: str) -> str:
    method, path = route.split(" ")
    path = path.removeprefix("/") if path.startswith("//") else BASE + path
    return f"{method} {path.removeprefix('/api/v1')}"


def test_every_route_lets_in_the_roles_that_are_documented_and_no_other(api: Api, client: httpx.Client) -> None:
    """With every vehicle and as the partner asked for, so that nothing but the role decides."""
    rights: dict[Role, Any] = {role: {"every_vehicle": True} for role in Role} | {Role.PARTNER: {"partner": PARTNER}}
    tokens = {role: api.add_key(f"sk_{role}", role, **rights[role]) for role in Role}
    allowed = documented()
    for route in ROUTES:
        for role, token in tokens.items():
            found, _ = answered(client, route, token=token)
            if role in allowed[in_document(route)]:
                assert found not in {401, 403, 429}, (route, role)
            else:
                assert found in {403, 404}, (route, role)


def test_nothing_of_a_vehicle_or_dispatch_comes_to_strangers(api: Api, client: httpx.Client) -> None:
    """Whatever they ask for, also with the right numbers of what they may not see."""
    sos = ask(api, "POST /vehicles/{vin}/sos", token=OPERATOR).json()["cid"]
    rsa = ask(api, "POST /vehicles/{vin}/rsa/request", token=OPERATOR).json()["cid"]
    sending = {"cid": rsa, "partner": PARTNER, "serviceType": "TOWING"}
    assert api.call("POST", f"/vehicles/{VIN}/rsa/dispatch", sending).status_code == 200
    strangers = [api.add_key(f"sk_{name}", role, vins=[OTHER_VIN]) for name, role in WITHOUT.items()]
    strangers.append(api.add_key("sk_other_partner", Role.PARTNER, partner=OTHER_PARTNER))
    strangers.append(api.add_key("sk_analyst", Role.ANALYST, every_vehicle=True))
    before = told_by_people(api)
    for route in ROUTES:
        if route.endswith("/events"):
            continue  # the next test
        for token in strangers:
            for vin in (VIN, OTHER_VIN) if "{vin}" in route else (VIN,):
                for partner in (PARTNER, OTHER_PARTNER) if "{partner}" in route else (PARTNER,):
                    place = {"vin": vin, "partner": partner}
                    status, text = answered(client, route, token=token, cids=(sos, rsa), **place)
                    for secret in (VIN, sos, rsa):
                        told_back = secret in {sos, rsa} and status in {404, 409}  # as it was asked for
                        assert secret not in text.replace(OTHER_VIN, "") or told_back, (route, token, secret)
    assert told_by_people(api) == before


def test_nothing_comes_to_strangers_on_any_stream(api: Api) -> None:
    """Each opens every stream, also the vehicle's own; what an operator has received by then, they have not."""
    streams = [route for route in ROUTES if route.endswith("/events")]
    rights: dict[str, Any] = {name: {"role": role, "vins": [OTHER_VIN]} for name, role in WITHOUT.items()}
    rights |= {"partner": {"role": Role.PARTNER, "partner": OTHER_PARTNER}, "analyst": {"role": Role.ANALYST}}
    strangers = [api.add_key(f"sk_{name}", streams=MANY, **given) for name, given in rights.items()]
    asked = [
        (filled(route, vin=vin)[1], token)
        for route in streams
        for token in strangers
        for vin in ((VIN, OTHER_VIN) if "{vin}" in route else (VIN,))
    ]
    answers: SimpleQueue[int] = SimpleQueue()

    def listen(path: str, token: str) -> str:
        """Return all that comes until the stream ends, or why it does not begin."""
        url = api.url + (path.removeprefix("/") if path.startswith("//") else BASE + path)
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.stream("GET", url, headers=headers, timeout=60, verify=False) as answer:  # noqa: S501 - plain http
            answers.put(answer.status_code)
            return answer.read().decode()

    with ThreadPoolExecutor(len(asked)) as threads, ExitStack() as opened:
        heard = [threads.submit(listen, *one) for one in asked]
        try:
            statuses = Counter(answers.get(timeout=30) for _ in asked)
            paths = [filled(route)[1].replace("//api/v1", "/..") for route in streams]
            seeing = [opened.enter_context(streaming(api, path)) for path in paths]
            now = datetime.now(UTC)
            with connect(api.database_url, name="tests") as conn:
                for service in ("SOS", "RSA", curfew.SERVICE):
                    said = {"vin": VIN, "data": {"mark": "not yours"}}
                    events.append(conn, NewEvent(service, "T", "HIGH", VIN, now, said, cid="C", partner=PARTNER))
            api.sequence()
            for stream in seeing:
                assert "not yours" in str(stream.take(1)), stream
        finally:
            for token in strangers:
                api.revoke(token)  # which ends what they have opened
        for (path, token), one in zip(asked, heard, strict=True):
            assert VIN not in one.result(timeout=30), (path, token)
            assert "not yours" not in one.result(), (path, token)
    assert set(statuses) == {200, 403, 404}
    assert statuses[200] >= len(WITHOUT) * (len(streams) - 1), "who has another vehicle may listen for it"


def test_a_revoked_key_lets_nobody_ask_any_more_within_five_seconds(api: Api) -> None:
    token = api.add_key("sk_soon_gone", Role.OWNER, vins=[VIN])
    assert ask(api, "GET /vehicles/{vin}/sos/history", token=token).status_code == 200
    api.revoke(token)
    revoked_at_s = time.monotonic()
    wait_until(lambda: ask(api, "GET /vehicles/{vin}/sos/history", token=token).status_code == 401, wait_s=30)
    assert time.monotonic() - revoked_at_s < 5


def test_a_route_without_an_access_rule_or_with_two_does_not_start() -> None:
    app = create_app(ApiSettings(database_url="postgresql://localhost/none", key_secret=KEY_SECRET))
    check_rules(app)

    @app.get("/api/v1/forgotten")
    def forgotten() -> None:
        """Nobody said who may."""

    with pytest.raises(TypeError, match="expected one access rule of /api/v1/forgotten, not 0"):
        check_rules(app)
    app = create_app(ApiSettings(database_url="postgresql://localhost/none", key_secret=KEY_SECRET))
    both = [Depends(Rule(Action.READ_HEALTH)), Depends(Rule(Action.OPERATE))]
    app.get("/api/v1/undecided", dependencies=both)(forgotten)
    with pytest.raises(TypeError, match="expected one access rule of /api/v1/undecided, not 2"):
        check_rules(app)


def told_by_people(api: Api) -> list[list[dict[str, Any]]]:
    """Return the timelines of SOS and RSA; the queue may have given the SOS to a counselor who became free."""
    answers = [api.call("GET", f"/vehicles/{VIN}/{service}/status").json() for service in ("sos", "rsa")]
    return [[entry for entry in answer["timeline"] if entry["actor"] != "SYSTEM"] for answer in answers]


@pytest.mark.parametrize("role", [Role.OWNER, Role.GUARDIAN, Role.DRIVER])
def test_who_has_the_vehicle_reads_and_asks_for_help_but_does_not_handle(api: Api, role: Role) -> None:
    token = api.add_key("sk_holder", role, vins=[VIN])
    assert ask(api, "POST /vehicles/{vin}/sos", token=token).status_code == 201
    assert ask(api, "GET /vehicles/{vin}/sos/status", token=token).status_code == 200
    assert ask(api, "GET /vehicles/{vin}/sos/history", token=token).status_code == 200
    assert ask(api, "POST /vehicles/{vin}/sos/close", token=token).status_code == 403
    assert ask(api, "POST /vehicles/{vin}/rsa/request", token=token).status_code == 201
    assert ask(api, "GET /vehicles/{vin}/rsa/status", token=token).status_code == 200
    assert ask(api, "POST /vehicles/{vin}/rsa/dispatch", token=token).status_code == 403
    assert ask(api, "POST /vehicles/{vin}/rsa/close", token=token).status_code == 403
    assert ask(api, "GET /sos/agents/{agentId}/incidents", token=token).status_code == 403
    assert ask(api, "PUT /sos/agents/{agentId}/availability", token=token).status_code == 403


OWN_CURFEW = {
    f"PUT {CURFEW}/policy": {Role.OWNER, Role.GUARDIAN},
    f"POST {CURFEW}/exception": {Role.OWNER, Role.GUARDIAN},
    f"DELETE {CURFEW}/exceptions/{{exceptionId}}": {Role.OWNER, Role.GUARDIAN},
    f"POST {CURFEW}/dry-run": {Role.OWNER, Role.GUARDIAN},
    f"GET {CURFEW}/policy": {Role.OWNER, Role.GUARDIAN, Role.DRIVER},
    f"GET {CURFEW}/exceptions": {Role.OWNER, Role.GUARDIAN, Role.DRIVER},
    f"GET {CURFEW}/explain": {Role.OWNER, Role.GUARDIAN, Role.DRIVER},
    "GET //api/v1/childcare/vehicles/{vin}/consents": {Role.OWNER, Role.GUARDIAN, Role.DRIVER},
    "PUT //api/v1/childcare/vehicles/{vin}/consents": {Role.DRIVER},
    f"GET {CURFEW}/violations": {Role.OWNER, Role.GUARDIAN, Role.DRIVER, Role.AGENT},
    f"GET {CURFEW}/statistics": {Role.OWNER, Role.GUARDIAN, Role.DRIVER, Role.AGENT},
}
"""Who of those that have the vehicle may do what with its curfew; the operator may do all of it."""


def test_guardian_and_owner_set_the_curfew_the_driver_consents_and_a_counselor_sees_violations(api: Api) -> None:
    tokens = {role: api.add_key(f"sk_{name}", role, vins=[VIN]) for name, role in WITHOUT.items()}
    for route, allowed in OWN_CURFEW.items():
        refused = {role for role, token in tokens.items() if ask(api, route, token=token).status_code == 403}
        assert refused == set(tokens) - allowed, route
        assert ask(api, route, token=OPERATOR).status_code != 403, route


def test_a_partner_speaks_for_itself_only(api: Api) -> None:
    token = api.add_key("sk_partner", Role.PARTNER, partner=PARTNER)
    agent = api.add_key("sk_agent", Role.AGENT, every_vehicle=True)
    for route in (route for route in ROUTES if "{partner}" in route):
        assert ask(api, route, token=token, partner=OTHER_PARTNER).json()["detail"] == "there is no such partner"
        assert ask(api, route, token=agent).json()["detail"] == "there is no such partner"
        assert ask(api, route, token=token).json()["detail"] == f"{PARTNER} has no dispatch RSA_20260307_001"


def test_a_counselor_acts_in_no_other_counselors_name(api: Api) -> None:
    token = api.add_key("sk_agent", Role.AGENT, every_vehicle=True, agent_id=AGENT)
    assert api.call("GET", f"/sos/agents/{AGENT}/incidents", token=token).status_code == 200
    assert api.call("GET", "/sos/agents/AGENT_002/incidents", token=token).status_code == 404
    assert (
        api.call("PUT", "/sos/agents/AGENT_002/availability", {"availability": "BUSY"}, token=token).status_code == 404
    )
    closing = guide("sos_closure_request") | {"agentId": "AGENT_002"}
    assert api.call("POST", f"/vehicles/{VIN}/sos/close", closing, token=token).status_code == 403


def test_a_counselors_list_leaves_out_vehicles_that_the_key_has_not(api: Api) -> None:
    assert api.call("PUT", f"/sos/agents/{AGENT}/availability", {"availability": "AVAILABLE"}).status_code == 200
    assert ask(api, "POST /vehicles/{vin}/sos", token=OPERATOR).status_code == 201
    token = api.add_key("sk_agent", Role.AGENT, vins=[OTHER_VIN], agent_id=AGENT)
    assert api.call("GET", f"/sos/agents/{AGENT}/incidents", token=token).json()["total"] == 0
    assert api.call("GET", f"/sos/agents/{AGENT}/incidents").json()["total"] == 1


def test_only_the_operator_sees_the_operation(api: Api) -> None:
    tokens = [api.add_key(f"sk_{role}", role, every_vehicle=True) for role in Role if role is not Role.OPERATOR]
    found = [route for route in ROUTES if "/operations/" in route]
    assert len(found) == 4
    for route in found:
        assert {ask(api, route, token=token).status_code for token in tokens} == {403}, route
        assert ask(api, route, token=OPERATOR).status_code in {200, 404}, route


def test_an_analyst_gets_no_personal_data(api: Api) -> None:
    token = api.add_key("sk_analyst", Role.ANALYST, every_vehicle=True)
    allowed = [route for route in ROUTES if ask(api, route, token=token).status_code < 400]
    assert allowed == ["GET /sos/system/health", "GET //api/v1/childcare/curfew/templates", "GET //api/v1/me"]
