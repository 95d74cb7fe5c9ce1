"""The right to hold a lane's session with the broker: of all workers one has it, the others stand by."""

import structlog

from db.errors import DatabaseError
from db.pool import Connection, connect
from db.processes import still_leads, try_lead
from schemas.topics import LaneName

log = structlog.get_logger()

FROZEN_AFTER_S = 3
"""A holder that does not check its lease for so long has lost it: a stand-by takes over, though its process lives."""


class Lease:
    """Ask at least once a second whether this worker is the one for a lane.

    Held by a connection, so it ends at once with a process that dies and soon with one that hangs. Who was frozen and
    wakes up may hold the sessions beside its successor for a moment: the broker ends the older connection, and what
    both store is stored once.
    """

    def __init__(self, url: str, lane: LaneName) -> None:
        self._url = url
        self._role = f"ingest-{lane}"
        self._conn: Connection | None = None
        self._held = False

    def check(self) -> bool | None:
        """Return whether this worker has it; None while the database can't say, and so gives it to nobody else."""
        try:
            if self._conn is None or self._conn.closed:
                self._held = False
                self._conn = connect(self._url, name="ingest-lease", autocommit=True, answer_within_s=FROZEN_AFTER_S)
            if self._held:
                still_leads(self._conn)
            else:
                self._held = try_lead(self._conn, self._role, frozen_after_s=FROZEN_AFTER_S)
        except DatabaseError as error:
            log.warning("lease_unknown", error=str(error).splitlines()[0])
            self.give_up()
            return None
        return self._held

    def give_up(self) -> None:
        """Let another have it."""
        if self._conn is not None:
            self._conn.close()
        self._conn, self._held = None, False
