"""Makes leases that a pool refuses, for replays of wrong calls."""

from typing import Any

from balancers import RoundRobin
from balancers.pool import Lease, Pool

__all__ = ["foreign_lease"]


def foreign_lease(*, released: bool) -> Lease[Any]:
    """Return a lease of another pool."""
    pool = Pool(RoundRobin(["other"]))
    lease = pool.acquire(now=0.0)
    if released:
        pool.release(lease, now=0.0)
    return lease
