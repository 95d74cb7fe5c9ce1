"""How much may be asked for in a minute: by a caller over all api processes, by a stranger's address in each."""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

from api.access import URGENT, Action, Principal
from db import limits
from db.pool import Pool
from rules.errors import DomainError

STRANGERS_PER_MINUTE = 1200
"""Requests of one address without a credential that counts."""
_MINUTE_S = 60.0
_ADDRESSES_MOST = 10_000
_SITE_BITS = 64
"""Of an IPv6 address; the rest is its owner's to choose."""


class LimitedError(DomainError):
    """The caller has asked for too much; the same again after some seconds may succeed."""

    def __init__(self, code: str, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of a caller's minute."""

    policy: str
    most: int
    used: int
    ends_in_s: float

    def headers(self) -> dict[str, str]:
        """Return what the answer tells of it (draft-ietf-httpapi-ratelimit-headers-10)."""
        left = max(0, self.most - self.used)
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.most};w=60',
            "RateLimit": f'"{self.policy}";r={left};t={ceil(self.ends_in_s)}',
        }


def take(pool: Pool, caller: Principal, action: Action) -> Quota:
    """Count the request and return what is left.

    What an emergency needs has a count of its own: nothing else that the caller, or anybody, asks for uses it up.
    """
    policy = "sos" if action in URGENT else "requests"
    with pool.connection() as conn:
        used, ends_in_s = limits.count(conn, caller.credential.who, policy=policy)
    return Quota(policy, caller.requests_per_minute, used, ends_in_s)


def check(quota: Quota) -> None:
    """Raise LimitedError where the minute is used up."""
    if quota.used > quota.most:
        raise LimitedError(
            "TOO_MANY_REQUESTS",
            f"expected at most {quota.most} requests a minute",
            retry_after_s=max(1, ceil(quota.ends_in_s)),
        )


class Strangers:
    """How often each address has asked without a credential that counts, in its present minute and this process.

    Not in the database: a flood would have it write a row for each request (decision 0026).
    """

    def __init__(self) -> None:
        self._minutes: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, address: str, *, now_s: float) -> Quota:
        """Count the request and return what is left to its address."""
        site = _site(address)
        began_s, used = self._minutes.pop(site, (now_s, 0))
        if now_s - began_s >= _MINUTE_S:
            began_s, used = now_s, 0
        self._minutes[site] = (began_s, used + 1)
        while len(self._minutes) > _ADDRESSES_MOST:
            self._minutes.popitem(last=False)
        return Quota("strangers", STRANGERS_PER_MINUTE, used + 1, began_s + _MINUTE_S - now_s)


def _site(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, _SITE_BITS), strict=False))
    return str(parsed)
