"""While something is away, /readyz of worker and API is red and says what."""

from datetime import UTC, datetime

import httpx
import pytest

from schemas.topics import LaneName
from stack.server import wait_until
from tests.faults import faults
from tests.faults.faults import Fault
from tests.faults.stand import Stand
from tests.tcu import Tcu

VIN = "KMHRDY00000000001"

SAID: dict[Fault, tuple[list[list[str]], list[str], float]] = {
    faults.database_away: (
        [["the database does not answer", f"{lane}: no connection to the database"] for lane in LaneName],
        ["the database does not answer"],
        1.0,
    ),
    faults.broker_killed: ([[f"{lane}: no session with the broker"] for lane in LaneName], [], 0.0),
}
"""By the worker of each lane, and by the API; and whether the worker has its session with the broker."""


@pytest.mark.parametrize("fault", SAID, ids=lambda fault: fault.__name__)
def test_what_is_away_is_named(product: Stand, fault: Fault) -> None:
    workers = product.worker_urls.values()
    by_workers, by_api, connected = SAID[fault]
    vehicle = Tcu(product.broker, product.pki_dir, VIN)
    with fault(product):
        if connected:
            for lane in LaneName:  # which sees by a message that it can't be stored
                vehicle.publish(lane.kinds[-1], b"{}")

        def named() -> bool:
            told = [product.readyz(url)[1] for url in (*workers, product.api_url)]
            return all(set(reasons) <= set(one) for reasons, one in zip([*by_workers, by_api], told, strict=True))

        wait_until(named, wait_s=20)
        for lane, url in product.worker_urls.items():
            assert product.readyz(url)[0] == httpx.codes.SERVICE_UNAVAILABLE
            assert httpx.get(f"{url}/livez").status_code == httpx.codes.OK
            shown = httpx.get(f"{url}/metrics").text.splitlines()
            assert f'tcu_ingest_session_ready{{lane="{lane}"}} {connected}' in shown
    vehicle.close()
    product.wait_ready(datetime.now(UTC))
    for url in workers:
        wait_until(lambda url=url: product.readyz(url) == (httpx.codes.OK, []), wait_s=10)
