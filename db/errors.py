"""What can go wrong at the database, named for those who may not know the driver."""

import psycopg

DatabaseError = psycopg.Error
"""Anything the database or the way to it refused."""

Refused = (psycopg.DataError, psycopg.IntegrityError)
"""PostgreSQL will not have this value, now or later. Any other DatabaseError may pass: an outage, a full disk,
a missing right."""

Unavailable = (psycopg.OperationalError, psycopg.InterfaceError)
"""The database can't be reached, restarts or timed out: who asked may ask again."""

Busy = psycopg.errors.LockNotAvailable
"""Somebody else holds a lock for longer than the transaction wants to wait: it may be tried again soon."""
