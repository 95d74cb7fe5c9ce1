"""Where the database is, and whether that way is fit for production."""

import re

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.production import Environment, check_database

_EMPTY_PASSWORD = re.compile(r"postgres(ql)?://[^/?#@]*:@")


class DatabaseSettings(BaseSettings):
    """Read from `TCU_ENVIRONMENT` and `TCU_DATABASE_URL`, as postgresql://user:password@host:port/name."""

    # A message about a wrong URL must not hold its password.
    model_config = SettingsConfigDict(env_prefix="TCU_", hide_input_in_errors=True)

    environment: Environment = Field(default=Environment.PRODUCTION, description="demo or production")
    database_url: str = Field(description="PostgreSQL with TimescaleDB", repr=False)

    @field_validator("database_url")
    @classmethod
    def _is_fit(cls, url: str, said: ValidationInfo) -> str:
        return fit_url(url, said.data.get("environment"))


def fit_url(url: str, environment: Environment | None) -> str:
    """Return the URL. Raises ValueError, which holds none of its password, where it is none or unfit for production.

    An environment that could not be read (None) is told by itself.
    """
    try:
        said = conninfo_to_dict(url)
    except ProgrammingError:
        raise ValueError("expected postgresql://user:password@host:port/name") from None
    if environment is Environment.PRODUCTION:
        if _EMPTY_PASSWORD.match(url):
            said["password"] = ""  # libpq takes it for none
        # What the URL leaves out libpq takes from PGHOST, PGPASSWORD and the like.
        meant = {one.keyword.decode(): one.val.decode() for one in Conninfo.get_defaults() if one.val is not None}
        check_database(meant | {name: str(value) for name, value in said.items() if value is not None})
    return url
