"""The MQTT contract as documents: which model each topic carries, an AsyncAPI 3.0 document and JSON Schemas of them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import yaml
from pydantic.json_schema import models_json_schema

from schemas.base import Wire
from schemas.call import CallMessage, CallStatus
from schemas.command import AckStatus, CommandAckMessage, CommandMessage, CommandType
from schemas.incident import ContactCenterInfo, IncidentMessage, Service
from schemas.receipt import ReceiptMessage, ReceiptResult
from schemas.rsa import RsaMessage
from schemas.sos import EmergencyType, SosMessage, Urgency
from schemas.topics import RECEIPTED, Downlink, Uplink, downlink_topic, uplink_topic
from schemas.vehicle import (
    EngineEvent,
    EngineMessage,
    EngineStatus,
    Location,
    PresenceMessage,
    StatusMessage,
    TransmissionStatus,
    Uplinked,
)

UPLINKS: dict[Uplink, type[Uplinked]] = {
    Uplink.STATUS: StatusMessage,
    Uplink.ENGINE: EngineMessage,
    Uplink.SOS: SosMessage,
    Uplink.RSA: RsaMessage,
    Uplink.CALL: CallMessage,
    Uplink.COMMAND_ACK: CommandAckMessage,
    Uplink.PRESENCE: PresenceMessage,
}
"""What a vehicle sends, by topic."""

DOWNLINKS: dict[Downlink, type[Wire]] = {
    Downlink.RECEIPT: ReceiptMessage,
    Downlink.INCIDENT: IncidentMessage,
    Downlink.COMMAND: CommandMessage,
}
"""What a vehicle receives, by topic."""

Schema = dict[str, Any]

_VERSION = "1.0.0"
_AT = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)
_PRESS_ID = "6f1e1d9c-8f4e-4f68-9d1e-0d4b9a3f1c55"
_COMMAND_ID = "0b8e6b9e-5c0f-4f0e-8a44-3d1c6f6f2a10"
_PLACE = Location(latitude=37.5665, longitude=126.9780, accuracy=5.2)
_CID = "SOS_20260307_001"

EXAMPLES: dict[Uplink | Downlink, Wire] = {
    Uplink.STATUS: StatusMessage(
        message_id="11111111-1111-4111-8111-111111111111", timestamp=_AT, location=_PLACE, speed_kph=48.5,
        odometer_km=15230.412, battery_voltage=14.1, fuel_level=45.2, engine_status=EngineStatus.ON,
        transmission_status=TransmissionStatus.DRIVE, drivable=True, dtc_codes=("P0301",),
    ),
    Uplink.ENGINE: EngineMessage(
        message_id="22222222-2222-4222-8222-222222222222", timestamp=_AT, event=EngineEvent.START, location=_PLACE,
        odometer_km=15230.4,
    ),
    Uplink.SOS: SosMessage(
        message_id=_PRESS_ID, timestamp=_AT, emergency_type=EmergencyType.MEDICAL, urgency=Urgency.HIGH,
        location=_PLACE, description="Driver chest pain, unable to drive", contact_number="+82-10-1234-5678",
        passenger_count=2, vehicle_condition="PARKED", request_type="MANUAL",
    ),
    Uplink.RSA: RsaMessage(
        message_id="33333333-3333-4333-8333-333333333333", timestamp=_AT, symptoms=("ENGINE_START_FAILURE",),
        description="Vehicle won't start, clicking sound", location=_PLACE, dtc_codes=("P1234",), battery_voltage=11.8,
    ),
    Uplink.CALL: CallMessage(
        message_id="44444444-4444-4444-8444-444444444444", timestamp=_AT, status=CallStatus.CONNECTED, cid=_CID
    ),
    Uplink.COMMAND_ACK: CommandAckMessage(
        message_id="55555555-5555-4555-8555-555555555555", timestamp=_AT, command_id=_COMMAND_ID,
        status=AckStatus.EXECUTED,
    ),
    Uplink.PRESENCE: PresenceMessage(
        message_id="66666666-6666-4666-8666-666666666666", timestamp=_AT, online=True
    ),
    Downlink.RECEIPT: ReceiptMessage(
        message_id=_PRESS_ID, result=ReceiptResult.STORED, cid=_CID, server_time=_AT
    ),
    Downlink.INCIDENT: IncidentMessage(
        cid=_CID, service=Service.SOS, status="INITIATED", sequence=4711,
        contact_center=ContactCenterInfo(phone="1588-1234", agent_id="AGENT_001"),
    ),
    Downlink.COMMAND: CommandMessage(
        command_id=_COMMAND_ID, type=CommandType.IN_VEHICLE_WARNING, issued_at=_AT,
        expires_at=_AT + timedelta(seconds=60), parameters={"message": "Vehicle detected during curfew hours"},
    ),
}  # fmt: skip
"""One message of each kind, with the data of the guides' samples."""


def documents() -> dict[str, str]:
    """Return the documents by their path below docs/: one AsyncAPI document, one JSON Schema for each kind."""
    schemas = {
        f"json-schemas/{_direction(kind)}-{kind}.json": json.dumps(json_schema(kind), indent=2, ensure_ascii=False)
        for kind in (*Uplink, *Downlink)
    }
    written = yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=120)
    return {"asyncapi.yaml": _NOTE + written} | {path: text + "\n" for path, text in schemas.items()}


def json_schema(kind: Uplink | Downlink) -> Schema:
    """Return the JSON Schema (2020-12) of a message, whole in itself: of an uplink, what the backend takes as valid."""
    model, mode = _model(kind)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tcu:v1:{_direction(kind)}:{kind}",
        **_untitled(model.model_json_schema(mode=mode)),
        "examples": [_payload(kind)],
    }


def asyncapi() -> Schema:
    """Return the AsyncAPI 3.0 document, from the backend's side: it receives uplinks and sends downlinks."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "TCU telematics, MQTT contract v1", "version": _VERSION, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "{host}:{port}",
                "protocol": "secure-mqtt",
                "protocolVersion": "5",
                "description": "Mutual TLS; MQTT 3.1.1 clients work too.",
                "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "8883"}},
                "security": [{"$ref": "#/components/securitySchemes/vehicleCertificate"}],
            }
        },
        "channels": {_channel_name(kind): _channel(kind) for kind in (*Uplink, *Downlink)},
        "operations": {_operation_name(kind): _operation(kind) for kind in (*Uplink, *Downlink)},
        "components": {
            "messages": {_model(kind)[0].__name__: _message(kind) for kind in (*Uplink, *Downlink)},
            "schemas": _shared_schemas(),
            "parameters": {
                "vin": {
                    "description": "The vehicle: 17 characters without I, O and Q, the common name of its certificate.",
                    "examples": ["KMHSH81C7LU123456"],
                }
            },
            "securitySchemes": {
                "vehicleCertificate": {
                    "type": "X509",
                    "description": "A client certificate of the vehicles' authority; its common name is the VIN.",
                }
            },
        },
    }


_NOTE = "# Generated from schemas/ by `python -m schemas`; a test compares.\n"
_ABOUT = (
    "What vehicles and backend say to each other. JSON in UTF-8, at most 64 KiB, QoS 1, never retained. Unknown fields "
    "are ignored. A vehicle keeps each message that has a reply until its receipt comes, and sends it again with the "
    "same messageId: after a pause, and after each connect. An up/sos is always raised, even where it does not satisfy "
    "its schema; any other message that does not is quarantined."
)


def _direction(kind: Uplink | Downlink) -> str:
    return "up" if isinstance(kind, Uplink) else "down"


def _model(kind: Uplink | Downlink) -> tuple[type[Wire], Literal["validation", "serialization"]]:
    if isinstance(kind, Uplink):
        return UPLINKS[kind], "validation"
    return DOWNLINKS[kind], "serialization"


def _payload(kind: Uplink | Downlink) -> dict[str, Any]:
    # The backend writes every field of what it sends, absent ones as null; a vehicle leaves them out.
    return EXAMPLES[kind].model_dump(mode="json", by_alias=True, exclude_none=isinstance(kind, Uplink))


def _channel_name(kind: Uplink | Downlink) -> str:
    return f"{_direction(kind)}-{kind}"


def _channel(kind: Uplink | Downlink) -> Schema:
    name = _model(kind)[0].__name__
    topic = uplink_topic("{vin}", kind) if isinstance(kind, Uplink) else downlink_topic("{vin}", kind)
    return {
        "address": topic,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "parameters": {"vin": {"$ref": "#/components/parameters/vin"}},
    }


def _operation_name(kind: Uplink | Downlink) -> str:
    words = "".join(word.capitalize() for word in kind.split("-"))
    return f"{'receive' if isinstance(kind, Uplink) else 'send'}{words}"


def _operation(kind: Uplink | Downlink) -> Schema:
    receives = isinstance(kind, Uplink)
    operation: Schema = {
        "action": "receive" if receives else "send",
        "channel": {"$ref": f"#/channels/{_channel_name(kind)}"},
        "bindings": {"mqtt": {"qos": 1, "retain": False, "bindingVersion": "0.2.0"}},
    }
    if kind in RECEIPTED:
        operation["reply"] = {"channel": {"$ref": f"#/channels/{_channel_name(Downlink.RECEIPT)}"}}
    return operation


def _message(kind: Uplink | Downlink) -> Schema:
    model, _ = _model(kind)
    about = (model.__doc__ or "").strip()
    return {
        "name": model.__name__,
        "title": f"{_direction(kind)}/{kind}",
        "summary": about.splitlines()[0],
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "examples": [{"name": "sample", "payload": _payload(kind)}],
    }


def _shared_schemas() -> Mapping[str, Any]:
    models = [_model(kind) for kind in (*Uplink, *Downlink)]
    _, found = models_json_schema(models, ref_template="#/components/schemas/{model}")
    return {name: _untitled(schema) for name, schema in sorted(found["$defs"].items())}


def _untitled(schema: Schema) -> Schema:
    """Return a model's schema without the titles of its fields, which only repeat their names."""
    parts = {name: _untitled(part) for name, part in schema.get("$defs", {}).items()}
    fields = {
        name: {word: value for word, value in field.items() if word != "title"}
        for name, field in schema.get("properties", {}).items()
    }
    return schema | ({"$defs": parts} if parts else {}) | ({"properties": fields} if fields else {})
