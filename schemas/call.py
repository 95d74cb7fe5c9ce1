"""The voice call between vehicle and call center, as the vehicle reports it."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from schemas.base import MessageId, ShortText
from schemas.vehicle import Uplinked


class CallStatus(StrEnum):
    """States of a voice call."""

    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    ENDED = "ENDED"
    FAILED = "FAILED"


class CallMessage(Uplinked):
    """`up/call`: the call of an incident changed state; duration in seconds, battery in volts.

    Names its incident by `cid`, or by the `messageId` of the press while no receipt has told the cid yet.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}} for name in ("cid", "requestMessageId")
            ]
        }
    )

    status: CallStatus
    cid: ShortText | None = None
    request_message_id: MessageId | None = None
    session_id: ShortText | None = None
    duration: Annotated[int, Field(ge=0, le=86_400)] | None = None
    battery_voltage: Annotated[float, Field(ge=0, le=1000)] | None = None

    @model_validator(mode="after")
    def _names_its_incident(self) -> Self:
        if self.cid is None and self.request_message_id is None:
            raise ValueError("expected cid or requestMessageId")
        return self
