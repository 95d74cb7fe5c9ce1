"""What has outlived its term: deleted in batches, or dropped by whole chunks."""

from datetime import datetime

from db.pool import Connection
from db.statements import statements

_SQL = statements("retention")


def delete_batch(conn: Connection, table: str, *, before: datetime, limit: int) -> int:
    """Delete at most `limit` rows of this table that have outlived an instant, and return how many there were.

    Rows that somebody else holds are left for the next time. Raises KeyError for a table without a term.
    """
    return conn.execute(_SQL[table], {"before": before, "limit": limit}).rowcount


def chunks_before(conn: Connection, hypertable: str, *, before: datetime) -> list[datetime]:
    """Return where the chunks end that lie before an instant as a whole, oldest first."""
    values = {"hypertable": hypertable, "before": before}
    return [row[0] for row in conn.execute(_SQL["chunks_before"], values)]


def drop_chunks(conn: Connection, hypertable: str, *, ending: datetime) -> None:
    """Drop the chunks that end at this instant or earlier.

    Raises psycopg.errors.LockNotAvailable where one of them is being read: others must not queue up behind this.
    """
    conn.execute(_SQL["wait_little"])
    conn.execute(_SQL["drop_chunks"], {"hypertable": hypertable, "ending": ending})
