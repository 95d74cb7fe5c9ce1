"""What the demo seeds, and what a production start refuses: the guides' token, vehicles, agents and partners."""

DEMO_TOKEN = "sk_4f9c7b8e2d1a6c0f3e7a9b5d8c1e4f2a7c6d9e0b3f5a8c1d4e7f9b2c6a1e3d"  # noqa: S105 - printed in the guides
CONTACT_CENTER_PHONE = "1588-1234"
DEMO_VINS = ("KMHSH81C7LU123456", "KMHSH81C7LU123457")
DEMO_AGENTS = {
    "AGENT_001": "Kim Counselor",
    "AGENT_002": "Counselor 2",
    "AGENT_003": "Counselor 3",
    "AGENT_004": "Counselor 4",
    "AGENT_005": "Counselor 5",
}
DEMO_PARTNERS = {
    "SAMSUNG_FIRE": "Samsung Fire",
    "HYUNDAI_ROAD": "Hyundai Road",
    "GENESIS_ROAD": "Genesis Road",
}

DEMO_FLEET_SIZE = 5
_MAX_FLEET = 999_999_999


def fleet_vin(number: int) -> str:
    """Return the VIN of the simulated fleet's vehicle of this number, counted from 1: KMHFLEET000000001 and so on."""
    if not 1 <= number <= _MAX_FLEET:
        raise ValueError(f"expected a number from 1 to {_MAX_FLEET}")
    return f"KMHFLEET{number:09d}"


DEMO_FLEET_VINS = tuple(fleet_vin(number) for number in range(1, DEMO_FLEET_SIZE + 1))
