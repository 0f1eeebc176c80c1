"""Samples blocks of items at random by weight, with vector operations."""

from collections.abc import Mapping
from random import Random
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["AliasTable", "array_of"]

T = TypeVar("T")

_MIN_SHARE = 2.0**-40
"""The smallest part of the total weight that 53 random bits can sample precisely enough."""
_MAX_SHORT = 1 << 14
"""The largest number of items of equal weight for which 32 random bits are enough.  The probability
of each item is then exact to one part in 2¹⁸."""


class AliasTable:
    """Samples blocks of indices at random.  The weights of the indices do not change.

    ``row`` is a list of pairs (index, weight).  Each weight must be positive.
    """

    def __init__(self, row: list[tuple[int, float]]) -> None:
        self._indices: NDArray[np.intp] = np.array([index for index, _ in row], dtype=np.intp)
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
        """Whether the table is precise enough.  It is False if a weight is too small a part of the
        total weight.  In this case, sample single items from the sum tree instead."""

    def sample(self, rng: Random, count: int, size: int) -> NDArray[np.intp]:
        """Return ``count`` groups of ``size`` different indices, as one flat array.

        The first index of a group is sampled by weight from all indices.  Each of the others is
        sampled by weight from the indices that are not yet in the group.  ``size`` must not be
        greater than their number.  The cost is O(count) for groups of one index, and
        O(count · size · (size + log n)) for others.
        """
        if size == 1:
            return self._indices[self._singles(rng, count)]
        if size == 2:  # noqa: PLR2004 - a pair
            return self._indices[self._pairs(rng, count)]
        return self._indices[self._groups(rng, count, size)]

    def _singles(self, rng: Random, count: int) -> NDArray[np.intp]:
        if self._equal_weights:
            return _below(len(self._weights), rng, count)
        share = _uniform(rng, count) * len(self._weights)
        places: NDArray[np.intp] = share.astype(np.intp)
        keep, alias = self._alias()
        return np.where(share - places < keep[places], places, alias[places])

    def _pairs(self, rng: Random, count: int) -> NDArray[np.intp]:
        n = len(self._weights)
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
        return np.stack((first, second), axis=1).ravel()

    def _groups(self, rng: Random, count: int, size: int) -> NDArray[np.intp]:
        """Sample as :meth:`sample`.  No random number is used in vain.

        A number is sampled from the range that is left without the earlier places of its group.
        Then these places are put back into the range, in ascending order, and each of them that is
        not behind the number shifts the number.
        """
        groups = np.empty((count, size), dtype=np.intp)
        earlier: list[NDArray[np.intp]] = []  # the places of each group, in ascending order
        for turn in range(size):
            if self._equal_weights:
                found = _below(len(self._weights) - turn, rng, count)
                for place in earlier:
                    found += found >= place
            else:
                found = self._one_more(rng, count, earlier)
            groups[:, turn] = found
            for at, place in enumerate(earlier):
                earlier[at], found = np.minimum(place, found), np.maximum(place, found)
            earlier.append(found)
        return groups.ravel()

    def _one_more(
        self, rng: Random, count: int, earlier: list[NDArray[np.intp]]
    ) -> NDArray[np.intp]:
        """Sample one place by weight for each group, from those that are not in ``earlier``."""
        left = np.full(count, self._sums[-1])
        for place in earlier:
            left -= self._weights[place]
        target = _uniform(rng, count) * left
        for place in earlier:
            weight = self._weights[place]
            target += np.where(target >= self._sums[place] - weight, weight, 0.0)
        found = _first_above(self._sums, target)
        while True:  # a rounding error may lead to a place that is just beside the right one
            clash = np.zeros(count, dtype=bool)
            for place in earlier:
                clash |= found == place
            if not clash.any():
                return found
            found[clash] = (found[clash] + 1) % len(self._weights)

    def __repr__(self) -> str:
        return f"<AliasTable: {len(self._weights)} items, total weight {self._sums[-1]:g}>"

    def _alias(self) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return the two arrays of Vose's alias table, ``keep`` and ``alias``; O(n).

        Both arrays have the shape (n,).  The type of ``keep`` is float64, the type of ``alias`` is
        intp.  To sample an item, first choose an index i at random, all with the same probability.
        With probability ``keep[i]``, the result is i.  Otherwise the result is ``alias[i]``.
        """
        if self._aliases is None:
            keep: list[float] = (self._weights * (len(self._weights) / self._sums[-1])).tolist()
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


def array_of(items: Mapping[int, T]) -> NDArray[Any]:
    """Return an array of objects that contains each item at its index; O(n)."""
    array = np.empty(max(items) + 1, dtype=object)
    for index, item in items.items():
        array[index] = item
    return array


def _first_above(sums: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return, for each target, the first index whose running sum is above the target.

    If no running sum is above a target, its result is the last index.
    """
    indices: NDArray[np.intp] = np.searchsorted(sums, targets, side="right")
    return np.minimum(indices, len(sums) - 1, dtype=np.intp)


def _below(n: int, rng: Random, count: int) -> NDArray[np.intp]:
    """Return ``count`` random integers from 0 to below n."""
    if n > _MAX_SHORT:
        return (_uniform(rng, count) * n).astype(np.intp)
    short = np.frombuffer(rng.randbytes(4 * count), dtype="<u4").astype(np.int64)
    scaled: NDArray[np.intp] = (short * n) >> 32
    return scaled


def _uniform(rng: Random, count: int) -> NDArray[np.float64]:
    """Return ``count`` random numbers from 0 to below 1, made from ``rng.randbytes``.

    Each number has 53 random bits.
    """
    bits = np.frombuffer(rng.randbytes(8 * count), dtype="<u8")
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
