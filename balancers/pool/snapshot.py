"""Defines what a pool reports about itself, for example to a dashboard."""

from collections.abc import Mapping
from typing import Generic, NamedTuple

from balancers._internal.types import B

__all__ = ["MemberSnapshot", "Snapshot"]


class MemberSnapshot(NamedTuple, Generic[B]):
    """Describes one member of a pool at one time.

    >>> from balancers import Pool, WeightedRoundRobin
    >>> pool = Pool(WeightedRoundRobin({"a": 2}))
    >>> lease = pool.acquire(now=1.0)
    >>> member = pool.snapshot().members[0]
    >>> member.backend, member.state, member.in_flight, member.requests, member.failures
    ('a', (), 1, 1, 0)
    """

    backend: B
    weight: float
    """The weight that was set."""
    effective_weight: float
    """The weight times the factors of the gates.  The balancer uses it."""
    state: tuple[str, ...]
    """The reasons that close the member."""
    in_flight: int
    """The number of its leases that are not released."""
    requests: int
    """The number of its leases since it joined, including bound requests."""
    failures: int
    """The number of its leases that were released as failures."""
    cost_in_flight: int = 0
    """The sum of the costs of its leases that are not released."""


class Snapshot(NamedTuple, Generic[B]):
    """Describes a pool at one time.  Later changes of the pool do not change it.

    ``requests``, ``failures`` and ``refusals`` never decrease.  They include the backends that have
    left.  A lease that is released after its backend left is not counted as a failure.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]))
    >>> pool.release(pool.acquire(now=1.0), now=2.0, ok=False)
    >>> snapshot = pool.snapshot()
    >>> snapshot.requests, snapshot.failures, snapshot.members[0].failures, snapshot.refusals
    (1, 1, 1, {})
    """

    at: float
    """The time in seconds."""
    members: tuple[MemberSnapshot[B], ...]
    """The members in the order in which they joined."""
    in_flight: int
    """The number of requests in flight on all members."""
    requests: int
    """The number of leases since the pool was created, including bound requests."""
    failures: int
    """The number of leases that were released as failures."""
    refusals: Mapping[str, int]
    """The number of refused requests for each reason of
    :attr:`NoBackendAvailable.reason <balancers.NoBackendAvailable.reason>`."""
    panicking: bool
    """Whether soft gates are ignored."""
