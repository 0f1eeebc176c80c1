"""How much load each priority gets, and which of them panic."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from balancers.interop.envoy.settings import MOST, within

__all__ = ["Health", "Loads", "loads"]

_WHOLE = 100
"""Percent."""


class Health(NamedTuple):
    """How many hosts one priority has, how many of them are healthy, how many degraded."""

    hosts: int
    healthy: int
    degraded: int = 0


@dataclass(frozen=True, slots=True)
class Loads:
    """Percentages by priority, 100 in all: to healthy hosts, and then to degraded ones."""

    healthy: tuple[int, ...]
    degraded: tuple[int, ...]
    panic: tuple[bool, ...]
    """Whether all hosts of the priority serve, whatever their health."""

    edges: tuple[int, ...] = field(init=False, repr=False)
    """The percentages added up, healthy then degraded."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(accumulate(self.healthy + self.degraded)))

    def priority_of(self, digest: int) -> int:
        """Give the priority of a 64-bit hash: the first whose load, added up, covers it.

        >>> told = loads([Health(4, 1), Health(2, 2)])
        >>> told.healthy, told.priority_of(34), told.priority_of(35)
        ((35, 65), 0, 1)
        """
        return bisect_left(self.edges, digest % 100 + 1) % len(self.healthy)


def loads(
    health: Sequence[Health],
    *,
    overprovisioning_factor: int = 140,
    healthy_panic_threshold: int = 50,
) -> Loads:
    """Spread 100 % of load over priorities by availability, ``min(100, 140 · healthy // hosts)``.

    Where all of them together reach 100 %, nobody panics.  Below that a priority panics when less
    than ``healthy_panic_threshold`` percent of its hosts are healthy or degraded; when all do, load
    follows their numbers of hosts.  A threshold of 0 turns panic off.

    >>> loads([Health(100, 72), Health(100, 72)]).healthy
    (100, 0)
    >>> loads([Health(4, 1), Health(4, 1), Health(5, 1)], healthy_panic_threshold=0).healthy
    (37, 35, 28)

    Cost: O(priorities).  Raises InvalidSetting for counts that do not add up and other settings out
    of their range.
    """
    within(1, MOST, overprovisioning_factor=overprovisioning_factor)
    within(0, _WHOLE, healthy_panic_threshold=healthy_panic_threshold)
    for each in health:
        within(0, MOST, hosts=each.hosts)
        within(0, each.hosts, healthy=each.healthy, degraded=each.degraded)
        within(0, each.hosts, **{"healthy and degraded": each.healthy + each.degraded})
    if not health:
        return Loads((), (), ())
    healthy = [_available(overprovisioning_factor, each.healthy, each.hosts) for each in health]
    degraded = [_available(overprovisioning_factor, each.degraded, each.hosts) for each in health]
    total = min(_WHOLE, sum(healthy) + sum(degraded))
    panic = [total < _WHOLE and _usable_percent(each) < healthy_panic_threshold for each in health]
    nobody = (0,) * len(health)
    if all(panic):
        return Loads(_by_hosts([each.hosts for each in health]), nobody, tuple(panic))
    if not total:
        return Loads((100, *nobody[1:]), nobody, tuple(panic))
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
    everyone = sum(hosts)
    if not everyone:
        return (_WHOLE, *(0 for _ in hosts[1:]))
    shares = [100 * count // everyone for count in hosts]
    shares[_first(hosts)] += 100 - sum(shares)
    return tuple(shares)


def _share_out(available: Sequence[int], left: int, total: int) -> tuple[list[int], int]:
    """Give each its part of what is left, from priority 0 up, and the rest."""
    given: list[int] = []
    for each in available:
        given.append(min(left, each * 100 // total))
        left -= given[-1]
    return given, left


def _first(counts: Sequence[int]) -> int:
    return next(place for place, count in enumerate(counts) if count)
