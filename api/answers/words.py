"""Durations in the words of the guides."""

_MINUTE_S = 60
_HOUR_MIN = 60


def whole_seconds(seconds: float | None) -> int | None:
    """Return rounded seconds for the numeric twin of a duration, None for none."""
    return None if seconds is None else round(seconds)


def sos_duration(seconds: float | None) -> str | None:
    """Return a duration as the SOS guide prints it: "30 seconds", "2 minutes", "35 minutes"; None for none."""
    if seconds is None:
        return None
    count, unit = round(seconds), "second"
    if count >= _MINUTE_S:
        count, unit = round(seconds / _MINUTE_S), "minute"
    return f"{count} {unit}{'' if count == 1 else 's'}"


def rsa_duration(seconds: float | None) -> str | None:
    """Return a duration as the RSA guide prints it: "25 min", "1 hour 45 min", "2 hours 5 min"; None for none."""
    if seconds is None:
        return None
    hours, minutes = divmod(round(seconds / _MINUTE_S), _HOUR_MIN)
    if not hours:
        return f"{minutes} min"
    words = f"{hours} hour{'' if hours == 1 else 's'}"
    return f"{words} {minutes} min" if minutes else words


def milliseconds(seconds: float | None) -> str | None:
    """Return a response time as the guides print it: "45ms"; None for none."""
    return None if seconds is None else f"{round(seconds * 1000)}ms"
