"""What call center and partner do through the public API, with the bodies of the guides' examples."""

from datetime import UTC, datetime, timedelta
from random import Random

from schemas.base import format_instant
from schemas.rsa import RsaResult, RsaStatus
from schemas.sos import SosStatus
from simulator.messages import message_id
from simulator.public_api import Json, PublicApi

AGENT = "AGENT_001"
PARTNER = "SAMSUNG_FIRE"

_SOS_OVER = {SosStatus.CLOSED, SosStatus.CANCELLED}
_RSA_OVER = {RsaStatus.CLOSED, RsaStatus.CANCELLED}


async def sos_status(api: PublicApi, vin: str, cid: str) -> Json:
    """Return the status answer of an SOS incident."""
    return await api.get(f"/vehicles/{vin}/sos/status", {"cid": cid})


async def sos_voice_call(api: PublicApi, vin: str, cid: str) -> Json:
    """Return the voice call of an SOS incident's status answer, empty where it has none."""
    voice_call: Json | None = (await sos_status(api, vin, cid)).get("voiceCall")
    return voice_call or {}


async def rsa_status(api: PublicApi, vin: str, cid: str) -> Json:
    """Return the status answer of an RSA incident."""
    return await api.get(f"/vehicles/{vin}/rsa/status", {"cid": cid})


async def sos_of_history(api: PublicApi, vin: str, cid: str) -> Json:
    """Return an SOS incident as the vehicle's history shows it, empty where it does not."""
    return _entry(await api.get(f"/vehicles/{vin}/sos/history"), cid)


async def rsa_of_history(api: PublicApi, vin: str, cid: str) -> Json:
    """Return an RSA incident as the vehicle's history shows it, empty where it does not."""
    return _entry(await api.get(f"/vehicles/{vin}/rsa/history"), cid)


async def close_sos(api: PublicApi, rng: Random, vin: str, cid: str, agent_id: str = AGENT) -> Json:
    """Close an SOS incident as the SOS guide's closure example does."""
    now = datetime.now(UTC)
    body = {
        "cid": cid,
        "result": "Police Dispatched",
        "completionTime": format_instant(now),
        "agentId": agent_id,
        "notes": "Police dispatched. Customer safe.",
        "emergencyServices": {
            "police": {
                "dispatched": True,
                "reportNumber": "20260307-001234",
                "officerName": "Kim Soon-kyung",
                "arrivalTime": format_instant(now),
            }
        },
        "customerStatus": {"safe": True, "injuries": False, "medicalAttention": False},
        "followUpRequired": False,
    }
    return await api.post(f"/vehicles/{vin}/sos/close", body, idempotency_key=message_id(rng))


async def dispatch_rsa(api: PublicApi, rng: Random, vin: str, cid: str) -> Json:
    """Ask the partner for a tow truck as the RSA guide's dispatch example does."""
    body = {
        "cid": cid,
        "partner": PARTNER,
        "serviceType": "TOWING",
        "priority": "NORMAL",
        "destination": {"name": "Gangnam Center", "address": "Seoul...", "latitude": 37.5, "longitude": 127.0},
        "customerConsent": {"granted": True, "timestamp": format_instant(datetime.now(UTC)), "recorded": True},
    }
    return await api.post(f"/vehicles/{vin}/rsa/dispatch", body, idempotency_key=message_id(rng))


async def confirm_dispatch(api: PublicApi, rng: Random, cid: str, ticket: str) -> Json:
    """Confirm the dispatch as the partner of the RSA guide's example does, to be there in 25 minutes."""
    body = {
        "cid": cid,
        "partnerTicketId": ticket,
        "status": "CONFIRMED",
        "provider": {"name": "FastTow"},
        "estimatedArrival": format_instant(datetime.now(UTC) + timedelta(minutes=25)),
    }
    return await api.post(f"/partners/{PARTNER}/dispatch/confirm", body, idempotency_key=message_id(rng))


async def tell_position(api: PublicApi, rng: Random, cid: str, ticket: str, status: RsaStatus) -> Json:
    """Tell that the partner has left, from the place of the RSA guide's example, or that it has arrived."""
    arrived = status is RsaStatus.ARRIVED
    body = {
        "cid": cid,
        "partnerTicketId": ticket,
        "status": status,
        "currentLocation": {"latitude": 37.5 if arrived else 37.48, "longitude": 127.0 if arrived else 126.98},
        "estimatedDistance": 0 if arrived else 8.5,
    }
    return await api.post(f"/partners/{PARTNER}/dispatch/location", body, idempotency_key=message_id(rng))


async def complete_service(api: PublicApi, rng: Random, cid: str, ticket: str) -> Json:
    """Report the towing as done, as the partner of the RSA guide's example does."""
    body = {
        "cid": cid,
        "partnerTicketId": ticket,
        "status": "COMPLETED",
        "completionTime": format_instant(datetime.now(UTC)),
        "actualCost": 80000,
        "serviceDetails": {"serviceType": "TOWING", "distance": 15.2, "destination": "Gangnam Service Center"},
    }
    return await api.post(f"/partners/{PARTNER}/service/complete", body, idempotency_key=message_id(rng))


async def close_rsa(api: PublicApi, rng: Random, vin: str, cid: str, ticket: str) -> Json:
    """Close an RSA incident as the RSA guide's closure example does."""
    body = {
        "cid": cid,
        "result": "TOWING_COMPLETED",
        "completionTime": format_instant(datetime.now(UTC)),
        "agentId": AGENT,
        "notes": "Successfully towed to service center.",
        "partnerTicketId": ticket,
        "actualCost": 80000,
        "followUpRequired": False,
    }
    return await api.post(f"/vehicles/{vin}/rsa/close", body, idempotency_key=message_id(rng))


async def end_rsa(api: PublicApi, rng: Random, vin: str, cid: str) -> Json:
    """Close an RSA incident that was not brought to its end, whatever its state."""
    body = {
        "cid": cid,
        "result": RsaResult.NOT_COMPLETED,
        "agentId": AGENT,
        "notes": "The vehicle runs again.",
        "followUpRequired": False,
    }
    return await api.post(f"/vehicles/{vin}/rsa/close", body, idempotency_key=message_id(rng))


async def close_open_sos(api: PublicApi, rng: Random, vin: str) -> list[str]:
    """Close the vehicle's open SOS incidents, which would absorb the next press, and return their cids."""
    history = await api.get(f"/vehicles/{vin}/sos/history")
    cids = [incident["cid"] for incident in history.get("incidents", []) if incident["status"] not in _SOS_OVER]
    for cid in cids:
        await close_sos(api, rng, vin, cid)
    return cids


async def end_open_rsa(api: PublicApi, rng: Random, vin: str) -> list[str]:
    """Close the vehicle's open RSA incidents, which would absorb the next press, and return their cids."""
    history = await api.get(f"/vehicles/{vin}/rsa/history")
    # The history's own status says COMPLETED of closed ones too (design, REST decisions).
    open_ = [entry["cid"] for entry in history.get("incidents", []) if entry["incidentStatus"] not in _RSA_OVER]
    for cid in open_:
        await end_rsa(api, rng, vin, cid)
    return open_


def _entry(history: Json, cid: str) -> Json:
    return next((incident for incident in history.get("incidents", []) if incident.get("cid") == cid), {})
