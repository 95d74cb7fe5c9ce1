"""The documents of the MQTT contract: up to date, whole, and true of what vehicles and worker say."""

import json
import queue
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.decode import Rejected, decode
from ingest.inbox import Received
from schemas.base import format_instant
from schemas.call import CallStatus
from schemas.command import AckStatus
from schemas.contract import DOWNLINKS, EXAMPLES, UPLINKS, asyncapi, documents
from schemas.topics import RECEIPTED, Downlink, Uplink, downlink_topic, uplink_topic
from schemas.vehicle import EngineEvent
from simulator import driving, messages
from tests.mqtt_contract import complaints
from tests.processes import CHECKOUT
from tests.tcu import Tcu

VIN = "KMHSMTEST00000003"
AT = datetime(2026, 3, 7, 18, 30, tzinfo=UTC)


def test_the_documents_are_what_the_models_make_of_them() -> None:
    """`python -m schemas` writes them."""
    written = {path: (CHECKOUT / "docs" / path).read_text(encoding="utf-8") for path in documents()}
    assert written == documents()
    folder = CHECKOUT / "docs" / "json-schemas"
    assert {f"json-schemas/{file.name}" for file in folder.iterdir()} == {*written} - {"asyncapi.yaml"}


def test_every_topic_has_a_channel_an_operation_and_a_message() -> None:
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    addresses = {channel["address"] for channel in document["channels"].values()}
    topics = {uplink_topic("{vin}", kind) for kind in Uplink} | {downlink_topic("{vin}", kind) for kind in Downlink}
    assert addresses == topics
    found = {operation["channel"]["$ref"]: operation for operation in document["operations"].values()}
    for kind in Uplink:
        operation = found[f"#/channels/up-{kind}"]
        assert operation["action"] == "receive"
        assert ("reply" in operation) is (kind in RECEIPTED)
    assert all(found[f"#/channels/down-{kind}"]["action"] == "send" for kind in Downlink)
    assert len(found) == len(topics) == len(document["components"]["messages"])


def test_every_reference_in_the_document_leads_somewhere() -> None:
    document = yaml.safe_load(documents()["asyncapi.yaml"])

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            yield from (part[name] for name in part if name == "$ref")
            part = list(part.values())
        if isinstance(part, list):
            for each in part:
                yield from references(each)

    found = set(references(document))
    assert len(found) > 30
    for reference in found:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


@pytest.mark.parametrize("kind", [*Uplink, *Downlink])
def test_the_example_of_each_message_keeps_its_schema_and_one_without_its_fields_does_not(
    kind: Uplink | Downlink,
) -> None:
    example = EXAMPLES[kind].model_dump_json(by_alias=True, exclude_none=kind in UPLINKS)
    assert complaints(kind, example) == []
    assert type(EXAMPLES[kind]) is (UPLINKS | DOWNLINKS)[kind]  # type: ignore[operator]
    assert complaints(kind, "{}") != []


@pytest.mark.parametrize("name", ["cid", "requestMessageId"])
def test_a_call_names_its_incident_in_the_schema_too(name: str) -> None:
    call = json.loads(EXAMPLES[Uplink.CALL].model_dump_json(by_alias=True, exclude_none=True))
    del call["cid"]
    assert complaints(Uplink.CALL, json.dumps(call)) != []
    assert complaints(Uplink.CALL, json.dumps(call | {name: None})) != []
    assert complaints(Uplink.CALL, json.dumps(call | {name: "6f1e1d9c-8f4e-4f68-9d1e-0d4b9a3f1c55"})) == []


@settings(max_examples=25)
@given(st.integers(min_value=0, max_value=2**32))
def test_all_that_the_simulator_sends_keeps_the_schemas(seed: int) -> None:
    rng = Random(seed)
    state = driving.parked_somewhere(rng)
    said = [
        (Uplink.STATUS, messages.status(rng, state, AT)),
        (Uplink.ENGINE, messages.engine(rng, EngineEvent.START, state, AT)),
        (Uplink.SOS, messages.sos_press(rng, AT)),
        (Uplink.SOS, messages.sos_from_the_road(rng, state, AT)),
        (Uplink.RSA, messages.rsa_press(rng, AT)),
        (Uplink.RSA, messages.rsa_from_the_road(rng, state, AT)),
        (Uplink.CALL, messages.call(rng, CallStatus.CONNECTED, AT, cid="SOS_20260307_001")),
        (Uplink.COMMAND_ACK, messages.command_ack(messages.message_id(rng), AckStatus.EXECUTED, AT)),
        (Uplink.PRESENCE, messages.presence(AT, online=True)),
    ]
    assert {kind for kind, _ in said} == set(Uplink)
    for kind, message in said:
        assert complaints(kind, messages.payload_of(message)) == []


WRONG: dict[str, dict[str, Any]] = {
    "a number as text": {"speedKph": "12"},
    "a latitude beyond the pole": {"location": {"latitude": 91, "longitude": 0}},
    "an engine that flies": {"engineStatus": "FLIES"},
    "no id": {"messageId": "seven"},
    "a code of no car": {"dtcCodes": ["X0000"]},
    "a speed below zero": {"speedKph": -1},
    "fuel as a list": {"fuelLevel": [50]},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_breaks_the_schema_of_status_is_what_the_worker_quarantines(wrong: dict[str, Any]) -> None:
    sample = json.loads(EXAMPLES[Uplink.STATUS].model_dump_json(by_alias=True)) | {"timestamp": format_instant(AT)}

    def taken(payload: bytes) -> bool:
        return not isinstance(decode(Received(uplink_topic(VIN, Uplink.STATUS), payload, AT, None, 1)), Rejected)

    payload = json.dumps(sample).encode()
    assert complaints(Uplink.STATUS, payload) == []
    assert taken(payload)
    payload = json.dumps(sample | wrong).encode()
    assert complaints(Uplink.STATUS, payload) != []
    assert not taken(payload)


@pytest.mark.usefixtures("worker", "sequencer")
def test_what_the_worker_says_keeps_the_schemas(tcu: Callable[[str], Tcu]) -> None:
    vehicle = tcu(VIN)
    vehicle.send(Uplink.SOS, timestamp=format_instant(datetime.now(UTC) + timedelta(hours=1)))
    vehicle.publish(Uplink.SOS, b"not even JSON")
    vehicle.send(Uplink.ENGINE, event="FLY")
    said: dict[Downlink, list[dict[str, Any]]] = {kind: [vehicle.down(kind)] for kind in Downlink}
    said[Downlink.RECEIPT] += [vehicle.down(Downlink.RECEIPT) for _ in range(2)]
    with pytest.raises(queue.Empty):
        vehicle.down(Downlink.RECEIPT, wait_s=0)
    assert {receipt["result"] for receipt in said[Downlink.RECEIPT]} == {"STORED", "QUARANTINED"}
    assert any(receipt["messageId"] is None for receipt in said[Downlink.RECEIPT])
    assert said[Downlink.COMMAND][0]["type"] == "TIME_SYNC"
    for kind, bodies in said.items():
        for body in bodies:
            assert complaints(kind, json.dumps(body)) == []
