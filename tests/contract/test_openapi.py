"""Requests made from the OpenAPI document: none is answered with a fault, nor otherwise than the document says."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from api.app import create_app
from api.settings import ApiSettings
from tests.api import AGENT, KEY_SECRET, OPERATOR, PARTNER, VIN, Api, serving


def document() -> dict[str, Any]:
    """Return the document without its security: each request brings a key, and who needs one is held elsewhere."""
    told = create_app(ApiSettings(database_url="postgresql://localhost/none", key_secret=KEY_SECRET)).openapi()
    for operations in told["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    return told


SCHEMA = schemathesis.openapi.from_dict(document()).exclude(path_regex=r"/events$")  # streams have no end


@schemathesis.check
def rejects_negative_data(ctx: schemathesis.CheckContext, response: schemathesis.Response, case: Case) -> bool | None:
    """Fail where bad data was taken; a number or truth value in another JSON type that means the same is not bad."""
    try:
        return checks.negative_data_rejection(ctx, response, case)
    except AcceptedNegativeData as failure:
        if "Incorrect type" in failure.message:
            return None
        raise


CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    rejects_negative_data,
]
HEADERS = {"idempotency-key", "if-match", "last-event-id"}
KNOWN = {"vin": VIN, "partner": PARTNER, "agentId": AGENT}


@pytest.fixture(scope="module")
def api(lasting_database_url: str) -> Iterator[Api]:
    with serving(lasting_database_url) as served:
        yield served


def aim(api: Api, case: Case) -> None:
    """Let a good request mean what exists; made up, it would get no further than to an unknown vehicle."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    for name in KNOWN.keys() & (case.path_parameters or {}).keys():
        case.path_parameters[name] = KNOWN[name]
    if not isinstance(case.body, dict):
        return
    case.body = {name: said for name, said in case.body.items() if name not in {"vin", "partner", "agentId"}}
    if "cid" in case.body and "/sos/" in case.path:
        case.body["cid"] = api.call("POST", f"/vehicles/{VIN}/sos", {}).json()["cid"]
    elif "cid" in case.body and not case.path.endswith(("/sos", "/request")):
        case.body["cid"] = api.call("POST", f"/vehicles/{VIN}/rsa/request", {}).json()["cid"]
        if "/partners/" in case.path:
            dispatch = {"cid": case.body["cid"], "partner": PARTNER, "serviceType": "TOWING"}
            api.call("POST", f"/vehicles/{VIN}/rsa/dispatch", dispatch)
    if case.path.endswith("/rsa/dispatch"):
        case.body["partner"] = PARTNER


@SCHEMA.parametrize()
@settings(
    max_examples=10,
    derandomize=True,  # the same requests in every run
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_a_documented_one(case: Case, api: Api) -> None:
    aim(api, case)
    # Headers of no meaning here are made up too, a Content-Length among them, which the server itself refuses.
    for name in [name for name in case.headers or {} if name.lower() not in HEADERS]:
        del case.headers[name]
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    case.call_and_validate(base_url=api.url, headers=headers, checks=CHECKS, timeout=30)
