"""How much a caller may ask for in a minute: the same over all api processes, since it is counted in the database."""

from dataclasses import dataclass
from math import ceil

from api.access import URGENT, Action, Principal
from db import limits
from db.pool import Pool
from rules.errors import DomainError


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
