"""`tcu`: migrate, vehicles, broker, agents, partners, keys, quarantine, exports and the state of the processes."""

import typer

from admin import audit, broker, demo, export, grants, keys, partners, people, privacy, quarantine, status, vehicles
from admin.session import as_owner, explain_failures, transaction
from db.catalog import describe
from db.migrate import migrate as apply_migrations

app = typer.Typer(
    name="tcu",
    no_args_is_help=True,
    help="Operate the TCU telematics backend.\n\n"
    "Reads TCU_DATABASE_URL and TCU_PKI_DIR; after `make up` they are in `.run/env`:\n\n"
    "    . .run/env && tcu vehicle add KMHSH81C7LU123456",
)
app.add_typer(vehicles.app, name="vehicle")
app.add_typer(people.app, name="agent")
app.add_typer(partners.app, name="partner")
app.add_typer(keys.app, name="key")
app.add_typer(grants.app, name="grant")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(broker.app, name="broker")
app.add_typer(privacy.app, name="privacy")
app.add_typer(demo.app, name="demo")
app.command(name="audit")(audit.show)
app.command(name="status")(status.show)
app.command(name="export")(export.export)


@app.command()
def migrate() -> None:
    """Bring the database to the present schema; safe to run at any time, and by several at once.

    Uses TCU_MIGRATE_URL, the schema's owner; where it is not set, TCU_DATABASE_URL.
    """
    with as_owner() as conn:
        applied = apply_migrations(conn)
    typer.echo("\n".join(f"applied {name}" for name in applied) or "nothing to apply")


@app.command()
def schema() -> None:
    """Print the database's schema as Markdown: `tcu schema > docs/schema.md` after a new migration."""
    with transaction() as conn:
        typer.echo(describe(conn), nl=False)


def main() -> None:
    """Run the CLI; what the operator can mend is told in one line."""
    with explain_failures():
        app()


if __name__ == "__main__":
    main()
