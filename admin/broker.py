"""`tcu broker`: what the broker is told while it runs; and how `tcu vehicle` reaches it."""

import typer

from admin.session import BrokerSettings, pki_dir
from mosquitto import config, pki
from mosquitto.disconnect import ServicesListener, disconnect

app = typer.Typer(no_args_is_help=True, help="The broker that runs.")


@app.command()
def reload() -> None:
    """Bring $TCU_PKI_DIR's revocation lists to $TCU_BROKER_DIR and have the broker read them.

    Nobody is disconnected.
    """
    tell_revocations()
    typer.echo("the broker reads its revocation lists again")


def tell_revocations() -> None:
    """Have the broker refuse what is revoked from now on. Raises ValueError where it can't be told from here."""
    directory = BrokerSettings().broker_dir
    if directory is None:
        raise ValueError(
            "TCU_BROKER_DIR is not set, so the broker knows nothing of this yet: bring the revocation lists to it, "
            "have it reload, and then run `tcu vehicle disconnect VIN` (docs/identities.md)"
        )
    config.publish_revocations(directory, pki_dir())
    config.reload(directory)


def disconnect_vehicle(vin: str) -> None:
    """End the vehicle's connection. Raises ValueError where the broker can't be reached from here."""
    settings = BrokerSettings()
    if settings.mqtt_host is None or settings.mqtt_ca is None:
        raise ValueError("TCU_MQTT_HOST and TCU_MQTT_CA are not set: run `make up`, then `. .run/env`")
    listener = ServicesListener(settings.mqtt_host, settings.mqtt_services_port, settings.mqtt_ca)
    try:
        disconnect(listener, pki.issue_service(pki_dir(), "operator"), vin)
    except OSError as error:
        raise ValueError(f"{vin} is not disconnected: {error}") from error
