"""The load of each priority, and which priorities panic."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from balancers.interop.envoy.settings import MAX_UINT32, within

__all__ = ["Health", "Loads", "loads"]

_ALL = 100
"""Percent."""


class Health(NamedTuple):
    """The numbers of hosts, of healthy hosts and of degraded hosts of one priority."""

    hosts: int
    healthy: int
    degraded: int = 0


@dataclass(frozen=True, slots=True)
class Loads:
    """The percentages of load per priority, for healthy and for degraded hosts; the sum is 100."""

    healthy: tuple[int, ...]
    degraded: tuple[int, ...]
    panic: tuple[bool, ...]
    """Whether all hosts of a priority serve, whatever their health."""

    edges: tuple[int, ...] = field(init=False, repr=False)
    """The cumulative percentages: first for healthy hosts, then for degraded ones."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(accumulate(self.healthy + self.degraded)))

    def priority_of(self, digest: int) -> int:
        """Return the priority of a 64-bit hash: the first whose cumulative load covers it.

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
    """Distribute the load over priorities by availability: ``min(100, 140 · healthy // hosts)``.

    If the availabilities add up to 100 % or more, no priority panics.  Otherwise a priority panics
    if less than ``healthy_panic_threshold`` percent of its hosts are healthy or degraded.  If every
    priority panics, the load is distributed by their numbers of hosts.  A threshold of 0 turns
    panic off.

    >>> loads([Health(100, 72), Health(100, 72)]).healthy
    (100, 0)
    >>> loads([Health(4, 1), Health(4, 1), Health(5, 1)], healthy_panic_threshold=0).healthy
    (37, 35, 28)

    Cost: O(priorities).  Raises InvalidSetting if more hosts are healthy or degraded than there
    are, or another argument is out of range.
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
    to_healthy, left = _share_out(healthy, 100, total)
    to_degraded, left = _share_out(degraded, left, total)
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


def _share_out(available: Sequence[int], left: int, total: int) -> tuple[list[int], int]:
    """Return the part of each priority of the load that is left, from priority 0, and the rest."""
    parts: list[int] = []
    for each in available:
        parts.append(min(left, each * 100 // total))
        left -= parts[-1]
    return parts, left


def _first(counts: Sequence[int]) -> int:
    return next(priority for priority, count in enumerate(counts) if count)
