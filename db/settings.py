"""Where the database is."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DatabaseSettings(BaseSettings):
    """Read from `TCU_DATABASE_URL`, as postgresql://user:password@host:port/name."""

    model_config = SettingsConfigDict(env_prefix="TCU_")

    database_url: str = Field(description="PostgreSQL with TimescaleDB")
