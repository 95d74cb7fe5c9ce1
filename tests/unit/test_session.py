"""What the operator's command line says where it can't do its work."""

import pytest
from rich.table import Table

from admin.session import explain_failures, print_table
from db.errors import DatabaseError


def test_a_failure_of_the_database_is_told_in_one_line() -> None:
    refused = 'connection to server at "127.0.0.1", port 1 failed: Connection refused\n\tIs the server running there?\n'
    with pytest.raises(SystemExit) as ended, explain_failures():
        raise DatabaseError(refused)
    assert str(ended.value) == (
        'tcu: the database did not do it: connection to server at "127.0.0.1", port 1 failed: Connection refused '
        "Is the server running there?"
    )


def test_a_table_into_a_pipe_has_every_word_and_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("topic", "reason")
    table.add_row("tcu/v1/KMHSH81C7LU123456/up/status", "x" * 200)
    print_table(table)
    lines = [line for line in capsys.readouterr().out.splitlines() if "x" * 200 in line]
    assert len(lines) == 1
    assert "tcu/v1/KMHSH81C7LU123456/up/status" in lines[0]
