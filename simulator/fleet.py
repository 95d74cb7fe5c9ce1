"""Many vehicles at once: each drives its trips, and now and then a driver presses SOS or asks for assistance."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from random import Random

from schemas.call import CallStatus
from schemas.receipt import ReceiptResult
from schemas.topics import Uplink
from schemas.vehicle import Uplinked
from simulator import call_center, driving, messages
from simulator.public_api import ApiRefused, PublicApi
from simulator.settings import Broker, Certificate
from simulator.tcu import Tcu
from simulator.unreceipted import UnreceiptedStore

_CONNECT_S = 30.0
_RECEIPT_S = 20.0
_CALL_S = 2.0


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """How many messages a second the whole fleet sends, and how many presses a minute are among them."""

    rate_per_s: float
    presses_per_minute: float
    seed: int


@dataclass(slots=True)
class FleetReport:
    """What the fleet has counted; `outstanding` are urgent messages without a receipt, in order of their sending."""

    vehicles: int
    seconds: float = 0.0
    status_sent: int = 0
    status_given_up: int = 0
    urgent_sent: int = 0
    urgent_resent: int = 0
    receipts: Counter[ReceiptResult] = field(default_factory=Counter)
    outstanding: list[str] = field(default_factory=list)
    incidents_left_open: int = 0


@dataclass(frozen=True, slots=True)
class _Car:
    tcu: Tcu
    api: PublicApi
    plan: FleetPlan
    interval_s: float
    notify: Callable[[str], None]
    report: FleetReport


async def run_fleet(
    plan: FleetPlan,
    *,
    broker: Broker,
    certificates: Mapping[str, Certificate],
    api: PublicApi,
    notify: Callable[[str], None],
    stop: asyncio.Event,
) -> FleetReport:
    """Run one vehicle for each certificate until `stop`, wait for the last receipts, and return what was counted.

    Raises Unreachable where a vehicle cannot connect.
    """
    report = FleetReport(vehicles=len(certificates))
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as connections:
        tcus = []
        for vin, certificate in certificates.items():
            tcu = Tcu(
                vin=vin,
                broker=broker,
                certificate=certificate,
                unreceipted=UnreceiptedStore(),
                jitter=Random(f"{plan.seed}:{vin}:jitter"),
                notify=notify,
            )
            tcus.append(await connections.enter_async_context(tcu))
        for tcu in tcus:
            await tcu.connected(timeout_s=_CONNECT_S)
        began_s = loop.time()
        async with asyncio.TaskGroup() as driving_tasks:
            for tcu in tcus:
                car = _Car(tcu, api, plan, len(tcus) / plan.rate_per_s, notify, report)
                driving_tasks.create_task(_drive(car, stop))
        report.seconds = loop.time() - began_s
        await _settled(tcus)
    _count(report, tcus)
    return report


async def _drive(car: _Car, stop: asyncio.Event) -> None:
    """Drive one trip after another until `stop`; a driver in need is helped meanwhile, one need at a time."""
    rng = Random(f"{car.plan.seed}:{car.tcu.vin}")
    state = driving.parked_somewhere(rng)
    press_chance = car.plan.presses_per_minute / 60 / car.plan.rate_per_s
    next_s = asyncio.get_running_loop().time() + rng.uniform(0, car.interval_s)
    helping: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as tasks:
        while True:
            for moment in driving.trip(rng, state, duration_s=rng.uniform(60, 300), step_s=car.interval_s):
                if await _stopped_before(stop, next_s):
                    return
                next_s += car.interval_s
                state = moment.state
                if moment.event is not None:
                    car.tcu.send(Uplink.ENGINE, messages.engine(rng, moment.event, state, car.tcu.now()))
                else:
                    car.tcu.report(messages.status(rng, state, car.tcu.now()))
                pressed, need = rng.random() < press_chance, Random(rng.getrandbits(64))
                if pressed and (helping is None or helping.done()):
                    helping = tasks.create_task(_help(car, need, state))


async def _help(car: _Car, rng: Random, state: driving.VehicleState) -> None:
    """Press SOS or RSA, and play the call center until the incident is over."""
    tcu, vin = car.tcu, car.tcu.vin
    is_sos = rng.random() < 0.5  # noqa: PLR2004 - as often the one as the other
    car.notify(f"{vin} presses {'SOS' if is_sos else 'RSA'}")
    try:
        if is_sos:
            cid = await _receipted(tcu, Uplink.SOS, messages.sos_from_the_road(rng, state, tcu.now()))
            for status in (CallStatus.CONNECTING, CallStatus.CONNECTED, CallStatus.ENDED):
                call = messages.call(rng, status, tcu.now(), cid=cid)
                await _receipted(tcu, Uplink.CALL, call)
                await asyncio.sleep(_CALL_S)
            await call_center.close_sos(car.api, rng, vin, cid)
        else:
            cid = await _receipted(tcu, Uplink.RSA, messages.rsa_from_the_road(rng, state, tcu.now()))
            await call_center.end_rsa(car.api, rng, vin, cid)
    except TimeoutError:
        car.notify(f"{vin} got no receipt within {_RECEIPT_S:.0f} s")
        car.report.incidents_left_open += 1
    except ApiRefused as refused:
        car.notify(f"{vin} leaves its incident open: {refused}")
        car.report.incidents_left_open += 1


async def _receipted(tcu: Tcu, kind: Uplink, message: Uplinked) -> str:
    """Send an urgent message and return the cid of its receipt. Raises TimeoutError."""
    sent = tcu.send(kind, message)
    async with asyncio.timeout(_RECEIPT_S):
        return (await sent.receipt).what.cid or ""


async def _stopped_before(stop: asyncio.Event, at_s: float) -> bool:
    """Wait until then and tell whether `stop` came first."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(at_s):
            await stop.wait()
    return stop.is_set()


async def _settled(tcus: Iterable[Tcu]) -> None:
    """Wait, for a bounded time, until every vehicle has its receipts and the broker every sample."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_RECEIPT_S):
            for tcu in tcus:
                await tcu.settled()


def _count(report: FleetReport, tcus: Iterable[Tcu]) -> None:
    for tcu in tcus:
        report.status_sent += tcu.tally.status_sent
        report.status_given_up += tcu.tally.status_given_up
        report.urgent_sent += tcu.tally.urgent_sent
        report.urgent_resent += tcu.tally.urgent_resent
        report.receipts += tcu.tally.receipts
        report.outstanding += [f"{tcu.vin} {kept.kind} {kept.message_id}" for kept in tcu.unreceipted]
