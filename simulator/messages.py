"""The messages that a vehicle sends. Content and ids come from the seeded Random; the instant is passed in."""

from datetime import datetime
from random import Random
from uuid import UUID, uuid4

from schemas.call import CallMessage, CallStatus
from schemas.command import AckStatus, CommandAckMessage
from schemas.rsa import CustomerInfo, RsaConsent, RsaMessage, ServiceType
from schemas.sos import EmergencyType, SosConsent, SosMessage, Urgency
from schemas.vehicle import (
    EngineEvent,
    EngineMessage,
    EngineStatus,
    Location,
    PresenceMessage,
    StatusMessage,
    TransmissionStatus,
    Uplinked,
    VehicleStatus,
)
from simulator.driving import VehicleState


def message_id(rng: Random) -> str:
    """Return the next UUID of a seeded run: the same seed tells the same story with the same ids."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def payload_of(message: Uplinked) -> bytes:
    """Return the JSON that goes over the wire."""
    return message.model_dump_json(by_alias=True, exclude_none=True).encode()


def status(rng: Random, state: VehicleState, at: datetime) -> StatusMessage:
    """Return one sample of a vehicle's state, rounded as sensors would."""
    return StatusMessage(
        message_id=message_id(rng),
        timestamp=at,
        location=_location(state),
        speed_kph=round(state.speed_kph, 1),
        odometer_km=round(state.odometer_km, 3),
        battery_voltage=round(state.battery_voltage, 2),
        fuel_level=round(state.fuel_level, 2),
        engine_status=state.engine_status,
        transmission_status=state.transmission_status,
        drivable=True,
        dtc_codes=state.dtc_codes,
    )


def engine(rng: Random, event: EngineEvent, state: VehicleState, at: datetime) -> EngineMessage:
    """Return the engine's start or stop."""
    return EngineMessage(
        message_id=message_id(rng),
        timestamp=at,
        event=event,
        location=_location(state),
        odometer_km=round(state.odometer_km, 3),
    )


def sos_press(rng: Random, at: datetime) -> SosMessage:
    """Return the press of the SOS button with the data of the SOS guide's sample incident."""
    return SosMessage(
        message_id=message_id(rng),
        timestamp=at,
        emergency_type=EmergencyType.MEDICAL,
        urgency=Urgency.HIGH,
        location=Location(latitude=37.5665, longitude=126.9780, accuracy=5.2, address="Seoul, Gangnam-gu, Teheran-ro"),
        description="Driver chest pain, unable to drive",
        contact_number="+82-10-1234-5678",
        passenger_count=2,
        vehicle_condition="PARKED",
        request_type="MANUAL",
        customer_consent=SosConsent(
            granted=True, timestamp=at, location_sharing=True, voice_recording=True, emergency_services=True
        ),
        vehicle_status=VehicleStatus(
            drivable=False,
            engine_status=EngineStatus.OFF,
            battery_voltage=12.6,
            fuel_level=45.2,
            dtc_codes=(),
            transmission_status=TransmissionStatus.PARK,
        ),
    )


def rsa_press(rng: Random, at: datetime) -> RsaMessage:
    """Return the press of the roadside assistance button with the data of the RSA guide's sample incident."""
    return RsaMessage(
        message_id=message_id(rng),
        timestamp=at,
        symptoms=("ENGINE_START_FAILURE",),
        description="Vehicle won't start, clicking sound",
        location=Location(latitude=37.5, longitude=127.0, accuracy=5.2, address="Seoul Gangnam-gu..."),
        dtc_codes=("P1234",),
        battery_voltage=11.8,
        customer_info=CustomerInfo(name="Hong Gildong", phone="010-1234-5678", membership_id="HM2024001234"),
        customer_consent=RsaConsent(
            granted=True, timestamp=at, location_sharing=True, vehicle_status_sharing=True, recorded=True
        ),
    )


def sos_from_the_road(rng: Random, state: VehicleState, at: datetime) -> SosMessage:
    """Return the press of the SOS button in a vehicle of the fleet, wherever it is."""
    return SosMessage(
        message_id=message_id(rng),
        timestamp=at,
        emergency_type=rng.choice(list(EmergencyType)),
        urgency=rng.choice(list(Urgency)),
        location=_location(state),
        request_type="MANUAL",
        vehicle_status=VehicleStatus(
            engine_status=state.engine_status,
            battery_voltage=round(state.battery_voltage, 2),
            fuel_level=round(state.fuel_level, 2),
            transmission_status=state.transmission_status,
        ),
    )


def rsa_from_the_road(rng: Random, state: VehicleState, at: datetime) -> RsaMessage:
    """Return the press of the roadside assistance button in a vehicle of the fleet, wherever it is."""
    return RsaMessage(
        message_id=message_id(rng),
        timestamp=at,
        service_type=rng.choice(list(ServiceType)),
        location=_location(state),
        battery_voltage=round(state.battery_voltage, 2),
    )


def call(
    rng: Random,
    status: CallStatus,
    at: datetime,
    *,
    cid: str,
    session_id: str | None = None,
    duration_s: int | None = None,
    battery_voltage: float | None = None,
) -> CallMessage:
    """Return a change of the voice call of an incident."""
    return CallMessage(
        message_id=message_id(rng),
        timestamp=at,
        status=status,
        cid=cid,
        session_id=session_id,
        duration=duration_s,
        battery_voltage=battery_voltage,
    )


def presence(at: datetime, *, online: bool) -> PresenceMessage:
    """Return a birth message or a last will. Its id is no part of the seeded story: each connection has its own."""
    return PresenceMessage(message_id=str(uuid4()), timestamp=at, online=online)


def command_ack(command_id: str, status: AckStatus, at: datetime, reason: str | None = None) -> CommandAckMessage:
    """Return the answer to a command, with an id of its own as each command is new to every run."""
    return CommandAckMessage(message_id=str(uuid4()), timestamp=at, command_id=command_id, status=status, reason=reason)


def _location(state: VehicleState) -> Location:
    return Location(
        latitude=round(state.latitude, 6),
        longitude=round(state.longitude, 6),
        accuracy=5.0,
        heading=round(state.heading, 1),
    )
