"""`tcu demo seed`: the guides' vehicles, agents, partners and token, so that their curl lines run as printed."""

import os
from datetime import UTC, datetime

import typer

from admin.session import key_secret, pki_dir, transaction
from db import agents, keys, partners, vehicles
from mosquitto.pki import issue_vehicle
from rules.apply import consents, sos
from schemas import demo
from schemas.access import Role
from schemas.curfew import ConsentRequest

app = typer.Typer(no_args_is_help=True, help="What the demo needs. Refused in production.")


@app.command()
def seed() -> None:
    """Register the guides' vehicles, their drivers' consent, the fleet's, agents, partners and the guides' token."""
    if os.environ.get("TCU_ENVIRONMENT") == "production":
        raise ValueError("the demo's token is printed in public guides: not in production")
    directory = pki_dir()
    with transaction() as conn:
        for vin in demo.DEMO_VINS:
            vehicles.describe(
                conn, vin, make="BMW", model="320i", model_year=2022, customer_name="Hong Gildong",
                customer_phone="+82-10-1234-5678",
            )  # fmt: skip
            if consents.latest(conn, vin) is None:
                now = datetime.now(UTC)
                consents.record(conn, vin, ConsentRequest(granted=True), actor="DRIVER", now=now)
        vehicles.register(conn, demo.DEMO_FLEET_VINS)
        for partner, name in demo.DEMO_PARTNERS.items():
            partners.put(conn, partner, name=name)
        for number, (agent_id, name) in enumerate(demo.DEMO_AGENTS.items(), start=801):
            new = agents.get(conn, agent_id) is None
            agents.put(conn, agent_id, name=name, extension=str(number))
            if new:
                sos.set_availability(conn, agent_id, "AVAILABLE", now=datetime.now(UTC))
        keys.put(
            conn,
            demo.DEMO_TOKEN,
            secret=key_secret(),
            label="the guides' token",
            role=Role.OPERATOR,
            every_vehicle=True,
        )
    for vin in (*demo.DEMO_VINS, *demo.DEMO_FLEET_VINS):
        issue_vehicle(directory, vin)
    typer.echo(f"seeded {len(demo.DEMO_VINS)} + {len(demo.DEMO_FLEET_VINS)} vehicles, {len(demo.DEMO_AGENTS)} agents")
