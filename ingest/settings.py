"""What the worker needs to know, each read from `TCU_<NAME>`."""

import ssl
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from db.settings import DatabaseSettings
from schemas.production import Environment, check_authority

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class WorkerSettings(DatabaseSettings):
    """Broker, identity and bounds of the worker."""

    model_config = SettingsConfigDict(env_prefix="TCU_")

    mqtt_host: str = Field(description="the broker's host, as in its certificate")
    mqtt_port: int = Field(
        default=8884,
        validation_alias="TCU_MQTT_SERVICES_PORT",
        description="the broker's TLS port for our own processes; no vehicle gets in there",
    )
    mqtt_vehicles_port: int = Field(
        default=8883, validation_alias="TCU_MQTT_PORT", description="the broker's TLS port for vehicles, for the proof"
    )
    mqtt_tls: bool = Field(default=True, description="false: no TLS; for a broker on loopback only")
    mqtt_ca: Path = Field(description="certificate of the authority that signed the broker's")
    mqtt_cert: Path = Field(description="the worker's certificate, CN ingest")
    mqtt_key: Path = Field(description="the key of that certificate")
    acl_proof_cert: Path | None = Field(default=None, description="certificate of who tries what is forbidden")
    acl_proof_key: Path | None = Field(default=None, description="the key of that certificate")
    ingest_group: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]{1,32}$",
        description="name of the group in which several workers share the messages; none: one works, others stand by",
    )
    ingest_member: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]{1,32}$",
        description="this worker's name in its group: another for each, and the same after a restart",
    )
    ingest_metrics_port: int | None = Field(default=None, description="where Prometheus scrapes; none: no metrics")
    ingest_engine_metrics_port: int | None = Field(default=None, description="the same of a process for engine alone")
    ingest_bulk_metrics_port: int | None = Field(default=None, description="the same of a process for bulk alone")
    contact_center_phone: str | None = Field(default=None, description="shown to the driver in down/incident")
    ingest_batch_max: int = Field(default=5000, ge=1, description="messages in one transaction at most")
    ingest_linger_s: float = Field(default=0.005, ge=0, description="how long a batch waits for more messages")
    ingest_buffer_max: int = Field(default=10_000, ge=1, description="messages held before reading is paused")
    ingest_buffer_bytes_max: int = Field(default=32 * 1024 * 1024, ge=65_536, description="bytes held, likewise")

    @field_validator("mqtt_ca")
    @classmethod
    def _is_an_authority_of_ones_own(cls, ca: Path, said: ValidationInfo) -> Path:
        if said.data.get("environment") is Environment.PRODUCTION:
            check_authority(ca)
        return ca

    @model_validator(mode="after")
    def _is_a_member(self) -> Self:
        if (self.ingest_group is None) != (self.ingest_member is None):
            raise ValueError("TCU_INGEST_GROUP and TCU_INGEST_MEMBER go together")
        return self

    @model_validator(mode="after")
    def _is_encrypted_on_the_way(self) -> Self:
        if not self.mqtt_tls and self.environment is Environment.PRODUCTION:
            raise ValueError("TCU_MQTT_TLS=false is for measuring, not for production")
        if not self.mqtt_tls and self.mqtt_host not in LOOPBACK:
            raise ValueError(f"TCU_MQTT_TLS=false is only for a broker on loopback: {', '.join(LOOPBACK)}")
        return self

    @property
    def broker(self) -> str:
        """The broker as `host:port`."""
        return f"{self.mqtt_host}:{self.mqtt_port}"

    def broker_tls(self) -> ssl.SSLContext | None:
        """Return how to speak TLS with the broker: its certificate is checked, and ours is shown. None: not at all."""
        if not self.mqtt_tls:
            return None
        context = ssl.create_default_context(cafile=self.mqtt_ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.mqtt_cert, self.mqtt_key)
        return context
