"""Seeded messages of vehicles that drive, with gaps, late and second deliveries; and what pandas makes of them."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pandas as pd

from ingest.inbox import Received
from ingest.pipeline import store
from schemas.topics import Uplink, uplink_topic

SILENCE = pd.Timedelta(minutes=30)
FIGURES = {
    "speedKph": "speed_kph",
    "odometerKm": "odometer_km",
    "batteryVoltage": "battery_voltage",
    "fuelLevel": "fuel_level",
}


@dataclass
class Driven:
    """Messages in the order of their happening, as (kind, VIN, body)."""

    messages: list[tuple[Uplink, str, dict[str, Any]]] = field(default_factory=list)

    def frame(self, kind: Uplink, vin: str) -> pd.DataFrame:
        """Return the messages of a kind of one vehicle by their time, each once."""
        bodies = [body for sent, of, body in self.messages if sent is kind and of == vin]
        frame = pd.json_normalize(bodies).drop_duplicates("messageId")
        frame["timestamp"] = pd.to_datetime(frame["timestamp"], format="ISO8601", utc=True)
        return frame.sort_values(["timestamp", "messageId"]).reset_index(drop=True)

    def deliver(self, conn: Any, *, seed: int, at: datetime) -> None:
        """Let the worker's pipeline store all of it in a made-up order, some of it twice. Needs autocommit."""
        random = Random(seed)
        sent = [*self.messages, *random.sample(self.messages, len(self.messages) // 20)]
        random.shuffle(sent)
        batch = [Received(uplink_topic(vin, kind), json.dumps(body).encode(), at) for kind, vin, body in sent]
        known: set[str] = set()
        for start in range(0, len(batch), 400):
            store(conn, batch[start : start + 400], known_vins=known, engines={}, now=at)


def drive(vins: list[str], *, since: datetime, hours: int, seed: int) -> Driven:
    """Return what vehicles report that drive now and then: each some minutes long, every 20 to 40 s."""
    random = Random(seed)
    driven = Driven()
    for vin in vins:
        at, odometer, fuel = since + timedelta(minutes=random.randint(0, 50)), random.uniform(1e3, 9e4), 90.0
        while at < since + timedelta(hours=hours):
            if random.random() < 0.9:
                _say(driven, random, Uplink.ENGINE, vin, at, event="START", odometerKm=round(odometer, 1))
            idle = random.random() < 0.15
            for _ in range(random.randint(3, 60)):
                at += timedelta(seconds=random.randint(20, 40), milliseconds=random.randint(0, 999))
                if random.random() < 0.01:
                    at += timedelta(minutes=random.choice([20, 31, 45]))  # no coverage
                speed = 0.0 if idle else round(random.uniform(0, 120), 1)
                odometer += speed / 120
                fuel -= 0.05
                if random.random() > 0.03:  # some never come
                    said = _reported(random, speed=speed, odometer=odometer, fuel=fuel)
                    _say(driven, random, Uplink.STATUS, vin, at, **said)
            at += timedelta(seconds=15)
            if random.random() < 0.7:
                _say(driven, random, Uplink.ENGINE, vin, at, event="STOP", odometerKm=round(odometer, 1))
            elif random.random() < 0.7:
                _say(driven, random, Uplink.STATUS, vin, at, engineStatus="OFF", speedKph=0.0, batteryVoltage=12.4)
            at += timedelta(minutes=random.choice([1, 10, 29, 31, 90, 240]))
            fuel = 90.0 if fuel < 20 else fuel
    return driven


def _reported(random: Random, *, speed: float, odometer: float, fuel: float) -> dict[str, Any]:
    """Return what a status says, now and then without this or that."""
    said = {
        "speedKph": speed,
        "odometerKm": round(odometer, 1),
        "fuelLevel": round(fuel, 1),
        "batteryVoltage": round(random.uniform(13.8, 14.4), 2),
        "engineStatus": random.choice(["ON"] * 9 + ["UNKNOWN"]),
        "location": {"latitude": 37 + random.random(), "longitude": 127 + random.random()},
    }
    return {name: value for name, value in said.items() if random.random() > 0.05}


def _say(driven: Driven, random: Random, kind: Uplink, vin: str, at: datetime, **body: Any) -> None:
    head = {"messageId": str(UUID(int=random.getrandbits(128), version=4)), "timestamp": at.isoformat()}
    driven.messages.append((kind, vin, head | body))


def trips(driven: Driven, vin: str) -> list[dict[str, Any]]:
    """Return the trips of a vehicle, walking through its messages one after the other."""
    sights = pd.concat(
        [_status_sights(driven.frame(Uplink.STATUS, vin)), _engine_sights(driven.frame(Uplink.ENGINE, vin))]
    )
    found: list[list[Any]] = []
    running: Any = None
    for at, group in sights.groupby("timestamp", sort=True):
        runs = bool(group["runs"].all())
        after = running is not None and at - running <= (pd.Timedelta(days=1) if group["stop"].any() else SILENCE)
        if runs and not after:
            found.append([])
        if runs or after:
            found[-1].append(group)
        running = at if runs else None
    each = [_trip(pd.concat(groups)) for groups in found]
    return [trip for trip in each if trip["maximumSpeedKph"] != 0 or trip["distanceKm"] not in {None, 0}]


def _status_sights(frame: pd.DataFrame) -> pd.DataFrame:
    told = frame[frame["engineStatus"].isin(["ON", "CRANKING", "OFF"]) | (frame["speedKph"] > 0)]
    return told.assign(runs=told["engineStatus"] != "OFF", stop=False)


def _engine_sights(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(runs=frame["event"] == "START", stop=frame["event"] == "STOP")


def _trip(sights: pd.DataFrame) -> dict[str, Any]:
    begin, end = sights["timestamp"].min(), sights["timestamp"].max()
    odometer, fuel, speed = (sights[name].dropna() for name in ("odometerKm", "fuelLevel", "speedKph"))
    distance = odometer.iloc[-1] - odometer.iloc[0] if len(odometer) > 1 else None
    used = fuel.iloc[0] - fuel.iloc[-1] if len(fuel) > 1 else None
    return {
        "startedAt": begin,
        "endedAt": end,
        "endedBy": "SILENCE" if sights["runs"].all() else "ENGINE_OFF",
        "durationSeconds": (end - begin).total_seconds(),
        "distanceKm": None if distance is None or distance < 0 else round(float(distance), 3),
        "maximumSpeedKph": None if speed.empty else float(speed.max()),
        "fuelUsedPercent": None if used is None or used < 0 else round(float(used), 3),
        "startLatitude": _of(sights, "location.latitude", 0),
        "endLongitude": _of(sights, "location.longitude", -1),
    }


def _of(sights: pd.DataFrame, name: str, place: int) -> float | None:
    told = sights[name].dropna()
    return None if told.empty else float(told.iloc[place])


def buckets(driven: Driven, vin: str, width: str, *, since: datetime, until: datetime) -> pd.DataFrame:
    """Return the figures of each bucket that meets [since, until), empty ones too."""
    frame = driven.frame(Uplink.STATUS, vin)
    frame = frame[(frame["timestamp"] >= since) & (frame["timestamp"] < until)].set_index("timestamp")
    every = pd.date_range(pd.Timestamp(since).floor(width), until, freq=width, inclusive="left", name="timestamp")
    grouped = frame.groupby(frame.index.floor(width))
    parts = {"samples": grouped.size().reindex(every, fill_value=0)}
    for name in FIGURES:
        for suffix, how in (("Min", "min"), ("Max", "max"), ("Average", "mean"), ("Last", "last")):
            parts[name + suffix] = getattr(grouped[name], how)().reindex(every)
    parts["engineStatusLast"] = grouped["engineStatus"].last().reindex(every)
    return pd.DataFrame(parts)
