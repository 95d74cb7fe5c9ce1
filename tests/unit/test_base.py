"""Instants on the wire."""

from datetime import UTC, datetime

import pytest

from schemas.base import format_instant, parse_instant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-07T18:30:00Z", datetime(2026, 3, 7, 18, 30, tzinfo=UTC)),
        ("2026-03-07t18:30:00z", datetime(2026, 3, 7, 18, 30, tzinfo=UTC)),
        ("2026-03-08T03:30:00+09:00", datetime(2026, 3, 7, 18, 30, tzinfo=UTC)),
        ("2026-03-07T18:30:00.123Z", datetime(2026, 3, 7, 18, 30, 0, 123_000, tzinfo=UTC)),
        ("2026-03-07T18:30:00.123456789Z", datetime(2026, 3, 7, 18, 30, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_as_utc(text: str, expected: datetime) -> None:
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    "value",
    ["2026-03-07T18:30:00", "2026-03-07", "1772908200", 1772908200, 1.5, True, None, "", "2026-02-30T00:00:00Z",
     "2026-03-07T18:30:60Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-07T18:30:00Z\n",
     "٢٠٢٦-03-07T18:30:00Z", datetime(2026, 3, 7, 18, 30)],
)  # fmt: skip
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"expected|must be|range|second|day|month"):
        parse_instant(value)


@pytest.mark.parametrize(
    ("microsecond", "text"),
    [(0, "2026-03-07T18:30:00Z"), (999, "2026-03-07T18:30:00Z"), (123_456, "2026-03-07T18:30:00.123Z")],
)
def test_an_instant_is_printed_as_the_guides_do(microsecond: int, text: str) -> None:
    assert format_instant(datetime(2026, 3, 7, 18, 30, 0, microsecond, tzinfo=UTC)) == text
