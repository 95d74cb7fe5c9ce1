"""A fleet of simulated vehicles over MQTT and TLS that writes down what it sends and what it is promised."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Self

from pydantic import SecretStr

from db import vehicles
from db.pool import Connection
from mosquitto import pki
from rules.apply import curfew
from schemas.call import CallStatus
from schemas.command import CommandAckMessage
from schemas.curfew import CurfewPolicyRequest
from schemas.receipt import ReceiptMessage
from schemas.topics import Uplink
from schemas.vehicle import EngineEvent, Uplinked
from simulator import call_center, driving, messages
from simulator.public_api import ApiRefused, PublicApi
from simulator.seen import Arrival
from simulator.settings import Broker as BrokerAddress
from simulator.settings import Certificate, Settings
from simulator.tcu import Sent, Tcu
from simulator.unreceipted import UnreceiptedStore
from tests.faults.ledger import Entry
from tests.faults.stand import OPERATOR, Stand

CONNECT_S = 30.0
ASTRAY = (timedelta(hours=1), timedelta(days=365), -timedelta(hours=1), -timedelta(days=365))
ALL_DAY = CurfewPolicyRequest.model_validate(
    {
        "enabled": True,
        "timezone": "UTC",
        "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
        "timeWindows": [{"start": "00:00", "end": "12:00"}, {"start": "12:00", "end": "00:00"}],
        "actions": ["notification", "in_vehicle_warning"],
    }
)


class RecordedTcu(Tcu):
    """A simulated vehicle that writes each message with a receipt, command-acks too, into the ledger."""

    def __init__(self, *, ledger: list[Entry], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.episode = 0
        self._ledger = ledger

    def send(self, kind: Uplink, message: Uplinked) -> Sent:
        """Do as any vehicle, and write it down."""
        answers = message.command_id if isinstance(message, CommandAckMessage) else None
        episode = self.episode if kind is Uplink.SOS else 0  # nobody ends the one RSA
        entry = Entry(self.vin, kind, message.message_id, episode, answers)
        self._ledger.append(entry)
        sent = super().send(kind, message)
        sent.receipt.add_done_callback(lambda receipt: _note(entry, receipt))
        return sent


def _note(entry: Entry, receipt: asyncio.Future[Arrival[ReceiptMessage]]) -> None:
    if not receipt.cancelled():  # as at the end of a run for which nobody waits
        entry.result, entry.cid = receipt.result().what.result, receipt.result().what.cid


@dataclass(frozen=True, slots=True)
class Plan:
    """How many vehicles of each sort there are, and how many messages a second all of them send."""

    pressing: int
    """Drive, press SOS and RSA, call, and are helped through the API."""
    under_curfew: int
    """Start and stop their engines where they may not."""
    astray: int
    """As those that press, with a clock that is an hour or a year off."""
    per_second: float


class Fleet:
    """The vehicles, on an event loop in a thread of its own. As a context manager it drives from enter to exit."""

    def __init__(self, stand: Stand, plan: Plan, *, seed: int) -> None:
        self.ledger: list[Entry] = []
        self.driven: dict[str, list[datetime]] = {}
        self.notes: list[str] = []
        self._stand = stand
        self._plan = plan
        self._seed = seed
        count = plan.pressing + plan.under_curfew + plan.astray
        self.vins = [f"KMH{seed % 10**8:08d}{number:06d}" for number in range(count)]
        self._certificates = {vin: pki.issue_vehicle(stand.pki_dir, vin) for vin in self.vins}
        with stand.connect() as conn:
            _put_under_curfew(conn, self.vins[plan.pressing : plan.pressing + plan.under_curfew])
        self._settled_within_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._done: Future[None] = Future()
        self._tcus: list[RecordedTcu] = []
        self._thread = threading.Thread(target=self._run, name="fleet")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.settle(wait_s=0)

    def waiting(self) -> int:
        """Return how many messages have no receipt yet."""
        return sum(entry.result is None for entry in tuple(self.ledger))

    def settle(self, *, wait_s: float) -> None:
        """End the driving, and return when everybody has every receipt, or after the wait. Once more does nothing."""
        if self._thread.is_alive():
            self._settled_within_s = wait_s
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._done.result()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._live())
            self._done.set_result(None)
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self._done.set_exception(error)

    async def _live(self) -> None:
        settings = Settings(
            api_url=self._stand.api_url, mqtt_host=self._stand.broker.host, mqtt_port=self._stand.broker.port,
            mqtt_ca=self._stand.broker.ca, pki_dir=self._stand.pki_dir, demo_token=SecretStr(OPERATOR),
        )  # fmt: skip
        async with PublicApi(settings, self.notes.append) as api:
            self._tcus = [self._tcu(number, vin) for number, vin in enumerate(self.vins)]
            for tcu in self._tcus:
                tcu.go_online()
            for tcu in self._tcus:
                await tcu.connected(timeout_s=CONNECT_S)
            driving = [
                asyncio.create_task(self._break_curfew(tcu) if tcu.vin in self.driven else self._drive(tcu, api))
                for tcu in self._tcus
            ]
            await self._stop.wait()
            with suppress(TimeoutError):  # who still waits then has no receipt: the checker tells
                async with asyncio.timeout(self._settled_within_s):
                    await asyncio.gather(*driving)
                    for tcu in self._tcus:
                        await tcu.settled()
            await asyncio.gather(*(tcu.go_offline() for tcu in self._tcus))

    def _tcu(self, number: int, vin: str) -> RecordedTcu:
        restricted = self._plan.pressing <= number < self._plan.pressing + self._plan.under_curfew
        if restricted:
            self.driven[vin] = []
        astray = number >= self._plan.pressing + self._plan.under_curfew
        return RecordedTcu(
            ledger=self.ledger,
            vin=vin,
            broker=BrokerAddress(self._stand.broker.host, self._stand.broker.port, self._stand.broker.ca),
            certificate=Certificate(self._certificates[vin].certificate, self._certificates[vin].key),
            unreceipted=UnreceiptedStore(),
            jitter=Random(f"{self._seed}:{vin}:jitter"),
            notify=self.notes.append,
            clock_offset=ASTRAY[number % len(ASTRAY)] if astray else timedelta(0),
        )

    async def _pause(self, rng: Random) -> bool:
        """Wait until this vehicle's next message; false when the driving is over."""
        try:
            async with asyncio.timeout(rng.expovariate(self._plan.per_second / len(self.vins))):
                await self._stop.wait()
        except TimeoutError:
            return True
        return False

    async def _break_curfew(self, tcu: RecordedTcu) -> None:
        """Start the engine and stop it again, each a violation; the last one is ended too."""
        rng = Random(f"{self._seed}:{tcu.vin}")
        state = driving.parked_somewhere(rng)
        runs = False
        while await self._pause(rng):
            runs = not runs
            event = EngineEvent.START if runs else EngineEvent.STOP
            at = tcu.now()
            tcu.send(Uplink.ENGINE, messages.engine(rng, event, state, at))
            if runs:
                self.driven[tcu.vin].append(at)
            await asyncio.sleep(0.05)  # never two at one instant
        if runs:
            tcu.send(Uplink.ENGINE, messages.engine(rng, EngineEvent.STOP, state, tcu.now()))

    async def _drive(self, tcu: RecordedTcu, api: PublicApi) -> None:
        rng = Random(f"{self._seed}:{tcu.vin}")
        state = driving.parked_somewhere(rng)
        emergency: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as tasks:
            while await self._pause(rng):
                chance = rng.random()
                if chance < 0.6:
                    tcu.report(messages.status(rng, state, tcu.now()))
                elif chance < 0.8:
                    event = rng.choice(list(EngineEvent))
                    tcu.send(Uplink.ENGINE, messages.engine(rng, event, state, tcu.now()))
                elif emergency is None or emergency.done():
                    emergency = tasks.create_task(self._live_through(tcu, rng, state, api))

    async def _live_through(self, tcu: RecordedTcu, rng: Random, state: driving.VehicleState, api: PublicApi) -> None:
        """Press once or twice, call, and be helped: the next press is of another emergency."""
        presses = [
            tcu.send(Uplink.SOS, messages.sos_from_the_road(rng, state, tcu.now())) for _ in range(rng.randint(1, 2))
        ]
        if rng.random() < 0.3:
            tcu.send(Uplink.RSA, messages.rsa_from_the_road(rng, state, tcu.now()))
        cid = None
        for press in presses:
            cid = (await press.receipt).what.cid
        assert cid is not None
        calls = [
            tcu.send(Uplink.CALL, messages.call(rng, status, tcu.now(), cid=cid))
            for status in (CallStatus.CONNECTED, CallStatus.ENDED)
        ]
        for call in calls:
            await call.receipt
        await self._close(tcu.vin, cid, rng, api)
        tcu.episode += 1

    async def _close(self, vin: str, cid: str, rng: Random, api: PublicApi) -> None:
        """Try until the incident is over; where an answer was lost, the next one is a conflict."""
        while True:
            try:
                await call_center.close_sos(api, rng, vin, cid)
            except ApiRefused as refused:
                self.notes.append(str(refused))
                if "answered 409" in str(refused):
                    return
                await asyncio.sleep(0.5)
            else:
                return


def _put_under_curfew(conn: Connection, vins: Sequence[str]) -> None:
    since = datetime.now(UTC) - timedelta(days=30)
    vehicles.register(conn, vins)
    for vin in vins:
        curfew.set_policy(conn, vin, ALL_DAY, actor="guardian", if_match=None, now=since)
        curfew.record_consent(conn, vin, granted=True, actor="driver", at=since, now=since)
