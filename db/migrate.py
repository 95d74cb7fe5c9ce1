"""Forward-only migrations: `migrations/NNNN_name.sql`, each once, in order."""

import hashlib
from pathlib import Path

from db.pool import Connection

_LOCK = 5052

_SAME_EFFECT = {"0003_events": {"4dd077d2e5c72adc28f53f30a6660963eb54b82a55c5df88ee8fddc06ebb6438"}}
"""Digests of earlier texts that made the same schema: 0003 had to make a role itself, which no owner may."""


class MigrationChangedError(RuntimeError):
    """A migration that was applied has another text now; write a new one instead."""


def migration_files() -> list[Path]:
    """Return the migrations, oldest first."""
    return sorted(Path(__file__).with_name("migrations").glob("[0-9][0-9][0-9][0-9]_*.sql"))


def pending(conn: Connection) -> list[Path]:
    """Return the migrations that this database has not had. Raises MigrationChangedError if an applied one changed."""
    exists = conn.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    applied: dict[str, str] = {}
    if exists is not None and exists[0]:
        applied = dict(conn.execute("SELECT name, sha256 FROM schema_migrations").fetchall())
    waiting = []
    for path in migration_files():
        if path.stem not in applied:
            waiting.append(path)
        elif applied[path.stem] not in {_digest(path), *_SAME_EFFECT.get(path.stem, ())}:
            raise MigrationChangedError(f"migration {path.name} was applied with another text; write a new one instead")
    return waiting


def migrate(conn: Connection) -> list[str]:
    """Apply what is pending, one transaction each, and return the names applied. Needs an autocommit connection.

    A file whose first line is `-- no-transaction` runs statement by statement outside one, as
    `CREATE MATERIALIZED VIEW … WITH DATA` of a continuous aggregate must.
    """
    conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    # An index over a large table takes its time; waits for locks stay bounded.
    conn.execute("SET statement_timeout = 0")
    try:
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            "name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        return [_apply(conn, path) for path in pending(conn)]
    finally:
        conn.execute("RESET statement_timeout")
        conn.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _apply(conn: Connection, path: Path) -> str:
    text = path.read_text()
    record = "INSERT INTO schema_migrations (name, sha256) VALUES (%s, %s)"
    if text.startswith("-- no-transaction"):
        for statement in text.split(";\n"):
            if statement.strip():
                conn.execute(statement.encode())
        conn.execute(record, (path.stem, _digest(path)))
    else:
        with conn.transaction():
            conn.execute(text.encode())
            conn.execute(record, (path.stem, _digest(path)))
    return path.stem


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
