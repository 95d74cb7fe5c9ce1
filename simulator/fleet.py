"""Many vehicles at once: each lives its day, and now and then a driver presses SOS or asks for assistance."""

import asyncio
import heapq
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from schemas.call import CallStatus
from schemas.receipt import ReceiptResult
from schemas.topics import Uplink
from schemas.vehicle import Uplinked
from simulator import call_center, driving, messages, streets
from simulator.driving import Moment
from simulator.garage import Garage, in_coverage
from simulator.habits import Traffic, life
from simulator.latencies import Latencies
from simulator.public_api import ApiRefused, PublicApi
from simulator.settings import Broker, Certificate
from simulator.tcu import Tcu

_RECEIPT_S = 20.0
_CALL_S = 2.0
_IN_ONE_GO = 64
"""After so many samples the event loop gets its turn, however late they are."""
_NAP_S = 0.2
_WATCHED_EACH_S = 1.0

LATE_MS = 250.0
"""Of 100 samples one may be as late as this before the simulator says that it is the limit."""
BUSY = 0.8
"""What is held up while it uses this much of one processor is held up by its own work."""


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """Status samples a second of each vehicle, presses a minute of the whole fleet, and how much is driven."""

    rate_per_s: float
    presses_per_minute: float
    seed: int
    traffic: Traffic = Traffic.COMMUTE


@dataclass(slots=True)
class FleetReport:
    """What the fleet has counted; `outstanding` are urgent messages without a receipt, in order of their sending.

    `status_waiting` are samples that waited for their PUBACK when it was looked, at last when the driving ended."""

    vehicles: int
    rate_per_s: float
    seconds: float = 0.0
    status_due: int = 0
    status_sent: int = 0
    status_given_up: int = 0
    status_waiting: int = 0
    urgent: Counter[Uplink] = field(default_factory=Counter)
    urgent_resent: int = 0
    receipts: Counter[ReceiptResult] = field(default_factory=Counter)
    receipts_again: int = 0
    receipt_s: Latencies = field(default_factory=Latencies)
    puback_s: Latencies = field(default_factory=Latencies)
    connections: int = 0
    outstanding: list[str] = field(default_factory=list)
    incidents: Counter[str] = field(default_factory=Counter)
    incidents_left_open: int = 0
    late_s: Latencies = field(default_factory=Latencies)
    """How long after its time a sample was made: what the event loop owes."""
    cpu_share: float = 0.0
    """Of one processor, what this process used."""
    busy_s: float = 0.0
    starved_s: float = 0.0
    """How long the event loop was held up, by its own work or because the machine did not run it."""

    @property
    def status_lost(self) -> int:
        """Samples that the broker has not confirmed, nor the vehicle given up: in the end there must be none."""
        return self.status_due - self.status_sent - self.status_given_up

    @property
    def complete(self) -> bool:
        """Tell whether everything reached its end: confirmed, receipted and usable, each incident closed."""
        unusable = self.receipts[ReceiptResult.QUARANTINED]
        left = (self.outstanding, self.status_lost, self.status_given_up, unusable, self.incidents_left_open)
        return not any(left)

    @property
    def limit(self) -> str:
        """Say whether what was measured is of the backend, or of the simulator's own making."""
        late_ms = self.late_s.percentile_ms(99) or 0.0
        late = f"its samples were {late_ms:.0f} ms late (p99)"
        if late_ms > LATE_MS and self.busy_s >= self.starved_s:
            return f"the simulator: its own work held it up for {self.busy_s:.1f} s, {late}"
        if late_ms > LATE_MS:
            return f"the machine: it did not run the simulator for {self.starved_s:.1f} s, {late}"
        if self.status_waiting > self.vehicles or self.status_given_up:
            return f"the broker or what is behind it: {self.status_waiting} samples wait for its PUBACK"
        return "none: everything went out on time"


@dataclass(slots=True)
class _Car:
    tcu: Tcu
    moments: Iterator[Moment]
    contents: Random
    helping: asyncio.Task[None] | None = None


class _Fleet:
    """The vehicles of a run, and what they have in common."""

    def __init__(
        self, plan: FleetPlan, cars: Sequence[_Car], api: PublicApi | None, notify: Callable[[str], None]
    ) -> None:
        self.report = FleetReport(vehicles=len(cars), rate_per_s=plan.rate_per_s)
        self.cars = cars
        for car in cars:  # one count for all: to add up thousands each second would make samples late
            car.tcu.tally.receipt_s, car.tcu.tally.puback_s = self.report.receipt_s, self.report.puback_s
        self._api = api
        self._notify = notify
        jitter = Random(f"{plan.seed}:offsets")
        self._offsets_s = [jitter.uniform(0, 1 / plan.rate_per_s) for _ in cars]
        self._press_chance = plan.presses_per_minute / 60 / plan.rate_per_s / len(cars)

    async def drive(self, stop: asyncio.Event, helping: asyncio.TaskGroup, seconds: float) -> None:
        """Let every vehicle say what it has to say when it is time, for so long or until `stop`."""
        loop = asyncio.get_running_loop()
        due = [(offset_s, number, next(self.cars[number].moments)) for number, offset_s in enumerate(self._offsets_s)]
        heapq.heapify(due)
        zero_s = loop.time()
        since_turn = 0
        while not stop.is_set():
            at_s, number, moment = due[0]
            if at_s >= seconds:
                break
            late_s = loop.time() - zero_s - at_s
            if late_s < 0 or since_turn >= _IN_ONE_GO:
                since_turn = 0
                await asyncio.sleep(min(max(0.0, -late_s), _NAP_S))
                continue
            since_turn += 1
            self.report.late_s.add(late_s)
            car = self.cars[number]
            self._say(car, moment, helping)
            following = next(car.moments)
            heapq.heapreplace(due, (self._offsets_s[number] + following.elapsed_s, number, following))
        self.report.seconds = loop.time() - zero_s

    def _say(self, car: _Car, moment: Moment, helping: asyncio.TaskGroup) -> None:
        tcu, rng = car.tcu, car.contents
        if moment.event is not None:
            tcu.send(Uplink.ENGINE, messages.engine(rng, moment.event, moment.state, tcu.now()))
            self.report.urgent[Uplink.ENGINE] += 1
        tcu.report(messages.status(rng, moment.state, tcu.now()))
        self.report.status_due += 1
        pressed, need = rng.random() < self._press_chance, Random(rng.getrandbits(64))
        if pressed and self._api is not None and (car.helping is None or car.helping.done()):
            car.helping = helping.create_task(self._help(tcu, self._api, need, moment.state))

    async def _help(self, tcu: Tcu, api: PublicApi, rng: Random, state: driving.VehicleState) -> None:
        """Press SOS or RSA, and play the call center until the incident is over."""
        is_sos = rng.random() < 0.5  # noqa: PLR2004 - as often the one as the other
        service = "SOS" if is_sos else "RSA"
        self._notify(f"{tcu.vin} presses {service}")
        self.report.incidents[service] += 1
        try:
            if is_sos:
                cid = await self._receipted(tcu, Uplink.SOS, messages.sos_from_the_road(rng, state, tcu.now()))
                for status in (CallStatus.CONNECTING, CallStatus.CONNECTED, CallStatus.ENDED):
                    await self._receipted(tcu, Uplink.CALL, messages.call(rng, status, tcu.now(), cid=cid))
                    await asyncio.sleep(_CALL_S)
                await call_center.close_sos(api, rng, tcu.vin, cid)
            else:
                cid = await self._receipted(tcu, Uplink.RSA, messages.rsa_from_the_road(rng, state, tcu.now()))
                await call_center.end_rsa(api, rng, tcu.vin, cid)
        except TimeoutError:
            self._notify(f"{tcu.vin} got no receipt within {_RECEIPT_S:.0f} s")
            self.report.incidents_left_open += 1
        except ApiRefused as refused:
            self._notify(f"{tcu.vin} leaves its incident open: {refused}")
            self.report.incidents_left_open += 1

    async def _receipted(self, tcu: Tcu, kind: Uplink, message: Uplinked) -> str:
        """Send an urgent message and return the cid of its receipt. Raises TimeoutError."""
        self.report.urgent[kind] += 1
        sent = tcu.send(kind, message)
        async with asyncio.timeout(_RECEIPT_S):
            return (await sent.receipt).what.cid or ""

    async def settled(self) -> None:
        """Wait, for a bounded time, until every vehicle has its receipts and the broker every sample."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_RECEIPT_S):
                for car in self.cars:
                    await car.tcu.settled()

    def counted(self) -> FleetReport:
        """Return the report with what the vehicles have counted until now."""
        report = self.report
        report.status_sent = report.status_given_up = report.status_waiting = 0
        report.urgent_resent = report.receipts_again = report.connections = 0
        report.receipts = Counter()
        acks = 0
        for car in self.cars:
            tally = car.tcu.tally
            report.status_sent += tally.status_sent
            report.status_given_up += tally.status_given_up
            report.status_waiting += car.tcu.samples_waiting
            report.urgent_resent += tally.urgent_resent
            report.receipts += tally.receipts
            report.receipts_again += tally.receipts_again
            report.connections += tally.connections
            acks += tally.urgent_sent
        report.urgent[Uplink.COMMAND_ACK] = acks - sum(
            count for kind, count in report.urgent.items() if kind is not Uplink.COMMAND_ACK
        )
        report.outstanding = [
            f"{car.tcu.vin} {kept.kind} {kept.message_id}" for car in self.cars for kept in car.tcu.unreceipted
        ]
        return report


async def run_fleet(
    plan: FleetPlan,
    *,
    broker: Broker,
    certificates: Mapping[str, Certificate],
    api: PublicApi | None,
    notify: Callable[[str], None],
    stop: asyncio.Event,
    seconds: float = math.inf,
    watch: Callable[[FleetReport], None] = lambda _report: None,
) -> FleetReport:
    """Run one vehicle for each certificate, wait for the last receipts, and return what was counted.

    It drives for so many seconds after the last vehicle has connected, or until `stop`. Without an API nobody presses.

    `watch` is given what has been counted so far, once a second.

    Raises Unreachable where a vehicle cannot connect.
    """
    garage = Garage(broker, certificates, plan.seed, notify)
    tcus = [garage.tcu(vin) for vin in certificates]
    async with in_coverage(tcus, stop):
        began = datetime.now(UTC)
        cars = [_car(plan, tcu, number, began) for number, tcu in enumerate(tcus)]
        fleet = _Fleet(plan, cars, api, notify)
        began_s, began_cpu_s = time.monotonic(), time.process_time()

        def look() -> FleetReport:
            report = fleet.counted()
            passed_s = time.monotonic() - began_s
            report.cpu_share = (time.process_time() - began_cpu_s) / passed_s
            return report

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(look, fleet.report, watch, began_s))
            async with asyncio.TaskGroup() as helping:
                await fleet.drive(stop, helping, seconds)
                watching.cancel()
                report = look()
        await fleet.settled()
        busy, waiting = report.cpu_share, report.status_waiting
        report = fleet.counted()
        report.cpu_share, report.status_waiting = busy, waiting
    return report


def _car(plan: FleetPlan, tcu: Tcu, number: int, began: datetime) -> _Car:
    seed = f"{plan.seed}:{tcu.vin}"
    city = streets.CITIES[number % len(streets.CITIES)]
    moments = life(seed, city, began, step_s=1 / plan.rate_per_s, traffic=plan.traffic)
    return _Car(tcu, moments, Random(seed))


async def _watch(
    look: Callable[[], FleetReport], report: FleetReport, watch: Callable[[FleetReport], None], began_s: float
) -> None:
    while True:
        before_s, before_cpu_s = time.monotonic(), time.process_time()
        await asyncio.sleep(_WATCHED_EACH_S)
        passed_s = time.monotonic() - before_s
        if passed_s - _WATCHED_EACH_S > LATE_MS / 1000:
            held_up_s = passed_s - _WATCHED_EACH_S
            own = (time.process_time() - before_cpu_s) / passed_s > BUSY
            report.busy_s, report.starved_s = report.busy_s + own * held_up_s, report.starved_s + (not own) * held_up_s
        report.seconds = time.monotonic() - began_s
        watch(look())
