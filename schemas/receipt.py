"""`down/receipt`: the vehicle may forget a message once this has come, because the database has it."""

from enum import StrEnum

from schemas.base import Instant, MessageId, Wire


class ReceiptResult(StrEnum):
    """What became of the message."""

    STORED = "STORED"
    DUPLICATE = "DUPLICATE"
    QUARANTINED = "QUARANTINED"


class ReceiptMessage(Wire):
    """Sent only after the commit. `messageId` is null where an SOS had none that could be read."""

    message_id: MessageId | None
    result: ReceiptResult
    cid: str | None = None
    server_time: Instant
