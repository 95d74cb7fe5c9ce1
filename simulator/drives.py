"""A drive as a vehicle tells it, and whether the backend shows all of it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from schemas.base import format_instant, parse_instant
from schemas.topics import Uplink
from schemas.vehicle import Uplinked
from simulator import driving, messages
from simulator.public_api import PublicApi
from simulator.stage import StoryFailed

Told = Sequence[tuple[Uplink, Uplinked]]

_LOOK_AGAIN_S = 0.25
_WIRE = timedelta(milliseconds=1)
"""Instants on the wire have milliseconds."""


def a_drive(rng: Random, *, ended: datetime, seconds: float, step_s: float) -> list[tuple[Uplink, Uplinked]]:
    """Return what a vehicle says of a drive that ended then, in its order: samples, the engine's start and stop."""
    moments = list(driving.trip(rng, driving.parked_somewhere(rng), duration_s=seconds, step_s=step_s))
    began = ended - timedelta(seconds=moments[-1].elapsed_s)
    told: list[tuple[Uplink, Uplinked]] = []
    for moment in moments:
        at = began + timedelta(seconds=moment.elapsed_s)
        told.append((Uplink.STATUS, messages.status(rng, moment.state, at)))
        if moment.event is not None:
            told.append((Uplink.ENGINE, messages.engine(rng, moment.event, moment.state, at)))
    return told


async def in_telemetry(api: PublicApi, vin: str, told: Told, *, within_s: float) -> None:
    """Return as soon as the API shows each sample of a drive once. Raises StoryFailed, ApiRefused.

    Samples are known by their times: what else the vehicle reported meanwhile does not count.
    """
    times = [message.timestamp for kind, message in told if kind is Uplink.STATUS]
    wanted = Counter(map(format_instant, times))
    period = {"from": format_instant(min(times)), "to": format_instant(max(times) + _WIRE)}
    until_s = asyncio.get_running_loop().time() + within_s
    while True:
        rows = (await api.get(f"/api/v1/vehicles/{vin}/telemetry", period, base=""))["rows"]
        shown = Counter(format_instant(parse_instant(row["timestamp"])) for row in rows)
        found = Counter({at: shown[at] for at in wanted})
        if found == wanted:
            return
        if asyncio.get_running_loop().time() >= until_s:
            raise StoryFailed(
                f"the telemetry has {found.total()} of {wanted.total()} samples of the drive after {within_s:g} s"
            )
        await asyncio.sleep(_LOOK_AGAIN_S)
