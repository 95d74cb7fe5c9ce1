"""The same messages ten times, shuffled, a week late and two days ahead, with the worker killed among them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from schemas.base import format_instant
from schemas.receipt import ReceiptResult
from schemas.topics import Downlink, Uplink
from stack.server import wait_until
from tests.faults.faults import urgent_worker_killed
from tests.faults.ledger import Entry, findings
from tests.faults.stand import Stand
from tests.faults.stored import read_stored
from tests.tcu import Tcu, message

VINS = [f"KMHAGAN000000000{number}" for number in range(3)]
COPIES = 10
WHEN = {
    "now": timedelta(0),
    "almost a week late": -timedelta(days=6, hours=23),
    "more than a week late": -timedelta(days=8),
    "two days ahead": timedelta(days=2),
    "an hour ahead": timedelta(hours=1),
    "a year ahead": timedelta(days=365),
}


@pytest.fixture
def vehicles(product: Stand) -> Iterator[dict[str, Tcu]]:
    connected = {vin: Tcu(product.broker, product.pki_dir, vin) for vin in VINS}
    yield connected
    for vehicle in connected.values():
        vehicle.close()


def test_ten_copies_of_everything_in_any_order_have_the_effect_of_one(product: Stand, vehicles: dict[str, Tcu]) -> None:
    rng = Random()
    ledger: dict[str, Entry] = {}
    copies: list[tuple[str, Uplink, bytes]] = []
    for vin in VINS:
        for off in WHEN.values():
            at = format_instant(datetime.now(UTC) + off)
            fields: dict[Uplink, dict[str, Any]] = {
                Uplink.ENGINE: {"event": "START"}, Uplink.SOS: {"emergencyType": "FIRE"}, Uplink.RSA: {},
            }  # fmt: skip
            for kind, own in fields.items():
                body = message(timestamp=at, **own)
                ledger[body["messageId"]] = Entry(vin, kind, body["messageId"])
                copies += [(vin, kind, json.dumps(body).encode())] * COPIES
    rng.shuffle(copies)

    for vin, kind, payload in copies[: len(copies) // 2]:
        vehicles[vin].publish_soon(kind, payload)
    with urgent_worker_killed(product):
        for vin, kind, payload in copies[len(copies) // 2 :]:
            vehicles[vin].publish_soon(kind, payload)

    def all_receipted() -> bool:
        for vehicle in vehicles.values():
            for receipt in vehicle.take(Downlink.RECEIPT):
                entry = ledger[receipt["messageId"]]
                entry.result, entry.cid = ReceiptResult(receipt["result"]), receipt["cid"]
        return all(entry.result is not None for entry in ledger.values())

    wait_until(all_receipted, wait_s=40)
    with product.connect() as conn:
        assert findings(list(ledger.values()), read_stored(conn, VINS), driven={}) == []
        # What is more than a week late, or ahead, counts as of its receiving.
        chunks = conn.execute("SELECT count(*) FROM engine_events WHERE occurred_at > now() + interval '1 minute'")
        assert chunks.fetchone() == (0,)
