"""The hosts of one priority that serve: in which order, and with what share of all weight."""

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
    """Whose a request hash is: a place among the hosts it was built of."""

    def owner(self, digest: int) -> int:
        """Give the host of a hash."""
        ...

    def attempts(self, digest: int) -> Iterator[int]:
        """Give the host of every attempt at a hash, the first included; each host with a place."""
        ...

    def owners(self, digests: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Give the hosts of many hashes."""
        ...


@dataclass(slots=True)
class HostSet(Generic[B]):
    """The hosts of a priority that serve, and why the others do not."""

    hosts: list[B] = field(default_factory=list[B])
    shares: list[float] = field(default_factory=list[float])
    closed: Counter[str] = field(default_factory=Counter[str])
    table: Table | None = None
    """None without hosts."""


def shares(
    groups: Mapping[Locality, Sequence[B]],
    serves: Callable[[B], bool],
    weights: Mapping[B, int],
    locality_weights: Mapping[Locality, int] | None,
) -> Iterator[tuple[B, float]]:
    """Give those who serve, each with its part of all their weight.

    By locality as listed; or, where localities are weighed, sorted, each with its own part of the
    whole, lost when nobody there serves.  The roundings are Envoy's.  O(n).
    """
    if locality_weights is None:
        everyone = [backend for group in groups.values() for backend in group]
        yield from _within(everyone, serves, weights, 1.0)
        return
    total = sum(locality_weights.get(locality, 0) for locality in groups)
    for locality in sorted(groups):
        weight = locality_weights.get(locality, 0)
        if weight:
            yield from _within(groups[locality], serves, weights, weight / total)


def _within(
    group: Sequence[B], serves: Callable[[B], bool], weights: Mapping[B, int], share: float
) -> Iterator[tuple[B, float]]:
    serving = [backend for backend in group if serves(backend)]
    total = sum(weights[backend] for backend in serving)
    for backend in serving:
        yield backend, weights[backend] * share / total
