"""The hosts of one priority that serve: their order and their shares of the weight."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.interop.envoy.locality import Locality

__all__ = ["HostSet", "Table", "shares"]


class Table(Protocol):
    """A lookup table from request hashes to indices of hosts."""

    def owner(self, digest: int) -> int:
        """Return the host of a hash."""
        ...

    def attempts(self, digest: int) -> Iterator[int]:
        """Return the host of each attempt, beginning with the owner; every host in the table."""
        ...

    def owners(self, digests: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the hosts of many hashes."""
        ...


@dataclass(slots=True)
class HostSet(Generic[B]):
    """The hosts of a priority that serve, and the states of the others."""

    hosts: list[B] = field(default_factory=list[B])
    shares: list[float] = field(default_factory=list[float])
    closed: Counter[str] = field(default_factory=Counter[str])
    """The number of hosts per state that do not serve."""
    table: Table | None = None
    """None if no host serves."""


def shares(
    groups: Mapping[Locality, Sequence[B]],
    serves: Callable[[B], bool],
    weights: Mapping[B, int],
    locality_weights: Mapping[Locality, int] | None,
) -> Iterator[tuple[B, float]]:
    """Return the hosts that serve, each with its share of the total weight; O(n).

    Hosts are in the order of ``groups``.  With ``locality_weights``, localities are sorted and each
    has its own share of the total, which is lost if no host there serves.  Rounding is as in Envoy.
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
