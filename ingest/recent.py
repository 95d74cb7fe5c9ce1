"""Which status messages came a moment ago, so that a second delivery costs its batch nothing."""

from collections.abc import Iterable

from db.telemetry import StatusRow


class RecentIds:
    """The message ids of at least the last `most` status messages, and of at most twice as many.

    A hint and no more: what was forgotten, or stored by another worker, the table's unique key finds.
    """

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._newer: set[int] = set()
        self._older: set[int] = set()

    def split(self, rows: Iterable[StatusRow]) -> tuple[list[StatusRow], list[StatusRow]]:
        """Return the rows whose ids are new here, and those whose ids are not; remember all of them."""
        new: list[StatusRow] = []
        again: list[StatusRow] = []
        for row in rows:
            known_as = row.message_id.int  # hashes in a tenth of the time that the UUID takes
            if known_as in self._newer or known_as in self._older:
                again.append(row)
                continue
            self._newer.add(known_as)
            new.append(row)
        if len(self._newer) >= self._most:
            self._newer, self._older = set(), self._newer
        return new, again

    def clear(self) -> None:
        """Forget all of them: what was to be stored was not."""
        self._newer.clear()
        self._older.clear()
