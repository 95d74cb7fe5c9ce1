"""What the vehicle concludes about the time from a command."""

from datetime import datetime, timedelta

from schemas.command import CommandMessage


def server_time(command: CommandMessage, expiry_s: int | None) -> datetime:
    """Return the server's time when a command arrives, as well as the vehicle can tell it from the command.

    The vehicle's own clock may be what is wrong. The broker counts the message expiry down while it keeps a message
    (MQTT 5 §3.3.2.3.3), so what is left of it, `expiry_s`, tells how long the command has waited.
    """
    if expiry_s is None:
        return command.issued_at
    return max(command.issued_at, command.expires_at - timedelta(seconds=expiry_s))
