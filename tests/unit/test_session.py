"""What the operator's command line says where it can't do its work."""

import pytest

from admin.session import explain_failures
from db.errors import DatabaseError


def test_a_failure_of_the_database_is_told_in_one_line() -> None:
    refused = 'connection to server at "127.0.0.1", port 1 failed: Connection refused\n\tIs the server running there?\n'
    with pytest.raises(SystemExit) as ended, explain_failures():
        raise DatabaseError(refused)
    assert str(ended.value) == (
        'tcu: the database did not do it: connection to server at "127.0.0.1", port 1 failed: Connection refused '
        "Is the server running there?"
    )
