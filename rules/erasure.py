"""Erasing a vehicle: every table, in small transactions, with a certificate of what was done and what stays."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from db import curfew, incidents, privacy, vehicles
from db.pool import Connection
from db.privacy import Subject
from rules.errors import ConflictError, NotFoundError
from schemas.base import format_instant

_KEPT = {
    "erased_incidents": "figures of incidents by month, without vehicle, person, place or number: the call center has "
    "to account for how it answered",
    "audit": "who did what and when, for a year, without vehicle and incident: the operator has to account for it. Who "
    "did it stays named: a key by its number, a token by its subject as the identity provider has it",
    "request_counts": "how much each caller asked for, a token by its subject: for an hour; open_streams likewise",
    "erasure_certificates": "this certificate, which names the vehicle only to who knows the VIN already",
    "backups": "copies of the database and its write-ahead log hold the rows until they expire",
    "broker": "its log names vehicles as they connect, until it is rotated; what it keeps for the vehicle's session "
    "goes when the vehicle is revoked or disconnected, and after seven days in any case",
    "certificate authority": "the vehicle's certificates in TCU_PKI_DIR: what is revoked must stay known",
    "receivers": "partners and guardians keep what webhooks have told them; ask them",
}
"""What stays, and why."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was done about one vehicle. `report` is what the operator files, as JSON."""

    certificate_id: UUID
    report: dict[str, Any]


def erase(conn: Connection, vin: str, *, now: datetime) -> Certificate:
    """Erase everything that leads to this vehicle and its people, and return the certificate.

    Commits step by step, and can be called again after it was killed. What is searched as a whole goes first and last,
    so that no emergency waits for that. Raises NotFoundError for a vehicle that is not known, ConflictError while one
    of its incidents is not closed.
    """
    done: Counter[str] = Counter()
    subject = _checked(conn, vin)
    for rows in privacy.erase_status(conn, vin):
        done["vehicle_status"] += rows
        conn.commit()
    _search_and_erase(conn, subject, done, now=now)
    certificate_id = uuid4()
    incidents.lock(conn)
    # In the order of whoever cancels or announces an exception, and then has the vehicle judged.
    curfew.lock_exceptions(conn, vin)
    curfew.lock_watches(conn, [vin])
    subject = _checked(conn, vin)  # a press may have come meanwhile
    counted = privacy.count_incidents(conn, vin)
    for table in privacy.ERASED_TABLES:
        if table not in privacy.UNINDEXED:
            done[table] += privacy.erase(conn, table, subject, now=now)
    report = _report(certificate_id, done, counted, at=now)
    subject_hash = sha256(f"{certificate_id}{vin}".encode()).digest()
    privacy.certify(conn, certificate_id, issued_at=now, subject_hash=subject_hash, report=report)
    conn.commit()
    _search_and_erase(conn, subject, done, now=now)  # what was written between the two
    report = _report(certificate_id, done, counted, at=now)
    privacy.amend(conn, certificate_id, report=report)
    conn.commit()
    return Certificate(certificate_id, report | {"subjectHash": subject_hash.hex()})


def _checked(conn: Connection, vin: str) -> Subject:
    if vehicles.get(conn, vin) is None:
        raise NotFoundError(f"there is no vehicle {vin}")
    open_cids = privacy.unclosed(conn, vin)
    if open_cids:
        raise ConflictError(f"{', '.join(open_cids)} must be closed or cancelled first")
    return privacy.subject(conn, vin)


def _search_and_erase(conn: Connection, subject: Subject, done: Counter[str], *, now: datetime) -> None:
    for table in privacy.UNINDEXED:
        if table == "events":
            privacy.keep_numbering(conn)
        done[table] += privacy.erase(conn, table, subject, now=now)
        conn.commit()


def _report(certificate_id: UUID, done: Counter[str], counted: int, *, at: datetime) -> dict[str, Any]:
    return {
        "certificateId": str(certificate_id),
        "issuedAt": format_instant(at),
        "subject": "a vehicle and its people; subjectHash is the SHA-256 of certificateId and VIN, one after the other",
        "erased": [{"table": table, "rows": done[table]} for table in privacy.ERASED_TABLES],
        "kept": [
            {"what": what, "why": why, **({"rows": counted} if what == "erased_incidents" else {})}
            for what, why in _KEPT.items()
        ],
    }
