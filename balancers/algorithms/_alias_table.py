"""Weighted sampling in blocks, vectorised."""

from random import Random
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["AliasTable"]

T = TypeVar("T")

_MIN_SHARE = 2.0**-40
"""The smallest share of the total weight that 53 random bits sample exactly enough."""


class AliasTable(Generic[T]):
    """Items and their positive weights as arrays, to sample blocks of items.

    ``row`` is a list of (item, weight).
    """

    def __init__(self, row: list[tuple[T, float]]) -> None:
        self._items = np.fromiter((item for item, _ in row), dtype=object, count=len(row))
        self._weights: NDArray[np.float64] = np.array([float(weight) for _, weight in row])
        self._sums: NDArray[np.float64] = np.cumsum(self._weights)
        self._aliases: tuple[NDArray[np.float64], NDArray[np.intp]] | None = None
        lightest, heaviest = float(self._weights.min()), float(self._weights.max())
        self._equal_weights = lightest == heaviest
        total = float(self._sums[-1])
        self.precise = self._equal_weights or (
            lightest >= total * _MIN_SHARE
            and (len(row) == 1 or total - heaviest >= total * _MIN_SHARE)
        )
        """Whether no share is too small: otherwise sample one by one from the sum tree."""

    def sample(self, rng: Random, count: int) -> list[T]:
        """Return ``count`` items, sampled independently by weight; O(count)."""
        share = _uniform(rng, count) * len(self._items)
        indices = share.astype(np.intp)
        if not self._equal_weights:
            keep, alias = self._alias()
            indices = np.where(share - indices < keep[indices], indices, alias[indices])
        sampled: list[T] = self._items[indices].tolist()
        return sampled

    def sample_pairs(self, rng: Random, count: int) -> list[T]:
        """Return ``count`` pairs of different items, as a flat list; O(count · log n).

        The second item of a pair is sampled by weight among the items other than the first.
        """
        n = len(self._items)
        if self._equal_weights:
            both = (_uniform(rng, count) * (n * (n - 1))).astype(np.intp)
            first = both // (n - 1)
            second = both - first * (n - 1)
            second += second >= first
        else:
            share = _uniform(rng, 2 * count)
            first = _first_above(self._sums, share[:count] * self._sums[-1])
            excluded = self._weights[first]
            target = share[count:] * (self._sums[-1] - excluded)
            target += np.where(target >= self._sums[first] - excluded, excluded, 0.0)
            second = _first_above(self._sums, target)
            second += np.where(second == first, np.where(first == n - 1, -1, 1), 0)
        sampled: list[T] = self._items[np.stack((first, second), axis=1).ravel()].tolist()
        return sampled

    def __repr__(self) -> str:
        return f"<AliasTable: {len(self._items)} items, total weight {self._sums[-1]:g}>"

    def _alias(self) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return Vose's alias table, two arrays of shape (n,): float64 and intp; O(n).

        A sample that falls on index i keeps i with probability ``keep[i]``, else it is
        ``alias[i]``.
        """
        if self._aliases is None:
            keep: list[float] = (self._weights * (len(self._items) / self._sums[-1])).tolist()
            alias = list(range(len(keep)))
            small = [index for index, share in enumerate(keep) if share < 1]
            large = [index for index, share in enumerate(keep) if share >= 1]
            while small and large:
                index, giver = small.pop(), large[-1]
                alias[index] = giver
                keep[giver] -= 1 - keep[index]
                if keep[giver] < 1:
                    small.append(large.pop())
            for index in (*small, *large):
                keep[index] = 1
            self._aliases = np.array(keep), np.array(alias, dtype=np.intp)
        return self._aliases


def _first_above(sums: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return, for each target, the first index whose running sum is above it; at most the last."""
    indices: NDArray[np.intp] = np.searchsorted(sums, targets, side="right")
    return np.minimum(indices, len(sums) - 1, dtype=np.intp)


def _uniform(rng: Random, count: int) -> NDArray[np.float64]:
    """Return ``count`` numbers in [0, 1) of 53 bits each, made from ``rng.randbytes``."""
    bits = np.frombuffer(rng.randbytes(8 * count), dtype="<u8")
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
