"""What the role that we connect as may do."""

from db.errors import DatabaseError
from db.pool import connect
from db.statements import statements

_SQL = statements("roles")


def check_role(url: str) -> None:
    """Raise ValueError where we are connected as a role that may do more than read and write rows.

    A database that does not answer yet is no hindrance: processes wait for it.
    """
    try:
        with connect(url, name="tcu-role-check") as conn:
            row = conn.execute(_SQL["own"]).fetchone()
    except DatabaseError:
        return
    if row is not None and row[1]:
        raise ValueError(
            f"TCU_DATABASE_URL is for {row[0]}, a superuser or owner of tables: use tcu_service (db/roles.sql), and "
            "TCU_MIGRATE_URL for `tcu migrate`"
        )
