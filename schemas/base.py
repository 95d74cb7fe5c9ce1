"""The types every wire model is made of: model base, VIN, instant, text and numbers that PostgreSQL can store."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

VIN_PATTERN = r"^[A-HJ-NPR-Z0-9]{17}$"
"""17 characters without I, O and Q (ISO 3779). The check digit is not enforced: the guides' samples fail it."""

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_UUID_PATTERN = r"^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32})$"
"""RFC 9562 §4, also without the hyphens."""


class Wire(BaseModel):
    """A JSON object: camelCase outside, snake_case inside; unknown fields are ignored (design: MQTT contract)."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, allow_inf_nan=False
    )


def parse_instant(value: object) -> datetime:
    """Return the UTC instant of an RFC 3339 text with an offset.

    Raises ValueError for anything else, numbers and offset-less texts included: an offset is never guessed.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("expected an offset, as in 2026-03-07T18:30:00Z")
        return value.astimezone(UTC)
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("expected an RFC 3339 date-time with an offset, as in 2026-03-07T18:30:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a date-time between the years 1 and 9999") from error


def format_instant(instant: datetime) -> str:
    """Return the instant as the guides print it: UTC with Z, whole seconds, or milliseconds where there are any."""
    spec = "milliseconds" if instant.microsecond // 1000 else "seconds"
    return instant.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def _storable(value: str) -> str:
    # JSON can carry both, PostgreSQL's text neither; one such value would fail a whole COPY.
    if "\x00" in value:
        raise ValueError("expected text without NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("expected text without lone surrogates") from error
    return value


Instant = Annotated[
    datetime,
    BeforeValidator(parse_instant),
    PlainSerializer(format_instant, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-07T18:30:00Z"]}),
]
Vin = Annotated[str, StringConstraints(pattern=VIN_PATTERN), Field(examples=["KMHSH81C7LU123456"])]
MessageId = Annotated[
    str, StringConstraints(pattern=_UUID_PATTERN), WithJsonSchema({"type": "string", "format": "uuid"})
]

Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_storable)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_storable)]
PhoneNumber = Annotated[str, StringConstraints(pattern=r"^\+?[0-9][0-9 ()\-]{1,30}$")]
DTC_PATTERN = r"^[PCBU][0-9A-F]{4}(-[0-9A-F]{2})?$"
DtcCode = Annotated[str, StringConstraints(pattern=DTC_PATTERN)]
"""Diagnostic trouble code (SAE J2012), as P1234 or P1234-1A."""

Flag = Annotated[bool, Strict()]
"""True or false and nothing that resembles them: a consent is never read out of a "yes" or a 1."""
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
