"""A telematics control unit: one vehicle's durable MQTT 5 session that loses no urgent message."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from types import TracebackType
from typing import Self
from uuid import uuid4

import mqtt5

from schemas.command import AckStatus, CommandMessage, CommandType
from schemas.incident import IncidentMessage
from schemas.receipt import ReceiptMessage, ReceiptResult
from schemas.topics import Downlink, Uplink, downlink_topic, uplink_topic
from schemas.vehicle import EngineEvent, EngineMessage, EngineStatus, StatusMessage, Uplinked
from simulator import messages
from simulator.clock import server_time
from simulator.commands import Obeyed, obey
from simulator.latencies import Latencies
from simulator.seen import Arrival, Seen
from simulator.session import Heard, Session, SessionLost
from simulator.settings import Broker, Certificate
from simulator.unreceipted import UnreceiptedStore

SAMPLES_KEPT = 1_000
"""Status samples that wait for a connection; beyond it the oldest are given up."""

_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 30.0


class Answers(StrEnum):
    """How the vehicle answers commands. It obeys them all the same."""

    PROMPTLY = "promptly"
    LATE = "late"
    """When the command is void."""
    WRONGLY = "wrongly"
    """With a failure, and with an answer to a command that nobody has sent."""
    NEVER = "never"


class Unreachable(Exception):
    """The vehicle could not connect to the broker in time; the message says why."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the vehicle keeps until its receipt; `at_s` is when it was handed over, by the loop's clock."""

    message_id: str
    at_s: float
    receipt: asyncio.Future[Arrival[ReceiptMessage]]


@dataclass(frozen=True, slots=True)
class _Sample:
    payload: bytes
    at_s: float


@dataclass(slots=True)
class Tally:
    """What the vehicle has counted since its start."""

    urgent_sent: int = 0
    urgent_resent: int = 0
    status_sent: int = 0
    status_given_up: int = 0
    connections: int = 0
    receipts: Counter[ReceiptResult] = field(default_factory=Counter)
    receipts_again: int = 0
    """Receipts of what had one already: a message that went out twice gets two."""
    receipt_s: Latencies = field(default_factory=Latencies)
    """From handing a message over to its receipt."""
    puback_s: Latencies = field(default_factory=Latencies)
    """From handing a status sample over to the broker's answer."""


class Tcu:
    """One vehicle. As a context manager it connects, stays connected, and says goodbye at the end.

    What it is given while it is out of coverage it keeps, and delivers when it is back.

    `notify` is called with a line for people whenever something happens that nobody asked for.
    """

    def __init__(
        self,
        *,
        vin: str,
        broker: Broker,
        certificate: Certificate,
        unreceipted: UnreceiptedStore,
        jitter: Random,
        notify: Callable[[str], None],
        clock_offset: timedelta = timedelta(0),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.vin = vin
        self.unreceipted = unreceipted
        self.tally = Tally()
        self.incidents: Seen[IncidentMessage] = Seen()
        self._shown: dict[str, int] = {}
        self.answered: Seen[CommandMessage] = Seen()
        self.receipts: Seen[ReceiptMessage] = Seen()
        self.answers = Answers.PROMPTLY
        self.start_blocked_until: datetime | None = None
        self._engine_runs = False
        self._broker = broker
        self._jitter = jitter
        self._notify = notify
        self._clock_offset = clock_offset
        self._downlinks = f"{downlink_topic(vin, Downlink.RECEIPT).rpartition('/')[0]}/#"
        self._session = Session(vin, broker, certificate, on_message=self._listen, on_confirmed=self._confirmed)
        self._samples: deque[_Sample] = deque()
        self._sampling: _Sample | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent: dict[str, Sent] = {}
        self._commands_done: deque[str] = deque(maxlen=100)
        self._connected = asyncio.Event()
        self._settled = asyncio.Event()
        self._note_settled()
        self._last_error = "no attempt yet"
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.go_online()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.go_offline()

    def go_online(self) -> None:
        """Come into coverage: connect, and connect again whenever the connection is lost."""
        if self._running is None:
            self._running = asyncio.create_task(self._stay_connected())

    async def go_offline(self) -> None:
        """Leave coverage. The goodbye takes the place of the last will; the broker keeps the session."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        await asyncio.wait({running})
        if self._session.ready:
            # A clean DISCONNECT makes the broker discard the will (MQTT 5 §3.14.4), so the vehicle says it itself.
            self._say_presence(online=False)
        await self._session.leave()
        if not running.cancelled():
            running.result()

    def now(self) -> datetime:
        """Return the time by the vehicle's own clock."""
        return datetime.now(UTC) + self._clock_offset

    def misset_clock(self, by: timedelta) -> None:
        """Make the vehicle's own clock jump, ahead if positive."""
        self._clock_offset += by

    def may_start(self) -> bool:
        """Tell whether the engine starts when the driver turns the key."""
        return self.start_blocked_until is None or self.now() >= self.start_blocked_until

    def send(self, kind: Uplink, message: Uplinked) -> Sent:
        """Keep an urgent message and send it until its receipt comes; return at once."""
        if isinstance(message, EngineMessage):
            self._engine_runs = message.event is EngineEvent.START
        return self.send_payload(kind, message.message_id, messages.payload_of(message))

    def send_payload(self, kind: Uplink, message_id: str, payload: bytes) -> Sent:
        """Do the same with a message that is written already."""
        self.unreceipted.keep(message_id, kind, payload)
        self.tally.urgent_sent += 1
        sent = Sent(message_id, self._loop.time(), self._loop.create_future())
        self._sent[message_id] = sent
        self._settled.clear()
        self._deliver()
        return sent

    def report(self, sample: StatusMessage) -> None:
        """Hand over a status sample: it goes out once, as soon as there is a connection and nothing urgent waits."""
        self._engine_runs = sample.engine_status in {EngineStatus.ON, EngineStatus.CRANKING}
        self.report_payload(messages.payload_of(sample))

    def report_payload(self, payload: bytes) -> None:
        """Do the same with a sample that is written already."""
        if len(self._samples) >= SAMPLES_KEPT:
            self._samples.popleft()
            self.tally.status_given_up += 1
        self._samples.append(_Sample(payload, self._loop.time()))
        self._settled.clear()
        self._deliver()

    def say(self, kind: Uplink, payload: bytes) -> None:
        """Send some bytes once, whatever they are; nothing is kept, and no receipt is waited for."""
        self._session.publish(uplink_topic(self.vin, kind), payload)

    @property
    def samples_waiting(self) -> int:
        """How many status samples the broker has not confirmed yet."""
        return len(self._samples) + (self._sampling is not None)

    async def connected(self, *, timeout_s: float) -> None:
        """Return as soon as the vehicle is connected and subscribed. Raises Unreachable."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
        except TimeoutError:
            where = f"{self._broker.host}:{self._broker.port}"
            raise Unreachable(f"{self.vin} cannot connect to the broker at {where}: {self._last_error}") from None

    async def settled(self) -> None:
        """Return as soon as every urgent message has its receipt and the broker every status sample."""
        await self._settled.wait()

    async def _stay_connected(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            connections = self.tally.connections
            try:
                again = await self._session.connect(self._downlinks, self._last_will())
                self._begin(again)
                self._last_error = await self._session.lost()
            except SessionLost as error:
                self._last_error = str(error)
            finally:
                self._connected.clear()
            retry_s = _FIRST_RETRY_S if self.tally.connections > connections else min(2 * retry_s, _LONGEST_RETRY_S)
            pause_s = retry_s * self._jitter.uniform(0.5, 1.0)
            self._notify(f"{self.vin} offline ({self._last_error}); connects again in {pause_s:.1f} s")
            await asyncio.sleep(pause_s)

    def _last_will(self) -> mqtt5.Will:
        payload = messages.payload_of(messages.presence(self.now(), online=False))
        return mqtt5.Will(uplink_topic(self.vin, Uplink.PRESENCE), payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)

    def _begin(self, again: list[object]) -> None:
        """Say hello, and send what is owed; `again` are the tokens of what the session has sent again already."""
        self._say_presence(online=True)
        self.tally.connections += 1
        self.unreceipted.all_due()
        for token in again:
            if isinstance(token, str):
                self.unreceipted.sent(token, self._loop.time())
                self.tally.urgent_resent += 1
        if self.tally.connections > 1 and len(self.unreceipted):
            self._notify(f"{self.vin} is back; sends {len(self.unreceipted)} unreceipted again")
        self._connected.set()
        self._deliver()

    def _say_presence(self, *, online: bool) -> None:
        payload = messages.payload_of(messages.presence(self.now(), online=online))
        self._session.publish(uplink_topic(self.vin, Uplink.PRESENCE), payload)

    def _deliver(self) -> None:
        """Send what is due: urgent messages at once, and one status sample, so that an urgent one waits for no more."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._connected.is_set():
            return
        for kept in self.unreceipted.due(self._loop.time()):
            if kept.attempts:
                self.tally.urgent_resent += 1
                self._notify(f"{self.vin} sends {kept.kind} {kept.message_id} again (attempt {kept.attempts + 1})")
            self.unreceipted.sent(kept.message_id, self._loop.time())
            self._session.publish(uplink_topic(self.vin, kept.kind), kept.payload, kept.message_id)
        if self._sampling is None and self._samples:
            self._sampling = self._samples.popleft()
            self._session.publish(uplink_topic(self.vin, Uplink.STATUS), self._sampling.payload, self._sampling)
        due_s = self.unreceipted.next_due_s()
        if due_s is not None:
            self._timer = self._loop.call_at(due_s, self._deliver)

    def _confirmed(self, token: object, accepted: bool, _took_s: float) -> None:  # noqa: FBT001 - the session's callback
        if token is self._sampling and self._sampling is not None:
            if accepted:
                self.tally.status_sent += 1
                self.tally.puback_s.add(self._loop.time() - self._sampling.at_s)
            else:
                self.tally.status_given_up += 1
                self._notify(f"{self.vin} the broker refused a status sample")
            self._sampling = None
            self._note_settled()
            self._deliver()

    def _listen(self, heard: Heard) -> None:
        try:
            self._hear(Downlink(heard.topic.rpartition("/")[2]), heard.payload, heard.expiry_s)
        except ValueError as error:  # pydantic's ValidationError is one
            self._notify(f"{self.vin} cannot read {heard.topic}: {error}")

    def _hear(self, kind: Downlink, payload: bytes, expiry_s: int | None) -> None:
        match kind:
            case Downlink.RECEIPT:
                self._settle(ReceiptMessage.model_validate_json(payload))
            case Downlink.INCIDENT:
                self._show(IncidentMessage.model_validate_json(payload))
            case Downlink.COMMAND:
                self._obey(CommandMessage.model_validate_json(payload), expiry_s)

    def _show(self, incident: IncidentMessage) -> None:
        """Show the driver an incident's state; an older one than is shown comes from a broker that was killed."""
        if incident.sequence > self._shown.get(incident.cid, -1):
            self._shown[incident.cid] = incident.sequence
            self.incidents.add(incident)

    def _settle(self, receipt: ReceiptMessage) -> None:
        self.receipts.add(receipt)
        if receipt.message_id is None:
            return
        kept = self.unreceipted.settle(receipt.message_id)
        if kept is None:
            self.tally.receipts_again += 1
            return
        self.tally.receipts[receipt.result] += 1
        self._note_settled()
        if receipt.result is ReceiptResult.QUARANTINED:
            self._notify(f"{self.vin} QUARANTINED: the server could not use {kept.kind} {kept.message_id}")
        sent = self._sent.pop(receipt.message_id, None)
        if sent is not None:
            now_s = self._loop.time()
            self.tally.receipt_s.add(now_s - sent.at_s)
            if not sent.receipt.done():
                sent.receipt.set_result(Arrival(receipt, now_s))

    def _note_settled(self) -> None:
        if self._sampling is None and not self._samples and not len(self.unreceipted):
            self._settled.set()

    def _obey(self, command: CommandMessage, expiry_s: int | None) -> None:
        if command.command_id in self._commands_done:
            return
        self._commands_done.append(command.command_id)
        server_now = server_time(command, expiry_s)
        expired = server_now >= command.expires_at
        # A frozen broker does not count the expiry down: a block is too late also where only the own clock says so.
        if expired or (command.type is CommandType.ENGINE_START_BLOCK and self.now() >= command.expires_at):
            self._notify(f"{self.vin} ignores {command.type} {command.command_id}: it has expired")
            return
        if command.type is CommandType.TIME_SYNC:
            # First of all: an acknowledgement by the wrong clock would ask for the next correction.
            self._clock_offset = server_now - datetime.now(UTC)
        done = obey(command, engine_runs=self._engine_runs, start_blocked_until=self.start_blocked_until)
        self.start_blocked_until = done.start_blocked_until
        self._notify(f"{self.vin} {done.shown}")
        self._acknowledge(command, done)
        self.answered.add(command)

    def _acknowledge(self, command: CommandMessage, done: Obeyed) -> None:
        match self.answers:
            case Answers.NEVER:
                return
            case Answers.LATE:
                void_s = (command.expires_at - self.now()).total_seconds()
                self._loop.call_later(max(0.0, void_s) + 1, self._answer, command, done)
            case Answers.WRONGLY:
                self._answer(command, Obeyed(AckStatus.FAILED, done.shown, None, "not understood"))
                unknown = messages.command_ack(str(uuid4()), AckStatus.EXECUTED, self.now())
                self.send(Uplink.COMMAND_ACK, unknown)
            case Answers.PROMPTLY:
                self._answer(command, done)

    def _answer(self, command: CommandMessage, done: Obeyed) -> None:
        for status in (AckStatus.ACCEPTED, done.status) if done.reason is None else (done.status,):
            self.send(Uplink.COMMAND_ACK, messages.command_ack(command.command_id, status, self.now(), done.reason))
