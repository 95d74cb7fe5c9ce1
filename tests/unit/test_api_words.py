"""Durations in the words of the guides."""

import pytest

from api.answers.words import milliseconds, rsa_duration, sos_duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, None),
        (0, "0 seconds"),
        (1, "1 second"),
        (30, "30 seconds"),
        (59.4, "59 seconds"),
        (59.7, "1 minute"),
        (60, "1 minute"),
        (120, "2 minutes"),
        (2100, "35 minutes"),
        (7200, "120 minutes"),
    ],
)
def test_the_sos_guides_words(seconds: float | None, words: str | None) -> None:
    assert sos_duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, None),
        (20, "0 min"),
        (1500, "25 min"),
        (3570, "1 hour"),
        (3600, "1 hour"),
        (6300, "1 hour 45 min"),
        (7500, "2 hours 5 min"),
        (86400, "24 hours"),
    ],
)
def test_the_rsa_guides_words(seconds: float | None, words: str | None) -> None:
    assert rsa_duration(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(None, None), (0.0449, "45ms"), (0.12, "120ms"), (2, "2000ms")])
def test_response_times(seconds: float | None, words: str | None) -> None:
    assert milliseconds(seconds) == words
