"""Two agents at one incident: who changes it by what he read is told when somebody else was first."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from db.pool import Connection
from tests.api import AGENT, OTHER_VIN, PARTNER, VIN, Api, serving

SOS_CID, RSA_CID = "SOS_20260307_001", "RSA_20260307_001"
SOS, RSA = f"/vehicles/{VIN}/sos", f"/vehicles/{VIN}/rsa"
MOVES: dict[str, tuple[str, dict[str, Any]]] = {
    f"{SOS}/dispatch": (SOS_CID, {"serviceType": "POLICE"}),
    f"{SOS}/resolve": (SOS_CID, {}),
    f"{SOS}/cancel": (SOS_CID, {}),
    f"{SOS}/close": (SOS_CID, {"result": "OTHER"}),
    f"{RSA}/dispatch": (RSA_CID, {"partner": PARTNER, "serviceType": "TOWING"}),
    f"{RSA}/cancel": (RSA_CID, {}),
    f"{RSA}/close": (RSA_CID, {"result": "NOT_COMPLETED"}),
}


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(database_url) as served:
        assert served.call("POST", SOS, {"cid": SOS_CID}).status_code == 201
        assert served.call("POST", f"{RSA}/request", {"cid": RSA_CID}).status_code == 201
        yield served


def read(api: Api, path: str) -> tuple[str, str]:
    """Return (ETag, status) of the incident that this path changes."""
    answer = api.call("GET", f"{path.rsplit('/', 1)[0]}/status")
    return answer.headers["etag"], answer.json()["status"]


def change(api: Api, path: str, if_match: str | None) -> Any:
    cid, body = MOVES[path]
    headers = {} if if_match is None else {"If-Match": if_match}
    return api.call("POST", path, {"cid": cid} | body, headers=headers)


@pytest.mark.parametrize("path", MOVES)
def test_a_change_by_what_was_read_before_somebody_elses_is_412(api: Api, path: str) -> None:
    tag, _ = read(api, path)
    # Somebody presses again, or asks again.
    again = path.rsplit("/", 1)[0] if "/sos/" in path else f"{RSA}/request"
    assert api.call("POST", again, {}).status_code == 201
    present, status = read(api, path)
    assert present != tag
    for stale in (tag, f"W/{present}", "nonsense", '"a", "b"'):
        answer = change(api, path, stale)
        assert (answer.status_code, answer.json()["code"]) == (412, "STALE"), stale
    assert read(api, path) == (present, status)
    assert change(api, path, f'"other", {present}').status_code == 200
    assert read(api, path)[0] != present


@pytest.mark.parametrize("path", MOVES)
@pytest.mark.parametrize("if_match", [None, "*"])
def test_without_an_etag_the_present_version_is_changed(api: Api, path: str, if_match: str | None) -> None:
    assert change(api, path, if_match).status_code == 200


def test_the_etag_stays_while_nothing_changes(api: Api) -> None:
    assert read(api, f"{SOS}/close") == read(api, f"{SOS}/close")


@pytest.mark.parametrize("path", [f"{SOS}/close", f"{RSA}/close"])
def test_of_many_who_read_the_same_one_closes_and_the_others_are_told(api: Api, conn: Connection, path: str) -> None:
    tag, _ = read(api, path)
    with ThreadPoolExecutor(8) as agents:
        statuses = sorted(answer.status_code for answer in agents.map(lambda _: change(api, path, tag), range(8)))
    assert statuses == [200] + [412] * 7
    assert conn.execute("SELECT count(*) FROM events WHERE type LIKE '%CLOSED'").fetchone() == (1,)


def test_a_counselors_list_is_paged(api: Api, conn: Connection) -> None:
    assert api.call("POST", f"/vehicles/{OTHER_VIN}/sos", {"urgency": "LOW"}).status_code == 201
    conn.execute("UPDATE sos_incidents SET agent_id = %s", (AGENT,))
    conn.commit()
    listed = api.call("GET", f"/sos/agents/{AGENT}/incidents", params={"limit": 1, "offset": 1}).json()
    assert [incident["vin"] for incident in listed["activeIncidents"]] == [OTHER_VIN]
    assert listed["pagination"] == {"total": 2, "limit": 1, "offset": 1, "hasMore": False}
    assert (listed["total"], listed["summary"]["lowUrgency"], listed["summary"]["highUrgency"]) == (2, 1, 1)
