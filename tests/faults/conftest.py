"""A stand on servers that are the fault tests' own: what is done to them would disturb others."""

from collections.abc import Iterator

import pytest

from tests.faults.stand import Stand, own_servers, stand

DISK_MB = 400
"""Room enough for a few minutes; the memory that it takes is what is written to it."""


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The whole product, ready; shared by the tests of one process, each of which leaves it healed."""
    logs = tmp_path_factory.mktemp("faults")
    with own_servers(DISK_MB) as servers, stand(servers, logs) as parts:
        yield parts
