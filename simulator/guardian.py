"""What guardian, driver and app do and ask through the public API, with the fields of the curfew guide."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from schemas.base import format_instant, parse_instant
from schemas.command import CommandType
from schemas.curfew import CurfewAction, Day
from schemas.demo import NIGHT_WINDOW
from simulator.messages import message_id
from simulator.public_api import CHILDCARE, Json, PublicApi

_RELEASED_FOR = timedelta(hours=1)


async def set_policy(
    api: PublicApi,
    vin: str,
    zone: str,
    *,
    enabled: bool = True,
    days: Sequence[Day] = tuple(Day),
    window: dict[str, str] = NIGHT_WINDOW,
    actions: Sequence[CurfewAction] = (CurfewAction.NOTIFICATION,),
) -> Json:
    """Set the curfew, the guide's night window on every day where nothing else is said."""
    body = {
        "enabled": enabled,
        "timezone": zone,
        "days": list(days),
        "timeWindow": window,
        "actions": list(actions),
    }
    return await api.put(f"/vehicles/{vin}/curfew/policy", body, base=CHILDCARE)


async def policy(api: PublicApi, vin: str) -> Json:
    """Return the policy in force."""
    return await _get(api, vin, "curfew/policy")


async def consent(api: PublicApi, vin: str) -> Json:
    """Record that the driver consents to the curfew."""
    return await api.put(f"/vehicles/{vin}/consents", {"granted": True}, base=CHILDCARE)


async def grant(api: PublicApi, rng: Random, vin: str, now: datetime) -> Json:
    """Release the vehicle for an hour from now, as the guide's Exception Setting does."""
    body = {
        "reason": "After-school program ended late",
        "startTime": format_instant(now),
        "endTime": format_instant(now + _RELEASED_FOR),
    }
    return await api.post(f"/vehicles/{vin}/curfew/exception", body, idempotency_key=message_id(rng), base=CHILDCARE)


async def cancel(api: PublicApi, vin: str, exception_id: str) -> Json:
    """End an exception early."""
    return await api.delete(f"/vehicles/{vin}/curfew/exceptions/{exception_id}", base=CHILDCARE)


async def cancel_all(api: PublicApi, vin: str) -> list[str]:
    """Cancel the exceptions that would release the vehicle from a story's curfew, and return their ids."""
    ids = []
    for status in ("active", "scheduled"):
        listed = await _get(api, vin, "curfew/exceptions", {"status": status})
        ids += [entry["exceptionId"] for entry in listed["exceptions"]]
    for exception_id in ids:
        await cancel(api, vin, exception_id)
    return ids


async def explain(api: PublicApi, vin: str, at: datetime | None = None) -> Json:
    """Return why driving at an instant, or now, is a violation or is not."""
    return await _get(api, vin, "curfew/explain", {"at": format_instant(at)} if at else None)


async def dry_run(
    api: PublicApi,
    rng: Random,
    vin: str,
    zone: str,
    *,
    since: datetime,
    until: datetime,
    days: Sequence[Day] = tuple(Day),
    window: dict[str, str] = NIGHT_WINDOW,
) -> Json:
    """Return what this policy would have flagged within [since, until)."""
    body = {
        "timezone": zone,
        "days": list(days),
        "timeWindow": window,
        "from": format_instant(since),
        "to": format_instant(until),
    }
    return await api.post(f"/vehicles/{vin}/curfew/dry-run", body, idempotency_key=message_id(rng), base=CHILDCARE)


async def violations(api: PublicApi, vin: str, since: datetime, until: datetime | None = None) -> list[Json]:
    """Return the violations that began within [since, until), oldest first."""
    times = {"from": format_instant(since)} | ({"to": format_instant(until)} if until else {})
    listed: list[Json] = (await _get(api, vin, "curfew/violations", times | {"limit": "100"}))["violations"]
    return listed[::-1]


async def commands(api: PublicApi, vin: str, type_: CommandType | None = None) -> list[Json]:
    """Return the vehicle's latest hundred commands, of one type where it is given, newest first."""
    listed: list[Json] = (await _get(api, vin, "commands", {"limit": "100"}))["commands"]
    return [command for command in listed if type_ in {None, command["type"]}]


def latest(commands_: Sequence[Json]) -> datetime | None:
    """Return when the newest of these commands was issued, None where there is none."""
    return max((parse_instant(command["issuedAt"]) for command in commands_), default=None)


async def _get(api: PublicApi, vin: str, path: str, params: dict[str, str] | None = None) -> Json:
    return await api.get(f"/vehicles/{vin}/{path}", params, base=CHILDCARE)
