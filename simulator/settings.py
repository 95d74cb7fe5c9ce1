"""Where the simulator finds broker, API and certificates: the variables of `.run/env`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.demo import fleet_vin

_FLEET = fleet_vin(1)[:8]
_NAMED = 20


class SetupMissing(Exception):
    """Something has to be set up first; the message says what to run."""


class Settings(BaseSettings):
    """The variables that `make up` writes to `.run/env`, each with the prefix TCU_.

    Those of the API are wanted only by what uses it: `api_of` tells that they are missing.
    """

    model_config = SettingsConfigDict(env_prefix="TCU_", extra="ignore", frozen=True)

    api_url: str | None = None
    mqtt_host: str
    mqtt_port: int
    mqtt_services_port: int | None = None
    mqtt_ca: Path
    pki_dir: Path
    demo_token: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """Address of the broker and the authority that signed its certificate."""

    host: str
    port: int
    ca: Path


@dataclass(frozen=True, slots=True)
class Api:
    """Address of the public API, and the token to use it with."""

    url: str
    token: SecretStr


@dataclass(frozen=True, slots=True)
class Certificate:
    """A vehicle's client certificate and its private key."""

    crt: Path
    key: Path


def load_settings() -> Settings:
    """Return the settings of the environment. Raises SetupMissing where a variable is not set or makes no sense."""
    try:
        settings = Settings()
    except ValidationError as error:
        names = ", ".join(f"TCU_{str(problem['loc'][0]).upper()} ({problem['msg']})" for problem in error.errors())
        raise SetupMissing(f"the environment lacks {names}: run `make up`, then `. .run/env`") from error
    if not settings.mqtt_ca.is_file():
        raise SetupMissing(f"TCU_MQTT_CA names no file ({settings.mqtt_ca}): run `make up`, then `. .run/env`")
    return settings


def broker_of(settings: Settings) -> Broker:
    """Return the broker that the settings name."""
    return Broker(settings.mqtt_host, settings.mqtt_port, settings.mqtt_ca)


def api_of(settings: Settings) -> Api:
    """Return the API that the settings name. Raises SetupMissing where a variable is not set."""
    if settings.api_url is None:
        raise SetupMissing("the environment lacks TCU_API_URL: run `make up`, then `. .run/env`")
    if settings.demo_token is None:
        raise SetupMissing("the environment lacks TCU_DEMO_TOKEN: run `make up`, then `. .run/env`")
    return Api(settings.api_url, settings.demo_token)


def services_of(settings: Settings) -> tuple[Broker, Certificate]:
    """Return where the broker listens for the backend's own processes, and the worker's certificate.

    Raises SetupMissing where this machine has neither.
    """
    own = settings.pki_dir / "services" / "ingest"
    certificate = Certificate(own.with_suffix(".crt"), own.with_suffix(".key"))
    if settings.mqtt_services_port is None or not (certificate.crt.is_file() and certificate.key.is_file()):
        raise SetupMissing(
            f"recording needs TCU_MQTT_SERVICES_PORT and {certificate.crt}: run `make up`, then `. .run/env`"
        )
    return Broker(settings.mqtt_host, settings.mqtt_services_port, settings.mqtt_ca), certificate


def certificates_of(settings: Settings, vins: Sequence[str]) -> dict[str, Certificate]:
    """Return each vehicle's certificate. Raises SetupMissing with the command that issues those that are missing."""
    folder = settings.pki_dir / "vehicles"
    found = {vin: Certificate(folder / f"{vin}.crt", folder / f"{vin}.key") for vin in vins}
    missing = [vin for vin, own in found.items() if not (own.crt.is_file() and own.key.is_file())]
    if missing:
        raise SetupMissing(
            f"no certificate in {folder} for {len(missing)} of {len(vins)} vehicles: run\n"
            f"tcu vehicle add {_as_words(missing)}"
        )
    return found


def _as_words(vins: Sequence[str]) -> str:
    """Return VINs as a shell takes them; a long row of the fleet's is counted."""
    if len(vins) > _NAMED and vins[0].startswith(_FLEET) and vins[-1].startswith(_FLEET):
        first, last = (int(vin.removeprefix(_FLEET)) for vin in (vins[0], vins[-1]))
        if list(vins) == [fleet_vin(number) for number in range(first, last + 1)]:
            return f"$(printf '{_FLEET}%09d ' $(seq {first} {last}))"
    return " ".join(vins)
