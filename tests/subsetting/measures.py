"""How evenly subsets use the backends, and how much of them a change replaces."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from random import Random

from balancers.subsetting import (
    aperture_subset,
    deterministic_subset,
    rendezvous_subset,
    ringsteady_subset,
)

__all__ = [
    "SUBSETS",
    "Subset",
    "Subsets",
    "aperture",
    "book",
    "changed",
    "counts",
    "deterministic",
    "loads",
    "names",
    "rendezvous",
    "ringsteady",
]

Subset = Mapping[str, float]
Subsets = Callable[[Sequence[str], int, int], list[Subset]]
"""Returns the subset of every balancer, for backends, a number of balancers, and a size."""


def names(count: int) -> list[str]:
    return [f"srv{number}" for number in range(count)]


def deterministic(backends: Sequence[str], balancers: int, size: int) -> list[Subset]:
    return [deterministic_subset(backends, index=i, size=size) for i in range(balancers)]


def rendezvous(
    backends: Sequence[str], balancers: int, size: int, prefix: str = "edge"
) -> list[Subset]:
    return [rendezvous_subset(backends, name=f"{prefix}-{i}", size=size) for i in range(balancers)]


def ringsteady(backends: Sequence[str], balancers: int, size: int) -> list[Subset]:
    return [ringsteady_subset(backends, index=i, size=size) for i in range(balancers)]


def aperture(backends: Sequence[str], balancers: int, size: int) -> list[Subset]:
    return [
        aperture_subset(backends, index=i, balancers=balancers, size=size) for i in range(balancers)
    ]


def book(backends: Sequence[str], balancers: int, size: int) -> list[Subset]:
    """The deterministic subsets of the book, shuffled by this version of Python."""
    subsets: list[Subset] = []
    for index in range(balancers):
        lap, place = divmod(index, len(backends) // size)
        order = list(backends)
        Random(lap).shuffle(order)
        subsets.append(dict.fromkeys(order[place * size : (place + 1) * size], 1))
    return subsets


SUBSETS: dict[str, Subsets] = {
    "deterministic": deterministic,
    "rendezvous": rendezvous,
    "ringsteady": ringsteady,
    "aperture": aperture,
}


def counts(subsets: Sequence[Subset], backends: Sequence[str]) -> list[int]:
    """The number of balancers of each backend, in increasing order."""
    found = Counter(backend for subset in subsets for backend in subset)
    assert found.keys() <= set(backends)
    return sorted(found[backend] for backend in backends)


def changed(before: Sequence[Subset], after: Sequence[Subset]) -> float:
    """The part of the connections afterwards that are new; balancers are compared in order."""
    new = sum(len(subset.keys() - old.keys()) for old, subset in zip(before, after, strict=True))
    return new / sum(len(subset) for subset in after)


def loads(subsets: Sequence[Subset], balancers: int) -> dict[str, Fraction]:
    """The exact share of the traffic that each backend gets if every balancer gets as much.

    The weights are fractions of the number of balancers, for backends of weight 1.
    """
    shares: dict[str, Fraction] = {}
    for subset in subsets:
        exact = {
            backend: Fraction(weight).limit_denominator(balancers)
            for backend, weight in subset.items()
        }
        total = sum(exact.values()) * len(subsets)
        for backend, weight in exact.items():
            shares[backend] = shares.get(backend, Fraction(0)) + weight / total
    return shares
