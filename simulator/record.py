"""What all vehicles say, as the broker sees it, into a file."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from schemas.topics import Uplink, parse_uplink, uplink_topic
from simulator.session import Heard, Session, SessionLost
from simulator.settings import Settings, services_of
from simulator.traces import Recorder, Said


@dataclass(slots=True)
class Recorded:
    """How much was recorded, and what was heard on topics that the contract does not know."""

    messages: Counter[Uplink] = field(default_factory=Counter)
    vehicles: set[str] = field(default_factory=set)
    unknown: int = 0


async def record(
    settings: Settings, path: Path, *, vins: Collection[str], stop: asyncio.Event, notify: Callable[[str], None]
) -> Recorded:
    """Write what these vehicles say, or all, until `stop`; return how much it was.

    It listens with the worker's identity, in a session of its own that ends with it. An older file is kept where
    nothing can be recorded. Raises BadTrace where the file cannot be written, SessionLost where the broker cannot be
    reached or the connection ends.
    """
    recorder = Recorder(path)
    counted = Recorded()
    early: list[Said] = []
    write: Callable[[Said], None] = early.append  # what comes before the file is open

    def hear(heard: Heard) -> None:
        try:
            vin, kind = parse_uplink(heard.topic)
        except ValueError:
            counted.unknown += 1
            return
        if not vins or vin in vins:
            write(Said(datetime.now(UTC), vin, kind, heard.payload))
            counted.messages[kind] += 1
            counted.vehicles.add(vin)

    broker, certificate = services_of(settings)
    session = Session(f"record-{uuid4()}", broker, certificate, on_message=hear, on_confirmed=lambda *_: None)
    topics = uplink_topic("+", Uplink.STATUS).rpartition("/")[0] + "/#"
    with ExitStack() as opened:
        await session.connect(topics, expiry_s=0)
        try:
            opened.enter_context(recorder)
            for said in early:
                recorder.write(said)
            write = recorder.write
            notify(f"records what {'all' if not vins else len(vins)} vehicles say into {path}; Ctrl-C ends it")
            losing = asyncio.create_task(session.lost())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({losing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if losing.done():
                raise SessionLost(f"the recording has ended early: {losing.result()}")
            losing.cancel()
            with suppress(asyncio.CancelledError):
                await losing
        finally:
            await session.leave()
    return counted
