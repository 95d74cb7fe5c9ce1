"""The MQTT contract as its JSON Schemas have it, for tests that see messages go by."""

import json
from functools import cache

from jsonschema import Draft202012Validator, FormatChecker

from schemas.contract import json_schema
from schemas.topics import Downlink, Uplink


def complaints(kind: Uplink | Downlink, payload: bytes | str) -> list[str]:
    """Return what in a message breaks the schema of its kind."""
    found = _validator(kind).iter_errors(json.loads(payload))
    return [f"{kind} {error.json_path}: {error.message}" for error in found]


@cache
def _validator(kind: Uplink | Downlink) -> Draft202012Validator:
    schema = json_schema(kind)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker(("uuid",)))
