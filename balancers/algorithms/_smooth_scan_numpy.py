"""Implements smooth weighted round robin with vectors.

This is the fastest implementation for many members.  All numbers must fit into 64 bits.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers.algorithms._smooth_scan import Scan

__all__ = ["VectorScan"]

_CLOSED = -(1 << 62)
"""The vector contains this number as the current weight of each closed member.  It is so low that
``argmax`` never selects it."""


class VectorScan(Scan):
    """Does each step with one addition and one ``argmax``.

    The current weights are an array of type int64 and shape (n,).
    """

    limit: float = 1 << 50  # current weights stay within a few totals, so 64 bits suffice

    def __init__(self, current_weights: list[int], effective_weights: list[int]) -> None:
        self._current: NDArray[np.int64] = np.array(current_weights, dtype=np.int64)
        self._effective: NDArray[np.int64] = np.array(effective_weights, dtype=np.int64)
        self.total = sum(effective_weights)
        self._closed = {
            index: current_weights[index]
            for index, weight in enumerate(effective_weights)
            if not weight
        }
        self._current[list(self._closed)] = _CLOSED

    @classmethod
    def fits(cls, current_weights: list[int], effective_weights: list[int]) -> bool:
        """Return whether these numbers, and all numbers computed from them, fit into 64 bits."""
        within = bool(sum(effective_weights) <= cls.limit)
        return within and max(map(abs, current_weights)) <= cls.limit * 256

    def step(self) -> int:
        """Do one step; O(n), vectorised."""
        current_weights = self._current
        current_weights += self._effective
        best = int(current_weights.argmax())
        current_weights[best] = current_weights.item(best) - self.total
        return best

    def charge(self, index: int, max_debt: int) -> bool:
        """Do one step that picks the member at the index; O(n), vectorised."""
        current_weights = self._current
        if current_weights.item(index) <= max_debt * (self._effective.item(index) - self.total):
            return False
        current_weights += self._effective
        current_weights[index] = current_weights.item(index) - self.total
        return True

    def limit_debts(self, max_debt: int) -> None:
        """Limit the current weight of each member that has a positive weight; O(n), vectorised."""
        weights = self._effective
        lower, upper = max_debt * (weights - self.total), np.maximum(max_debt * weights, self.total)
        np.clip(self._current, lower, upper, out=self._current, where=weights > 0)

    def set_weight(self, index: int, weight: int) -> None:
        """Set an effective weight; O(1).

        When a member closes, its current weight is stored.  When the member opens, its current
        weight is restored.
        """
        old = self._effective.item(index)
        self.total += weight - old
        if self.total > self.limit:
            return
        self._effective[index] = weight
        if old and not weight:
            self._closed[index] = int(self._current[index])
            self._current[index] = _CLOSED
        elif weight and not old:
            self._current[index] = self._closed.pop(index)

    def period(self) -> int:
        """Return the total divided by the gcd of the weights; O(n), vectorised."""
        return self.total // int(np.gcd.reduce(self._effective))

    def is_period(self, picks: list[int]) -> bool:
        """Compare the counts of the picks with the shares; one pass."""
        counts: NDArray[Any] = np.bincount(picks, minlength=len(self._effective))
        return bool((counts * (self.total // len(picks)) == self._effective).all())

    def advance(self, picks: list[int]) -> None:
        """Add and subtract the sums of all these steps at once; one pass."""
        counts: NDArray[Any] = np.bincount(picks, minlength=len(self._effective))
        self._current += self._effective * len(picks) - counts * self.total

    def current_weights(self) -> list[int]:
        """Return the current weights of all members, including closed members; O(n)."""
        listed: list[int] = self._current.tolist()
        for index, current in self._closed.items():
            listed[index] = current
        return listed

    def __repr__(self) -> str:
        return f"<VectorScan: {len(self._effective)} members, total weight {self.total}>"
