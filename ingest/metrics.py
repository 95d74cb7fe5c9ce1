"""What the worker measures; no VIN is ever a label."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("tcu_ingest_messages_total", "Messages settled", ["lane", "kind", "result"])
BATCH_SIZE = Histogram(
    "tcu_ingest_batch_messages", "Messages in one transaction", ["lane"], buckets=(1, 3, 10, 30, 100, 300, 1000, 3000)
)
BATCH_SECONDS = Histogram("tcu_ingest_batch_seconds", "From the first decode to the commit", ["lane"])
RECEIVE_TO_COMMIT_SECONDS = Histogram(
    "tcu_ingest_receive_to_commit_seconds", "Age of the oldest message of a batch at its commit", ["lane"]
)
WAITING = Gauge("tcu_ingest_waiting_messages", "Messages received and not yet taken into a batch", ["lane"])
LAG = Gauge("tcu_ingest_lag_seconds", "Age of the oldest message received and not stored", ["lane"])
PUBACK_SECONDS = Histogram(
    "tcu_ingest_puback_seconds", "From the publication of a receipt or probe to the broker's PUBACK", ["session"]
)
RECEIPTS = Gauge("tcu_ingest_receipts", "Receipts since the start: sent, and confirmed by the broker", ["state"])
PAUSED = Gauge("tcu_ingest_reading_paused", "1 while the buffer is full and the backlog stays in the broker", ["lane"])
LEADING = Gauge("tcu_ingest_leading", "1 while this worker holds the lane's session, 0 while it stands by", ["lane"])
CONNECTED = Gauge("tcu_ingest_session_ready", "1 while the broker session is subscribed", ["lane"])
DATABASE_RETRIES = Counter(
    "tcu_ingest_database_retries_total", "Batches tried again for want of the database", ["lane"]
)
REFUSED = Counter("tcu_ingest_refused_total", "Messages that PostgreSQL refused after they had decoded", ["lane"])
NOT_RAISED = Counter("tcu_ingest_sos_not_raised_total", "Presses of which only the bytes could be kept")
CONNECTIONS_ENDED = Counter(
    "tcu_ingest_connections_ended_total", "Connections to the broker that broke or could not be made", ["session"]
)
SALVAGED = Counter("tcu_ingest_salvaged_total", "Messages whose MQTT properties could not be read", ["session"])
DOWNLINKS = Counter("tcu_ingest_downlinks_total", "Messages sent to vehicles besides receipts", ["kind"])
DOWNLINKS_REFUSED = Counter(
    "tcu_ingest_downlinks_refused_total", "Messages to vehicles besides receipts that the broker refused", ["kind"]
)
JUDGEMENTS_FAILED = Counter(
    "tcu_ingest_judgements_failed_total", "Curfew judgements that failed; the message was stored"
)


def forget(lane: str) -> None:
    """Take away what was measured last of a lane that this worker serves no more: it would stand for ever."""
    for gauge in (WAITING, LAG, PAUSED, CONNECTED):
        gauge.remove(lane)
