"""Signing, what an answer means, and how long to wait after an attempt."""

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from admin.partners import check_url
from rules import webhooks
from rules.webhooks import Outcome

SECRET = webhooks.format_secret(bytes(range(32)))


def test_a_signed_body_verifies_with_the_library() -> None:
    body = '{"cid":"RSA_20260307_001","address":"서울"}'
    signed = webhooks.headers(SECRET, "msg_1", body, at=datetime.now(UTC))
    assert signed["webhook-id"] == "msg_1"
    assert Webhook(SECRET).verify(body.encode(), signed) == {"cid": "RSA_20260307_001", "address": "서울"}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DELIVERED),
        (204, Outcome.DELIVERED),
        (301, Outcome.AGAIN),
        (401, Outcome.AGAIN),
        (404, Outcome.AGAIN),
        (410, Outcome.REFUSED),
        (429, Outcome.AGAIN),
        (500, Outcome.AGAIN),
    ],
)
def test_only_2xx_is_taken_and_only_410_is_final(status: int, outcome: Outcome) -> None:
    assert webhooks.outcome(status) is outcome


@pytest.mark.parametrize(
    ("attempts", "spread", "seconds"),
    [(1, 0, 15), (2, 0, 30), (3, 0, 60), (5, 0, 240), (6, 0, 300), (1000, 0, 300), (1, 0.5, 13.125), (6, 1, 225)],
)
def test_the_wait_doubles_up_to_a_bound_less_at_most_a_quarter(attempts: int, spread: float, seconds: float) -> None:
    waited = webhooks.delay(attempts, first=timedelta(seconds=15), most=timedelta(minutes=5), spread=spread)
    assert waited == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "url", ["https://partner.example/dispatches?key=1", "http://127.0.0.1:9000/", "http://localhost/x"]
)
def test_a_partners_url_is_encrypted_or_on_this_machine(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("url", ["http://partner.example/", "ftp://partner.example/", "partner.example", "https://"])
def test_a_url_that_would_send_names_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        check_url(url)
