"""How a voice call changes with each message of the vehicle, in whatever order they come."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from schemas.call import CallMessage, CallStatus

if TYPE_CHECKING:
    from db.calls import VoiceCall

_SUCCESSION = timedelta(microseconds=1)
_OVER = frozenset({CallStatus.ENDED, CallStatus.FAILED})


def belongs(call: "VoiceCall", message: CallMessage, *, occurred_at: datetime) -> bool:
    """Tell whether the message is about this call, and not about a later attempt.

    A call that is over takes only what was said before its end; anything later begins another.
    """
    if message.session_id is not None and message.session_id == call.session_id:
        return True
    return call.ended_at is None or occurred_at <= call.ended_at


def start(known: Sequence["VoiceCall"], *, occurred_at: datetime) -> datetime:
    """Return when a further attempt started: after the earlier ones, also by a vehicle's clock that is slow."""
    return max([occurred_at, *(call.started_at + _SUCCESSION for call in known)])


def progress(call: "VoiceCall", message: CallMessage, *, occurred_at: datetime) -> "VoiceCall":
    """Return the call after the message. A call never goes back: late messages only fill in what was missing."""
    over = CallStatus(call.status) in _OVER
    match message.status:
        case CallStatus.CONNECTING:
            return call
        case CallStatus.CONNECTED:
            return replace(
                call,
                status=call.status if over else CallStatus.CONNECTED,
                connected_at=call.connected_at or occurred_at,
                battery_voltage=_newest(message.battery_voltage, call.battery_voltage),
            )
        case CallStatus.ENDED | CallStatus.FAILED:
            measured = int((occurred_at - call.connected_at).total_seconds()) if call.connected_at else None
            return replace(
                call,
                status=call.status if over else message.status,
                ended_at=call.ended_at or occurred_at,
                duration_s=message.duration if message.duration is not None else (call.duration_s or measured),
                battery_voltage=_newest(message.battery_voltage, call.battery_voltage),
            )


def _newest(said: float | None, known: float | None) -> float | None:
    return known if said is None else said
