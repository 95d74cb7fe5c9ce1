"""A vehicle's MQTT 5 session: mutual TLS, client id = VIN, kept by the broker while the vehicle is away."""

import logging
import socket

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from schemas.topics import Uplink, uplink_topic
from schemas.vehicle import PresenceMessage
from simulator.messages import payload_of
from simulator.settings import Broker, Certificate

EXPIRY_S = 24 * 3600
"""How long the broker keeps the session, and with it receipts and commands, of a vehicle that is away."""

_KEEPALIVE_S = 30

_log = logging.getLogger(__name__)


def durable_session(vin: str, broker: Broker, certificate: Certificate, will: PresenceMessage) -> aiomqtt.Client:
    """Return a client that resumes the vehicle's session when it is entered, and leaves `will` as its last will."""
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = EXPIRY_S
    return aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=vin,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
        will=aiomqtt.Will(uplink_topic(vin, Uplink.PRESENCE), payload_of(will), qos=1),
        keepalive=_KEEPALIVE_S,
        # Nagle's algorithm and delayed acknowledgements would together hold a message back for 40 ms.
        socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        # aiomqtt acknowledges on arrival and drops what its queue can't hold: so no bound (0).
        max_queued_incoming_messages=0,
        tls_params=aiomqtt.TLSParameters(
            ca_certs=str(broker.ca), certfile=str(certificate.crt), keyfile=str(certificate.key)
        ),
        logger=_log,
    )
