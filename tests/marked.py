"""A vehicle and its people, marked so that they can be looked for, and a life that leaves traces in every table."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from db import grants, keys, vehicles, webhooks
from db.pool import Connection
from schemas.access import Role
from schemas.base import format_instant
from schemas.curfew import Day
from schemas.topics import Uplink
from tests.api import AGENT, KEY_SECRET, PARTNER
from tests.contract.examples import guide

VIN = "KMHSH81C7LU777777"
PHONE = "+82-10-7531-9024"
NAME = "Marker Q. Person"
LATITUDE, LONGITUDE = 37.531947, 127.248163
PERSONAL = (PHONE, NAME, str(LATITUDE), str(LONGITUDE))
"""What no log and no metric may hold."""

PLACE = {"latitude": LATITUDE, "longitude": LONGITUDE, "accuracy": 5}
CAR, CURFEW = f"/vehicles/{VIN}", f"//api/v1/childcare/vehicles/{VIN}"
WORDS = f"{NAME} calls from {PHONE} at {LATITUDE}"

Call = Callable[..., Any]
Send = Callable[[Uplink, bytes], None]


@dataclass(frozen=True, slots=True)
class Life:
    """The incidents that came of it."""

    sos: str
    rsa: str


def register(conn: Connection, *, url: str) -> None:
    """Make the vehicle known, with its guardian's and a partner's endpoint and an owner's key."""
    vehicles.describe(conn, VIN, make="BMW", customer_name=NAME, customer_phone=PHONE)
    now = datetime.now(UTC)
    webhooks.put_guardian_endpoint(conn, VIN, url=url, secret="whsec_eA==", at=now)
    webhooks.put_endpoint(conn, PARTNER, url=url, secret="whsec_eA==", at=now)
    grants.add(conn, "marked owner", role=Role.OWNER, vin=VIN, granted_at=now)
    keys.put(conn, "sk_owner", secret=KEY_SECRET, label=f"owner of {VIN}", role=Role.OWNER, vins=[VIN])
    conn.commit()


def prepare(call: Call) -> None:
    """Consent, and set a curfew that holds at all times, with the start block."""
    for purpose in ("CURFEW", "LOCATION", "VOICE_RECORDING"):
        ok(call("PUT", f"{CURFEW}/consents", {"purpose": purpose, "granted": True}))
    halves = [("00:00", "12:00"), ("12:00", "00:00")]
    policy = {
        "enabled": True,
        "timezone": "UTC",
        "days": list(Day),
        "timeWindows": [{"days": list(Day), "start": start, "end": end} for start, end in halves],
        "actions": ["notification", "in_vehicle_warning", "engine_start_block"],
    }
    ok(call("PUT", f"{CURFEW}/curfew/policy", policy))


def messages() -> list[tuple[Uplink, bytes]]:
    """Return what the vehicle sends: good and bad, the bad full of personal data too."""
    now = datetime.now(UTC)
    contact = {"contactNumber": PHONE, "description": WORDS, "location": PLACE}
    customer = {"name": NAME, "phone": PHONE}
    return [
        (Uplink.PRESENCE, body(online=True)),
        (Uplink.STATUS, body(location=PLACE, engineStatus="OFF", timestamp=format_instant(now - timedelta(minutes=1)))),
        (Uplink.STATUS, body(location=PLACE, timestamp=format_instant(now - timedelta(days=3)))),
        (Uplink.STATUS, body(location=PLACE, timestamp=format_instant(now + timedelta(days=3)))),
        (Uplink.STATUS, body(location=PLACE | {"latitude": WORDS}, description=WORDS)),
        (Uplink.ENGINE, body(event="START", location=PLACE)),
        (Uplink.ENGINE, body(event=WORDS, location=PLACE)),
        (Uplink.CALL, body(status="CONNECTED", requestMessageId=str(uuid4()), description=WORDS)),
        (Uplink.SOS, b'{"contactNumber": "' + PHONE.encode() + b'", "location": {"latitude": 37.531947 \xff'),
        (Uplink.SOS, body(emergencyType="MEDICAL", vehicleStatus={"engineStatus": "OFF"}, **contact)),
        (Uplink.SOS, body(passengerCount=WORDS, **contact)),
        (Uplink.RSA, body(serviceType="TOWING", customerInfo=customer, description=WORDS, location=PLACE)),
        (Uplink.RSA, body(serviceType=WORDS, customerInfo=customer, location=PLACE)),
    ]


def live(call: Call) -> Life:
    """Go on by REST, with requests that are taken and some that are refused, and end both incidents."""
    pressed = {"contactNumber": PHONE, "description": WORDS, "location": PLACE}
    sos = ok(call("POST", f"{CAR}/sos", pressed, headers={"Idempotency-Key": str(uuid4())}), 201)["cid"]
    assert call("POST", f"{CAR}/sos", pressed | {"passengerCount": WORDS}).status_code == 422
    ok(call("POST", f"{CAR}/sos/call", {"cid": sos, "status": "CONNECTED"}))
    ok(call("POST", f"{CAR}/sos/dispatch", {"cid": sos, "serviceType": "POLICE", "contactNumber": PHONE}))
    rsa = ok(call("GET", f"{CAR}/rsa/status"))["cid"]
    asked = {"customerInfo": {"name": NAME, "phone": PHONE}, "vin": VIN, "cid": rsa}
    place = {"latitude": LATITUDE, "longitude": LONGITUDE, "address": WORDS}
    ok(call("POST", f"{CAR}/rsa/dispatch", guide("rsa_dispatch_request") | asked | {"breakdownLocation": place}))
    assert call("POST", f"{CAR}/rsa/dispatch", {"cid": rsa, "partner": WORDS}).status_code == 422
    for path in (
        f"{CAR}/sos/status",
        f"{CAR}/sos/history?x={PHONE}",
        f"{CAR}/rsa/status",
        f"{CURFEW}/curfew/violations",
    ):
        ok(call("GET", path))
    assert call("GET", f"/vehicles/{NAME}/sos/status").status_code in {404, 422}
    closed = {"cid": sos, "vin": VIN, "notes": WORDS, "agentId": AGENT}
    ok(call("POST", f"{CAR}/sos/close", guide("sos_closure_request") | closed))
    ok(call("POST", f"{CAR}/rsa/cancel", {"cid": rsa, "reason": WORDS}))
    return Life(sos, rsa)


def body(**fields: Any) -> bytes:
    """Return a message with an id and the present time, unless the fields say otherwise."""
    return json.dumps({"messageId": str(uuid4()), "timestamp": format_instant(datetime.now(UTC))} | fields).encode()


def ok(response: Any, status: int = 200) -> Any:
    """Return the answer. Fails where it has another status."""
    assert response.status_code == status, response.text
    return response.json()
