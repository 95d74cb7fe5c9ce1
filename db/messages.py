"""Which messages have been stored, and the quarantine of those that could not be."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from db.pool import Connection
from db.statements import statements

_SQL = statements("messages")


@dataclass(frozen=True, slots=True)
class Claim:
    """A message about to be stored."""

    vin: str
    message_id: UUID
    kind: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message that could not be read or stored."""

    quarantine_id: int
    topic: str
    payload: bytes
    vin: str | None
    kind: str | None
    reason: str
    detail: str
    cid: str | None
    first_received_at: datetime
    received_at: datetime
    times_received: int
    replayed_at: datetime | None


def claim(conn: Connection, claims: Sequence[Claim]) -> set[tuple[str, UUID]]:
    """Take these ids and return those (VIN, id) that were not taken before: the others are second deliveries."""
    rows = conn.execute(
        _SQL["claim"],
        {
            "vins": [c.vin for c in claims],
            "message_ids": [c.message_id for c in claims],
            "kinds": [c.kind for c in claims],
            "received_ats": [c.received_at for c in claims],
        },
    ).fetchall()
    return {(vin, message_id) for vin, message_id in rows}


def note_second(conn: Connection, counts: Mapping[tuple[str, str], int], *, received_at: datetime) -> None:
    """Note how many messages of each (VIN, kind) came again and had no second effect."""
    conn.execute(
        _SQL["note_second"],
        {
            "vins": [vin for vin, _ in counts],
            "kinds": [kind for _, kind in counts],
            "messages": list(counts.values()),
            "received_at": received_at,
        },
    )


def give_back(conn: Connection, *, vin: str, message_id: UUID) -> None:
    """Forget an id that was taken, because its message was quarantined after all."""
    conn.execute(_SQL["give_back"], {"vin": vin, "message_id": message_id})


def set_cid(conn: Connection, *, vin: str, message_id: UUID, kind: str, cid: str) -> None:
    """Remember which incident this message belongs to, for the receipt of a second delivery."""
    conn.execute(_SQL["set_cid"], {"vin": vin, "message_id": message_id, "kind": kind, "cid": cid})


def taken(conn: Connection, ids: Collection[tuple[str, UUID]]) -> dict[tuple[str, UUID], tuple[str, str | None]]:
    """Return the kind and the incident of each message that has one of these (VIN, id)."""
    rows = conn.execute(_SQL["taken"], {"vins": [vin for vin, _ in ids], "message_ids": [one for _, one in ids]})
    return {(vin, message_id): (kind, cid) for vin, message_id, kind, cid in rows}


def get_cid(conn: Connection, *, vin: str, message_id: UUID) -> str | None:
    """Return the incident that this message of this vehicle opened or joined."""
    row = conn.execute(_SQL["get_cid"], {"vin": vin, "message_id": message_id}).fetchone()
    return None if row is None else row[0]


def quarantine(
    conn: Connection,
    *,
    topic: str,
    payload: bytes,
    vin: str | None,
    kind: str | None,
    reason: str,
    detail: str,
    cid: str | None,
    received_at: datetime,
) -> None:
    """Keep the raw bytes with the reason; the same bytes on the same topic are counted."""
    conn.execute(
        _SQL["quarantine"],
        {
            "topic": topic.replace("\x00", "\ufffd"),
            "payload": payload,
            "vin": vin,
            "kind": kind,
            "reason": reason,
            "detail": detail,
            "cid": cid,
            "received_at": received_at,
        },
    )


def list_quarantine(conn: Connection, *, limit: int, offset: int, with_replayed: bool) -> list[Quarantined]:
    """Return a page of quarantined messages, newest first."""
    with conn.cursor(row_factory=class_row(Quarantined)) as cursor:
        return cursor.execute(
            _SQL["list_quarantine"], {"limit": limit, "offset": offset, "with_replayed": with_replayed}
        ).fetchall()


def count_quarantine(conn: Connection, *, with_replayed: bool) -> int:
    """Return how many quarantined messages there are."""
    row = conn.execute(_SQL["count_quarantine"], {"with_replayed": with_replayed}).fetchone()
    return int(row[0]) if row else 0


def get_quarantined(conn: Connection, quarantine_id: int) -> Quarantined | None:
    """Return one quarantined message."""
    with conn.cursor(row_factory=class_row(Quarantined)) as cursor:
        return cursor.execute(_SQL["get_quarantined"], {"quarantine_id": quarantine_id}).fetchone()


def request_replay(conn: Connection, quarantine_id: int, *, at: datetime) -> bool:
    """Ask the worker to take the message once more; false where there is no such message."""
    values = {"quarantine_id": quarantine_id, "at": at}
    return conn.execute(_SQL["request_replay"], values).fetchone() is not None


def replay_awaited(conn: Connection) -> bool:
    """Return whether a replay was asked for that is not done."""
    row = conn.execute(_SQL["replay_awaited"]).fetchone()
    return row is not None and bool(row[0])


def wait_little(conn: Connection) -> None:
    """Let this transaction wait for locks but shortly; what it asks for then raises Busy."""
    conn.execute(_SQL["wait_little"])


def take_replay(conn: Connection, *, at: datetime) -> Quarantined | None:
    """Return the next message whose replay was asked for, and mark it done in the caller's transaction."""
    with conn.cursor(row_factory=class_row(Quarantined)) as cursor:
        return cursor.execute(_SQL["take_replay"], {"at": at}).fetchone()
