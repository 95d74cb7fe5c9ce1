"""While something is away, /readyz of worker and API is red and says what."""

from datetime import UTC, datetime

import httpx
import pytest

from stack.server import wait_until
from tests.faults import faults
from tests.faults.faults import Fault
from tests.faults.stand import Stand

WORKER_SAYS: dict[Fault, list[str]] = {
    faults.database_away: ["the database does not answer"],
    faults.broker_killed: ["bulk: no session with the broker", "urgent: no session with the broker"],
}
API_SAYS: dict[Fault, list[str]] = {faults.database_away: ["the database does not answer"], faults.broker_killed: []}


@pytest.mark.parametrize("fault", WORKER_SAYS, ids=lambda fault: fault.__name__)
def test_what_is_away_is_named(product: Stand, fault: Fault) -> None:
    with fault(product):

        def named() -> bool:
            _, worker = product.readyz(product.worker_url)
            _, api = product.readyz()
            return set(WORKER_SAYS[fault]) <= set(worker) and set(API_SAYS[fault]) <= set(api)

        wait_until(named, wait_s=20)
        assert product.readyz(product.worker_url)[0] == httpx.codes.SERVICE_UNAVAILABLE
        assert httpx.get(f"{product.worker_url}/livez").status_code == httpx.codes.OK
        assert "tcu_ingest_session_ready" in httpx.get(f"{product.worker_url}/metrics").text
    product.wait_ready(datetime.now(UTC))
    wait_until(lambda: product.readyz(product.worker_url) == (httpx.codes.OK, []), wait_s=10)
