"""What every command of `tcu` needs: settings, a transaction, tables, and failures in words."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from db import pool
from db.errors import DatabaseError
from db.pool import Connection
from db.settings import DatabaseSettings, fit_url
from rules.errors import DomainError
from schemas.production import Environment, check_authority

_WIDE = 1000
"""Columns for a reader that has no width of its own; a table takes only those that it needs."""


class OperatorSettings(DatabaseSettings):
    """Read from `TCU_DATABASE_URL`, `TCU_MIGRATE_URL` and `TCU_KEY_SECRET`."""

    migrate_url: str | None = Field(
        default=None, description="the database as the schema's owner, for `tcu migrate`", repr=False
    )

    key_secret: SecretStr | None = Field(default=None, min_length=32, description="what API keys are hashed with")

    @field_validator("migrate_url")
    @classmethod
    def _is_fit_too(cls, url: str | None, said: ValidationInfo) -> str | None:
        return url and fit_url(url, said.data.get("environment"))


class BrokerSettings(BaseSettings):
    """Where the authorities and the broker are; no command needs all of it."""

    model_config = SettingsConfigDict(env_prefix="TCU_")

    environment: Environment = Field(default=Environment.PRODUCTION, description="demo or production")
    pki_dir: Path | None = Field(default=None, description="directory of the certificate authorities")
    broker_dir: Path | None = Field(default=None, description="where the broker reads its configuration")
    mqtt_host: str | None = Field(default=None, description="the broker's host, as in its certificate")
    mqtt_services_port: int = Field(default=8884, description="the broker's TLS port for our own processes")
    mqtt_ca: Path | None = Field(default=None, description="certificate of the authority that signed the broker's")


@contextmanager
def transaction() -> Iterator[Connection]:
    """Give one transaction on the database, committed at the end."""
    with pool.connect(OperatorSettings().database_url, name="tcu") as conn:
        yield conn


@contextmanager
def as_owner() -> Iterator[Connection]:
    """Give an autocommit connection of the schema's owner, as TCU_MIGRATE_URL has it; else that of all processes."""
    settings = OperatorSettings()
    with pool.connect(settings.migrate_url or settings.database_url, name="tcu-migrate", autocommit=True) as conn:
        yield conn


def pki_dir() -> Path:
    """Return the directory of the certificate authorities, or end with what to do."""
    settings = BrokerSettings()
    directory = settings.pki_dir
    if directory is None:
        raise typer.BadParameter("TCU_PKI_DIR is not set: run `make up`, then `. .run/env`")
    if settings.environment is Environment.PRODUCTION:
        check_authority(directory / "ca.crt")
    return directory


def key_secret() -> str:
    """Return what API keys are hashed with, or end with what to do."""
    secret = OperatorSettings().key_secret
    if secret is None:
        raise typer.BadParameter("TCU_KEY_SECRET is not set: it is that of the api; after `make up`, `. .run/env`")
    return secret.get_secret_value()


def print_table(table: Table) -> None:
    """Print a table whole: folded to a terminal's width, and with one line for each row into a file or pipe."""
    for column in table.columns:
        column.overflow = "fold"
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


@contextmanager
def explain_failures() -> Iterator[None]:
    """Turn what an operator can mend into one line and exit code 1."""
    try:
        yield
    except ValidationError as error:
        names = ", ".join(f"TCU_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors() if e["loc"])
        sys.exit(f"tcu: {names}. After `make up`, run `. .run/env`.")
    except DatabaseError as error:
        words = " ".join(str(error).split())  # libpq's hints have lines of their own
        sys.exit(f"tcu: the database did not do it: {words}")
    except (DomainError, ValueError) as error:
        sys.exit(f"tcu: {error}")
