"""Describes the hosts of one priority that serve.

They have an order, shares of the total weight, and a lookup table.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from balancers._internal.refusals import shared_reason
from balancers._internal.types import B
from balancers.errors import NoBackendAvailable
from balancers.interop.envoy.locality import Locality

__all__ = ["HostSet", "Table", "refusal", "shares"]


class Table(Protocol):
    """A lookup table from request hashes to hosts.

    Hosts are given as indices of ``HostSet.hosts``.
    """

    def owner(self, digest: int) -> int:
        """Return the host of a hash."""
        ...

    def attempts(self, digest: int) -> Iterator[int]:
        """Return the hosts of repeated attempts to pick.

        The first host is the owner of the hash.  Every host in the table occurs at least once.
        """
        ...

    def owners(self, digests: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the host of each hash."""
        ...


@dataclass(slots=True)
class HostSet(Generic[B]):
    """Contains the hosts of one priority that serve, and counts its other hosts.

    ``shares`` contains, for each host in ``hosts``, its share of the total weight, from 0 to 1.
    """

    hosts: list[B] = field(default_factory=list[B])
    shares: list[float] = field(default_factory=list[float])
    closed: Counter[str] = field(default_factory=Counter[str])
    """For each state, the number of hosts that are in this state and do not serve."""
    table: Table | None = None
    """The lookup table of ``hosts``.  It is None if no host serves."""


def shares(
    groups: Mapping[Locality, Sequence[B]],
    serves: Callable[[B], bool],
    weights: Mapping[B, int],
    locality_weights: Mapping[Locality, int] | None,
) -> Iterator[tuple[B, float]]:
    """Return the hosts that serve, each with its share of the total weight, from 0 to 1; O(n).

    The hosts are in the order of ``groups``.

    With ``locality_weights``, the localities are sorted.  Each locality gets a share in proportion
    to its own weight.  This share is divided among the hosts of the locality that serve.  If no
    host of a locality serves, no host gets the share of that locality.  Rounding is as in Envoy.
    """
    if locality_weights is None:
        hosts = [backend for group in groups.values() for backend in group]
        yield from _shares_of(hosts, serves, weights, 1.0)
        return
    total = sum(locality_weights.get(locality, 0) for locality in groups)
    for locality in sorted(groups):
        weight = locality_weights.get(locality, 0)
        if weight:
            yield from _shares_of(groups[locality], serves, weights, weight / total)


def _shares_of(
    group: Sequence[B], serves: Callable[[B], bool], weights: Mapping[B, int], share: float
) -> Iterator[tuple[B, float]]:
    serving = [backend for backend in group if serves(backend)]
    total = sum(weights[backend] for backend in serving)
    for backend in serving:
        yield backend, weights[backend] * share / total


def refusal(sets: Sequence[HostSet[B]]) -> NoBackendAvailable:
    """Return the error to raise when none of these host sets has a host to pick.

    The hosts that serve are counted as avoided.
    """
    counts = Counter[str]()
    for host_set in sets:
        counts += host_set.closed
        counts["avoided"] += len(host_set.hosts)
    counts = +counts  # removes zeros
    return NoBackendAvailable(shared_reason(counts, counts.total()), dict(counts))
