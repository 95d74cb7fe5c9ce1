"""Who may use the API."""

from enum import StrEnum


class Role(StrEnum):
    """What the holder of a key is."""

    OWNER = "owner"
    GUARDIAN = "guardian"
    DRIVER = "driver"
    AGENT = "agent"
    PARTNER = "partner"
    ANALYST = "analyst"
    OPERATOR = "operator"
