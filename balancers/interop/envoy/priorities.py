"""Computes the load of each priority, and decides which priorities panic.

When a priority panics, all its hosts serve, whatever their health.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from balancers._internal.shares import fill
from balancers.interop.envoy.settings import MAX_UINT32, within

__all__ = ["Health", "Loads", "loads"]

_ALL = 100
"""The whole load, in percent."""


class Health(NamedTuple):
    """Counts the hosts of one priority.

    ``hosts`` is the number of all its hosts.  ``healthy`` is the number of its healthy hosts, and
    ``degraded`` is the number of its degraded hosts.
    """

    hosts: int
    healthy: int
    degraded: int = 0


@dataclass(frozen=True, slots=True)
class Loads:
    """Contains the percentage of the load that each priority gets.

    ``healthy`` contains the percentages for healthy hosts, and ``degraded`` those for degraded
    hosts.  The sum of all percentages is 100.
    """

    healthy: tuple[int, ...]
    degraded: tuple[int, ...]
    panic: tuple[bool, ...]
    """For each priority, True if all its hosts serve, whatever their health."""

    edges: tuple[int, ...] = field(init=False, repr=False)
    """The cumulative sums of ``healthy``, followed by those of ``degraded``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(accumulate(self.healthy + self.degraded)))

    def priority_of(self, digest: int) -> int:
        """Return the priority that serves a 64-bit hash.

        ``edges`` is searched for the first entry that is greater than the hash modulo 100.  The
        result is the priority of that entry.

        >>> shares = loads([Health(4, 1), Health(2, 2)])
        >>> shares.healthy, shares.priority_of(34), shares.priority_of(35)
        ((35, 65), 0, 1)
        """
        return bisect_left(self.edges, digest % 100 + 1) % len(self.healthy)


def loads(
    health: Sequence[Health],
    *,
    overprovisioning_factor: int = 140,
    healthy_panic_threshold: int = 50,
) -> Loads:
    """Distribute the load over the priorities by their availability.

    The availability of a priority, in percent, is
    ``min(100, overprovisioning_factor · healthy // hosts)``.  The availability of its degraded
    hosts is computed in the same way.  Priority 0 gets load up to its availability, then priority 1
    gets load, and so on.  Degraded hosts get the load that remains after all healthy hosts.  If all
    availabilities add up to less than 100 %, they are scaled to 100 %.

    If the availabilities add up to 100 % or more, no priority panics.  If they add up to less, a
    priority panics if less than ``healthy_panic_threshold`` percent of its hosts are healthy or
    degraded.  A threshold of 0 turns panic off.  If every priority panics, each priority gets load
    in proportion to its number of hosts.

    >>> loads([Health(100, 72), Health(100, 72)]).healthy
    (100, 0)
    >>> loads([Health(4, 1), Health(4, 1), Health(5, 1)], healthy_panic_threshold=0).healthy
    (37, 35, 28)

    Cost: O(priorities).  Raises InvalidSetting if a priority has more healthy and degraded hosts
    than hosts, or if another argument is out of range.
    """
    within(1, MAX_UINT32, overprovisioning_factor=overprovisioning_factor)
    within(0, _ALL, healthy_panic_threshold=healthy_panic_threshold)
    for each in health:
        within(0, MAX_UINT32, hosts=each.hosts)
        within(0, each.hosts, healthy=each.healthy, degraded=each.degraded)
        within(0, each.hosts, **{"healthy and degraded": each.healthy + each.degraded})
    if not health:
        return Loads((), (), ())
    healthy = [_available(overprovisioning_factor, each.healthy, each.hosts) for each in health]
    degraded = [_available(overprovisioning_factor, each.degraded, each.hosts) for each in health]
    total = min(_ALL, sum(healthy) + sum(degraded))
    panic = [total < _ALL and _usable_percent(each) < healthy_panic_threshold for each in health]
    zeros = (0,) * len(health)
    if all(panic):
        return Loads(_by_hosts([each.hosts for each in health]), zeros, tuple(panic))
    if not total:
        return Loads((100, *zeros[1:]), zeros, tuple(panic))
    to_healthy = fill([each * _ALL // total for each in healthy], _ALL)
    left = _ALL - sum(to_healthy)
    to_degraded = fill([each * _ALL // total for each in degraded], left)
    left -= sum(to_degraded)
    if any(healthy):
        to_healthy[_first(healthy)] += left
    else:
        to_degraded[_first(degraded)] += left
    return Loads(tuple(to_healthy), tuple(to_degraded), tuple(panic))


def _available(factor: int, usable: int, hosts: int) -> int:
    return min(100, factor * usable // hosts) if hosts else 0


def _usable_percent(health: Health) -> float:
    if not health.hosts:
        return 0.0
    return 100.0 * health.healthy / health.hosts + 100.0 * health.degraded / health.hosts


def _by_hosts(hosts: Sequence[int]) -> tuple[int, ...]:
    total = sum(hosts)
    if not total:
        return (_ALL, *(0 for _ in hosts[1:]))
    shares = [100 * count // total for count in hosts]
    shares[_first(hosts)] += 100 - sum(shares)
    return tuple(shares)


def _first(counts: Sequence[int]) -> int:
    return next(priority for priority, count in enumerate(counts) if count)
