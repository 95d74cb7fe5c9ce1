"""A POST that is repeated under its Idempotency-Key has one effect and one answer."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api import idempotency
from api.routes import sos as sos_routes
from db.errors import Unavailable
from db.pool import Connection
from rules import retention
from schemas.access import Role
from tests.api import AGENT, PARTNER, VIN, Api, serving
from tests.contract.examples import guide
from tests.services.test_api_access import BODIES, ROUTES

SOS = f"/vehicles/{VIN}/sos"
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
TICKETS = "POST //api/v1/stream-tickets"
"""Each is for one stream, and kept nowhere in the clear: there is nothing to answer again."""
POSTS = [route for route in ROUTES if route.startswith("POST ") and route != TICKETS]


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        yield served


def post(api: Api, path: str, body: Any, key: str = KEY, **kwargs: Any) -> Any:
    headers = {"Idempotency-Key": key} | kwargs.pop("headers", {})
    return api.call("POST", path, body, headers=headers, **kwargs)


def place(route: str) -> str:
    path = route.split(" ")[1]
    path = path.replace("{vin}", VIN).replace("{partner}", PARTNER).replace("{agentId}", AGENT)
    return path.replace("{quarantineId}", "1")


def presses(api: Api) -> int:
    """Return how often SOS was pressed, by the timeline of the one incident."""
    status = api.call("GET", f"{SOS}/status")
    return len(status.json()["timeline"]) if status.status_code == 200 else 0


def is_replay(answer: Any) -> bool:
    return bool(answer.headers.get("idempotency-replayed") == "true")


def test_every_post_answers_a_repeated_request_again(api: Api) -> None:
    assert len(POSTS) >= 14
    for route in POSTS:
        first, again = (post(api, place(route), BODIES[route]) for _ in range(2))
        assert (first.status_code, first.text) == (again.status_code, again.text), route
        assert first.headers["content-type"] == again.headers["content-type"], route
        assert (is_replay(first), is_replay(again)) == (False, True), route


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "schlüssel", "a\tb"])
def test_every_post_refuses_a_key_that_is_none_and_names_the_header(api: Api, key: str) -> None:
    for route in POSTS:
        answer = api.call("POST", place(route), BODIES[route], headers={"Idempotency-Key": key.encode()})
        told = answer.json()
        assert (answer.status_code, told["code"]) == (422, "INVALID"), route
        assert [(one["place"], one["field"]) for one in told["errors"]] == [("header", "Idempotency-Key")], route


def test_a_repeated_press_has_no_second_effect_and_a_new_key_has(api: Api) -> None:
    answers = [post(api, SOS, {"urgency": "LOW"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.text for answer in answers}) == 1
    assert presses(api) == 1
    assert not is_replay(post(api, SOS, {"urgency": "LOW"}, key="another"))
    assert presses(api) == 2


def test_the_key_with_another_body_is_422(api: Api) -> None:
    assert post(api, SOS, {"urgency": "LOW"}).status_code == 201
    answer = post(api, SOS, {"urgency": "HIGH"})
    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert answer.json()["errors"][0] | {"message": ""} == {
        "field": "Idempotency-Key", "place": "header", "message": "",
    }  # fmt: skip
    assert post(api, SOS, {"urgency": "LOW"}, headers={"If-Match": "*"}).status_code == 422
    assert presses(api) == 1


def test_a_key_belongs_to_its_caller_and_its_path(api: Api) -> None:
    owner = api.add_key("sk_owner", Role.OWNER, vins=[VIN])
    assert post(api, SOS, {}).status_code == 201
    assert not is_replay(post(api, SOS, {}, token=owner))
    assert not is_replay(post(api, f"/vehicles/{VIN}/rsa/request", {}))
    assert presses(api) == 2


def test_what_the_caller_did_wrong_is_answered_the_same_again(api: Api) -> None:
    cid = "SOS_20260307_001"
    resolve = {"cid": cid}
    missing = post(api, f"{SOS}/resolve", resolve)
    assert missing.status_code == 404
    assert api.call("POST", SOS, {"cid": cid}).status_code == 201
    again = post(api, f"{SOS}/resolve", resolve)
    assert (again.status_code, again.text, is_replay(again)) == (404, missing.text, True)
    assert again.headers["content-type"] == "application/problem+json"
    assert api.call("GET", f"{SOS}/status").json()["status"] == "INITIATED"
    assert post(api, f"{SOS}/resolve", resolve, key="another").status_code == 200


@pytest.mark.parametrize(("fault", "status"), [(RuntimeError("defect"), 500), (Unavailable[0]("lost"), 503)])
def test_a_fault_of_ours_is_not_kept_and_leaves_no_effect(
    api: Api, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        # After the press, before the answer.
        patch.setattr(sos_routes.answers, "incident_response", fail)
        assert post(api, SOS, {}).status_code == status
    assert presses(api) == 0
    answer = post(api, SOS, {})
    assert (answer.status_code, is_replay(answer)) == (201, False)
    assert presses(api) == 1


def test_effect_and_answer_are_kept_together_or_not_at_all(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unavailable[0]("lost")

    with monkeypatch.context() as patch:
        patch.setattr(idempotency.idempotency, "keep", fail)
        assert post(api, SOS, {}).status_code == 503
    assert presses(api) == 0
    assert post(api, SOS, {}).status_code == 201
    assert presses(api) == 1


def test_while_the_first_is_running_the_second_is_told_to_come_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    press = sos_routes.apply.press_in_app

    def slow(*args: Any, **kwargs: Any) -> str:
        begun.set()
        assert go_on.wait(10)
        return press(*args, **kwargs)

    monkeypatch.setattr(sos_routes.apply, "press_in_app", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, api, SOS, {})
        assert begun.wait(10)
        second = post(api, SOS, {})
        go_on.set()
        assert first.result().status_code == 201
    assert (second.status_code, second.json()["code"]) == (409, "IDEMPOTENCY_KEY_RUNNING")
    assert int(second.headers["retry-after"]) > 0
    assert is_replay(post(api, SOS, {}))


def test_many_at_once_have_one_effect(api: Api) -> None:
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda _: post(api, SOS, {}), range(48)))
    told = {answer.text for answer in answers if answer.status_code == 201}
    assert len(told) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum(answer.status_code == 201 and not is_replay(answer) for answer in answers) == 1
    assert presses(api) == 1


def test_after_a_day_the_key_is_new_and_the_old_answer_is_pruned(api: Api, conn: Connection) -> None:
    def grow_old() -> None:
        conn.execute("UPDATE idempotent_answers SET answered_at = answered_at - interval '24 hours'")
        conn.commit()

    assert post(api, SOS, {}).status_code == 201
    grow_old()
    answer = post(api, SOS, {"description": "smoke"})
    assert (answer.status_code, is_replay(answer)) == (201, False)
    assert presses(api) == 2
    retention.prune(conn, datetime.now(UTC), terms=retention.Terms())
    assert conn.execute("SELECT count(*) FROM idempotent_answers").fetchone() == (1,)
    retention.prune(conn, datetime.now(UTC) + timedelta(hours=25), terms=retention.Terms())
    assert conn.execute("SELECT count(*) FROM idempotent_answers").fetchone() == (0,)


def test_a_key_costs_nothing_where_none_is_given(api: Api, conn: Connection) -> None:
    body = guide("sos_incident_request")
    assert [api.call("POST", SOS, body).status_code for _ in range(2)] == [201, 201]
    assert conn.execute("SELECT count(*) FROM idempotent_answers").fetchone() == (0,)
    assert presses(api) == 2
