"""What can be set from outside."""

from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.production import Environment, check_api


class ConsoleSettings(BaseSettings):
    """The variables of the console, each with the prefix TCU_."""

    model_config = SettingsConfigDict(env_prefix="TCU_", extra="ignore", frozen=True)

    environment: Environment = Field(default=Environment.PRODUCTION, description="demo or production")
    api_url: str = Field(description="the public API, as http://127.0.0.1:8000")
    console_host: str = Field(default="127.0.0.1", description="address to listen on")
    console_port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    console_agent_sla_s: int = Field(default=30, ge=1, description="seconds from a press to the counselor's voice")
    console_tile_url: str | None = Field(
        default=None, description="map tiles, as https://tiles.example/{z}/{x}/{y}.png; a plain grid without it"
    )
    console_tile_attribution: str = Field(default="", description="whom the map is to name for the tiles, as text")

    @field_validator("api_url")
    @classmethod
    def _is_fit(cls, url: str, said: ValidationInfo) -> str:
        if said.data.get("environment") is Environment.PRODUCTION:
            check_api(url)
        return url.rstrip("/")

    @field_validator("console_tile_url")
    @classmethod
    def _has_an_origin(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise ValueError("expected an http or https URL")
        return url

    @property
    def tile_origin(self) -> str | None:
        """The only foreign origin that the browser may load images from."""
        if self.console_tile_url is None:
            return None
        parts = urlsplit(self.console_tile_url)
        host = f"*.{parts.netloc.removeprefix('{s}.')}" if parts.netloc.startswith("{s}.") else parts.netloc
        return f"{parts.scheme}://{host}"
