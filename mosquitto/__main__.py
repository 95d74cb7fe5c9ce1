"""`python -m mosquitto`: certificates and configuration for a broker that runs elsewhere, as in compose.yaml."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mosquitto import config, pki
from schemas.production import Environment, check_authority


def prepare(
    pki_dir: Annotated[Path, typer.Option(envvar="TCU_PKI_DIR", help="where the authority lives")],
    broker_dir: Annotated[Path, typer.Option(help="where the broker reads its configuration")],
    host: Annotated[list[str], typer.Option(help="names and addresses by which clients call the broker")],
    *,
    port: Annotated[int, typer.Option(help="TLS port for vehicles")] = 8883,
    environment: Annotated[
        Environment, typer.Option(envvar="TCU_ENVIRONMENT", help="production needs an authority of your own")
    ] = Environment.PRODUCTION,
    services_port: Annotated[int, typer.Option(help="TLS port for our own processes")] = 8884,
) -> None:
    """Issue what the broker, the worker and the system test need, and write the broker's configuration."""
    if environment is Environment.PRODUCTION:
        try:
            check_authority(pki_dir / "ca.crt")
        except ValueError as error:
            sys.exit(f"mosquitto: {error}")
    pki.issue_server(pki_dir, host)
    for name in ("ingest", "acl-proof", "systemtest"):
        pki.issue_service(pki_dir, name)
    everywhere = "0.0.0.0"  # noqa: S104 - in a container; what is published is compose's to say
    written = config.prepare(broker_dir, pki_dir, address=everywhere, port=port, services_port=services_port)
    typer.echo(f"wrote {written}")


if __name__ == "__main__":
    typer.run(prepare)
