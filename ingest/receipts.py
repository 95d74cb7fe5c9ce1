"""What a vehicle is told once its message is committed."""

from datetime import datetime

from ingest.broker import Outgoing
from ingest.pipeline import Outcome
from schemas.receipt import ReceiptMessage
from schemas.topics import Downlink, downlink_topic


def receipt(outcome: Outcome, *, now: datetime) -> Outgoing | None:
    """Return the receipt for a stored message of a kind that has one; None where no vehicle could be told."""
    if outcome.vin is None:
        return None
    message = ReceiptMessage(
        message_id=outcome.message_id_text, result=outcome.result, cid=outcome.cid, server_time=now
    )
    return Outgoing(downlink_topic(outcome.vin, Downlink.RECEIPT), message.model_dump_json(by_alias=True).encode())
