"""`tcu partner`: who is sent, where dispatches are pushed to, and whether they arrive."""

import secrets
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.table import Table

from admin.session import print_table, transaction
from db import partners, webhooks
from rules.webhooks import SECRET_BYTES, format_secret

app = typer.Typer(no_args_is_help=True, help="Dispatch companies and the webhooks that tell them of dispatches.")

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@app.command()
def add(
    partner: str,
    name: str,
    phone: str | None = None,
    webhook_url: Annotated[
        str | None, typer.Option(help="Where dispatches are pushed to; makes a new secret and prints it.")
    ] = None,
) -> None:
    """Add a dispatch company, as SAMSUNG_FIRE, or change it. A secret is shown once, and replaces the one before."""
    if webhook_url is not None:
        check_url(webhook_url)
    secret = format_secret(secrets.token_bytes(SECRET_BYTES))
    with transaction() as conn:
        partners.put(conn, partner, name=name, phone=phone)
        if webhook_url is not None:
            webhooks.put_endpoint(conn, partner, url=webhook_url, secret=secret, at=datetime.now(UTC))
    if webhook_url is not None:
        typer.echo(secret)


@app.command()
def deliveries(
    partner: Annotated[str | None, typer.Argument(help="One partner's; all by default.")] = None,
    limit: int = 50,
    finished: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
) -> None:
    """List the dispatches that are still to be delivered, newest first."""
    table = Table("webhook-id", "partner", "type", "cid", "status", "attempts", "last error", "since", "next attempt")
    with transaction() as conn:
        for one in webhooks.list_all(conn, partner=partner, finished=finished, limit=limit):
            table.add_row(
                str(one.delivery_id),
                one.partner,
                one.topic,
                one.cid,
                one.status,
                str(one.attempts),
                one.last_error,
                one.created_at.isoformat("T", "seconds"),
                one.next_attempt_at.isoformat("T", "seconds") if one.finished_at is None else "",
            )
    print_table(table)


def check_url(url: str) -> None:
    """Raise ValueError where names and places would travel unencrypted, or nowhere."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError(f"expected a URL as https://partner.example/dispatches, not {url}")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("expected https: a dispatch carries names, numbers and places (http only to this machine)")
