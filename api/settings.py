"""What can be set from outside."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from db.settings import DatabaseSettings
from schemas.production import Environment, check_authority, check_secret

_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]")


class ApiSettings(DatabaseSettings):
    """The variables of the api process, each with the prefix TCU_."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    key_secret: SecretStr = Field(min_length=32, description="what API keys are hashed with; as `openssl rand -hex 32`")
    api_host: str = Field(default="127.0.0.1", description="address to listen on")
    api_port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    api_proxies: str = Field(
        default="127.0.0.1", description="proxies whose X-Forwarded-For is believed: addresses or networks, by commas"
    )
    jwt_issuer: str | None = Field(default=None, description="whose tokens (JWT) are believed: their claim iss")
    jwt_audience: str | None = Field(default=None, description="for whom the tokens are: their claim aud")
    jwt_algorithm: Literal["RS256", "PS256", "ES256", "EdDSA"] | None = Field(
        default=None, description="how the tokens are signed, and in no other way"
    )
    jwt_keys: str | None = Field(default=None, description="the issuer's public keys: JWKS file or https URL, or PEM")
    contact_center_phone: str | None = Field(default=None, description="the call center's number, shown to customers")
    api_connections: int = Field(default=20, ge=2, le=200, description="most database connections of the pool")
    stream_queue: int = Field(default=1000, ge=1, description="events a stream may be behind before it is closed")
    mqtt_host: str | None = Field(default=None, description="the broker's host, for system tests only")
    mqtt_port: int = Field(default=8883, ge=1, le=65535, description="the broker's TLS port")
    mqtt_ca: Path | None = Field(default=None, description="certificate of the authority that signed the broker's")
    system_test_cert: Path | None = Field(default=None, description="the system test's certificate, CN systemtest")
    system_test_key: Path | None = Field(default=None, description="the key of that certificate")
    stream_send_timeout_s: float = Field(default=10, gt=0, description="seconds after which a silent reader is closed")

    @field_validator("key_secret")
    @classmethod
    def _is_a_secret(cls, secret: SecretStr, said: ValidationInfo) -> SecretStr:
        if said.data.get("environment") is Environment.PRODUCTION:
            check_secret(secret.get_secret_value())
        return secret

    @field_validator("api_proxies")
    @classmethod
    def _are_addresses(cls, proxies: str) -> str:
        for one in proxies.split(","):
            ip_network(one.strip())
        return proxies

    @field_validator("mqtt_ca")
    @classmethod
    def _is_an_authority_of_ones_own(cls, ca: Path | None, said: ValidationInfo) -> Path | None:
        if ca is not None and said.data.get("environment") is Environment.PRODUCTION:
            check_authority(ca)
        return ca

    @model_validator(mode="after")
    def _tokens_are_told_of_whole(self) -> Self:
        told = [self.jwt_issuer, self.jwt_audience, self.jwt_algorithm, self.jwt_keys]
        if any(told) and not all(told):
            raise ValueError("expected all of TCU_JWT_ISSUER, _AUDIENCE, _ALGORITHM and _KEYS, or none")
        if self.jwt_keys and self.jwt_keys.startswith("http://") and not _LOOPBACK.match(self.jwt_keys):
            raise ValueError("expected TCU_JWT_KEYS by https: whoever changes the keys lets anybody in")
        return self
