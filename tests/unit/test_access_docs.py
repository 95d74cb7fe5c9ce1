"""docs/access.md says who may do what as `api/access.py` decides it."""

from collections import defaultdict
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api.access import MAY, Action
from api.app import OPEN, check_rules, create_app
from api.deps import rules_of
from api.settings import ApiSettings
from schemas.access import Role
from tests.api import KEY_SECRET

DOCUMENT = Path(__file__).parents[2] / "docs" / "access.md"


def application() -> FastAPI:
    return create_app(ApiSettings(database_url="postgresql://localhost/none", key_secret=KEY_SECRET))


def table() -> str:
    routes: dict[Action, list[str]] = defaultdict(list)
    for route in iter_route_contexts(application().routes):
        if route.path not in OPEN:
            (rule,) = rules_of(route.dependant)
            path = str(route.path).removeprefix("/api/v1")
            routes[rule.action] += [f"{method} {path}" for method in sorted(route.methods or set())]
    lines = [f"| action | {' | '.join(Role)} | routes below `/api/v1` |", f"|---|{'---|' * len(Role)}---|"]
    for action in Action:
        marks = " | ".join("yes" if role in MAY[action] else "" for role in Role)
        lines.append(f"| {action} | {marks} | {'<br>'.join(sorted(routes[action]))} |")
    return "\n".join(lines)


def test_the_table_of_roles_and_actions_is_what_is_decided() -> None:
    told = DOCUMENT.read_text().split("<!-- actions -->")[1].split("<!-- /actions -->")[0]
    assert told.strip() == table()


def test_every_action_is_decided_on() -> None:
    assert set(MAY) == set(Action)


def test_a_route_without_an_access_rule_does_not_start() -> None:
    app = application()

    @app.get("/api/v1/safety/secrets")
    def get_secrets() -> str:
        return "for everybody"

    with pytest.raises(TypeError, match="/api/v1/safety/secrets"):
        check_rules(app)
