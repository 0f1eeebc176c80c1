"""Items by weight as vectors: blocks of draws at once."""

from random import Random
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["AliasTable"]

T = TypeVar("T")

_EVEN = 2.0**-40
"""Weights less than this share of all are drawn one by one, for exactness."""


class AliasTable(Generic[T]):
    """The same items as vectors, for blocks of draws."""

    def __init__(self, row: list[tuple[T, float]]) -> None:
        self._items = np.fromiter((item for item, _ in row), dtype=object, count=len(row))
        self._weights: NDArray[np.float64] = np.array([float(weight) for _, weight in row])
        self._sums: NDArray[np.float64] = np.cumsum(self._weights)
        self._aliases: tuple[NDArray[np.float64], NDArray[np.intp]] | None = None
        lightest, heaviest = float(self._weights.min()), float(self._weights.max())
        self._alike = lightest == heaviest
        total = float(self._sums[-1])
        self.even = self._alike or (
            lightest >= total * _EVEN and (len(row) == 1 or total - heaviest >= total * _EVEN)
        )

    def singles(self, rng: Random, count: int) -> list[T]:
        """Draw ``count`` items."""
        share = _uniform(rng, count) * len(self._items)
        places = share.astype(np.intp)
        if not self._alike:
            keep, other = self._alias()
            places = np.where(share - places < keep[places], places, other[places])
        drawn: list[T] = self._items[places].tolist()
        return drawn

    def pairs(self, rng: Random, count: int) -> list[T]:
        """Draw ``count`` pairs of different items, flat; the second by weight among the rest."""
        n = len(self._items)
        if self._alike:
            both = (_uniform(rng, count) * (n * (n - 1))).astype(np.intp)
            first = both // (n - 1)
            second = both - first * (n - 1)
            second += second >= first
        else:
            share = _uniform(rng, 2 * count)
            first = _first_above(self._sums, share[:count] * self._sums[-1])
            taken = self._weights[first]
            left = share[count:] * (self._sums[-1] - taken)
            left += np.where(left >= self._sums[first] - taken, taken, 0.0)
            second = _first_above(self._sums, left)
            second += np.where(second == first, np.where(first == n - 1, -1, 1), 0)
        drawn: list[T] = self._items[np.stack((first, second), axis=1).ravel()].tolist()
        return drawn

    def _alias(self) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Give Vose's alias table: the share of each place kept, and who has the rest; O(n)."""
        if self._aliases is None:
            keep: list[float] = (self._weights * (len(self._items) / self._sums[-1])).tolist()
            other = list(range(len(keep)))
            poor = [place for place, share in enumerate(keep) if share < 1]
            rich = [place for place, share in enumerate(keep) if share >= 1]
            while poor and rich:
                place, giver = poor.pop(), rich[-1]
                other[place] = giver
                keep[giver] -= 1 - keep[place]
                if keep[giver] < 1:
                    poor.append(rich.pop())
            for place in (*poor, *rich):
                keep[place] = 1
            self._aliases = np.array(keep), np.array(other, dtype=np.intp)
        return self._aliases


def _first_above(sums: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.intp]:
    """Give, for each share, the first place whose running sum is above it; at most the last."""
    places: NDArray[np.intp] = np.searchsorted(sums, shares, side="right")
    return np.minimum(places, len(sums) - 1, dtype=np.intp)


def _uniform(rng: Random, count: int) -> NDArray[np.float64]:
    """Give ``count`` numbers in [0, 1), 53 bits each, from the generator's own bytes."""
    bits = np.frombuffer(rng.randbytes(8 * count), dtype="<u8")
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
