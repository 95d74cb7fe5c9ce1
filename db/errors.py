"""What can go wrong at the database, named for those who may not know the driver."""

import psycopg

DatabaseError = psycopg.Error
"""Anything the database or the way to it refused."""

Unavailable = (psycopg.OperationalError, psycopg.InterfaceError)
"""The database cannot be reached, restarts, or timed out: the same again may succeed."""

Refused = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError)
"""PostgreSQL will not have this value, now or later."""
