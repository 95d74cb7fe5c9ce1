"""`tcu agent`: who answers."""

from datetime import UTC, datetime
from enum import StrEnum

import typer
from rich.table import Table

from admin.session import print_table, transaction
from db import agents
from rules.apply import sos

app = typer.Typer(no_args_is_help=True, help="Counselors of the call center.")


class Availability(StrEnum):
    """What an agent can be set to; BUSY follows from the incidents."""

    AVAILABLE = "AVAILABLE"
    OFFLINE = "OFFLINE"


@app.command(name="add")
def add_agent(agent_id: str, name: str, extension: str | None = None) -> None:
    """Add a counselor, OFFLINE at first."""
    with transaction() as conn:
        agents.put(conn, agent_id, name=name, extension=extension)


@app.command(name="set")
def set_availability(agent_id: str, availability: Availability) -> None:
    """Say whether a counselor is free; a free one gets the head of the queue at once."""
    with transaction() as conn:
        sos.set_availability(conn, agent_id, availability, now=datetime.now(UTC))


@app.command(name="list")
def list_agents() -> None:
    """List the counselors."""
    table = Table("agent", "name", "extension", "availability", "since")
    with transaction() as conn:
        for agent in agents.list_all(conn):
            table.add_row(
                agent.agent_id,
                agent.name,
                agent.extension,
                agent.availability,
                agent.changed_at.isoformat("T", "seconds"),
            )
    print_table(table)
