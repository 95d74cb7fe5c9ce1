"""`tcu demo seed`: the guides' vehicles, agents, partners and token, so that their curl lines run as printed."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from admin.session import BrokerSettings, key_secret, pki_dir, transaction
from db import agents, keys, partners, sample, vehicles
from db import curfew as db_curfew
from db.pool import Connection
from mosquitto.pki import issue_vehicle
from rules.apply import consents, curfew, sos
from schemas import demo
from schemas.access import Role
from schemas.curfew import ConsentRequest, CurfewPolicyRequest, Day
from schemas.production import Environment

_CURFEW_SINCE = timedelta(days=14)
"""Longer ago than the latest data that is judged at its own time."""

app = typer.Typer(no_args_is_help=True, help="What the demo needs. Refused in production.")


@app.command()
def seed() -> None:
    """Register the guides' vehicles, the fleet's, young drivers', consents, agents, partners, the guides' token."""
    if BrokerSettings().environment is Environment.PRODUCTION:
        raise ValueError("the demo's token is printed in public guides: not in production (TCU_ENVIRONMENT=demo)")
    directory = pki_dir()
    with transaction() as conn:
        for vin in demo.DEMO_VINS:
            vehicles.describe(
                conn, vin, make="BMW", model="320i", model_year=2022, customer_name="Hong Gildong",
                customer_phone="+82-10-1234-5678",
            )  # fmt: skip
            _consents(conn, vin)
        vehicles.register(conn, (*demo.DEMO_FLEET_VINS, *demo.DEMO_CURFEW_VINS))
        for cars in demo.DEMO_CURFEW_CARS:
            for zone, vin in zip(demo.NIGHT_ZONES, cars.offline, strict=True):
                _has_a_night_curfew(conn, vin, zone)
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
            requests_per_minute=demo.DEMO_REQUESTS_PER_MINUTE,
            streams=demo.DEMO_STREAMS,
        )
    seeded = (*demo.DEMO_VINS, *demo.DEMO_FLEET_VINS, *demo.DEMO_CURFEW_VINS)
    for vin in seeded:
        issue_vehicle(directory, vin)
    typer.echo(f"seeded {len(seeded)} vehicles, {len(demo.DEMO_AGENTS)} agents")


@app.command(name="sample")
def load_sample(
    number: Annotated[int, typer.Option("--vehicles", min=20, help="How many.")] = sample.VEHICLES,
) -> None:
    """Load a made-up week of a fleet, whose questions and answers are in docs/analysts.md. Refused in production."""
    if BrokerSettings().environment is Environment.PRODUCTION:
        raise ValueError("the sample is made up: not in production (TCU_ENVIRONMENT=demo)")
    with transaction() as conn:
        sample.load(conn, vehicles=number)
    typer.echo(f"loaded the week of {number} vehicles")


def _consents(conn: Connection, vin: str) -> None:
    """Let the driver consent to whatever was never asked."""
    for purpose, known in consents.by_purpose(conn, vin).items():
        if known is None:
            given = ConsentRequest(purpose=purpose, granted=True)
            consents.record(conn, vin, given, actor="DRIVER", now=datetime.now(UTC))


def _has_a_night_curfew(conn: Connection, vin: str, zone: str) -> None:
    """Let the vehicle have had the guide's night window, and its driver's consent, for two weeks."""
    if db_curfew.policies(conn, vin):
        return
    then = datetime.now(UTC) - _CURFEW_SINCE
    policy = CurfewPolicyRequest.model_validate(
        {
            "enabled": True,
            "timezone": zone,
            "days": list(Day),
            "timeWindow": demo.NIGHT_WINDOW,
            "actions": ["notification", "in_vehicle_warning"],
        }
    )
    curfew.set_policy(conn, vin, policy, actor="GUARDIAN", if_match=None, now=then)
    consents.record(conn, vin, ConsentRequest(granted=True), actor="DRIVER", now=then)
