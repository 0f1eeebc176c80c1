"""Implements smooth weighted round robin with vectors.

``VectorScan`` is the fastest implementation for many members.  All numbers must fit into 64 bits.
``WideScan`` has no such limit.
"""

from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers.algorithms._smooth_scan import Scan, ranked_by_current_weight

__all__ = ["VectorScan", "WideScan"]

_CLOSED = -(1 << 62)
"""The vector contains this number as the current weight of each closed member, or as its highest
limb.  It is so low that ``argmax`` never selects it."""
_FEW = 4
"""The largest number of members that are faster searched one by one than sorted."""
_BITS = 62
_MASK = (1 << _BITS) - 1
_SPARE_BITS = 12
"""The highest limb has at least so many bits more than the numbers at the start need."""
_ROUNDED_UP = 1 + 1e-9
"""A factor that is greater than the rounding errors of a few operations with floats."""


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

    def ranking(self, count: int) -> list[int]:
        """Sort the members by their current weights after the next addition; vectorised."""
        after: NDArray[np.int64] = self._current + self._effective
        count = min(count, len(after) - len(self._closed))
        if count > _FEW:
            ranked: list[int] = (-after).argsort(kind="stable")[:count].tolist()
            return ranked
        ranked = []
        for _ in range(count):
            ranked.append(int(after.argmax()))
            after[ranked[-1]] = _CLOSED
        return ranked

    def charge(self, index: int, max_debt: int) -> bool:
        """Do one step that picks the member at the index; O(n), vectorised."""
        current_weights = self._current
        if current_weights.item(index) <= max_debt * (self._effective.item(index) - self.total):
            return False
        is_over = current_weights - (max_debt - 1) * self._effective > self.total
        is_over[index] = False
        if is_over.any():
            return False
        current_weights += self._effective
        current_weights[index] = current_weights.item(index) - self.total
        return True

    def limit_debts(self, max_debt: int) -> None:
        """Limit the current weight of each member that has a positive weight; O(n), vectorised."""
        weights = self._effective
        lower, upper = max_debt * (weights - self.total), max_debt * weights + self.total
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
        if len(picks) == 1:
            self._current += self._effective
            self._current[picks[0]] -= self.total
            return
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


class WideScan(Scan):
    """Does each step with a few vector operations for each limb of 62 bits.

    A number is the sum of its limbs, and limb i is multiplied by ``2 ** (62 * i)``.  The highest
    limb has the sign.  The others are not negative.  Both arrays are of type int64 and shape
    (limbs, n).  Two limbs are enough for weights with 20 decimal places.
    """

    def __init__(self, current_weights: list[int], effective_weights: list[int]) -> None:
        self.total = sum(effective_weights)
        greatest = max(self.total, *map(abs, current_weights))
        limbs = 1 + max(1, (greatest.bit_length() + _SPARE_BITS) // _BITS)
        self.limit = 1 << (_BITS * limbs - _SPARE_BITS + 2)
        self._weights = list(effective_weights)
        self._current = self._split(current_weights, limbs)
        self._effective = self._split(effective_weights, limbs)
        self._closed: dict[int, int] = {}
        for index, weight in enumerate(effective_weights):
            if not weight:
                self._close(index)
        self._steps_left = len(effective_weights)

    @staticmethod
    def _split(numbers: list[int], limbs: int) -> NDArray[np.int64]:
        rows = [[number >> _BITS * i & _MASK for number in numbers] for i in range(limbs - 1)]
        rows.append([number >> _BITS * (limbs - 1) for number in numbers])
        return np.array(rows, dtype=np.int64)

    def _set(self, array: NDArray[np.int64], index: int, number: int) -> None:
        array[:, index] = self._split([number], len(array))[:, 0]

    def _number(self, index: int) -> int:
        number = 0
        for limb in reversed(self._current[:, index].tolist()):
            number = (number << _BITS) + limb
        return number

    def _close(self, index: int) -> None:
        self._closed[index] = self._number(index)
        self._current[:, index] = 0
        self._current[-1, index] = _CLOSED

    def _add_weights(self) -> None:
        limbs = self._current
        limbs += self._effective
        for index in range(len(limbs) - 1):
            limbs[index + 1] += limbs[index] >> _BITS
            limbs[index] &= _MASK
        self._steps_left -= 1

    @property
    def rebuild_due(self) -> bool:
        """Whether n steps were done."""
        return self._steps_left <= 0

    def step(self) -> int:
        """Do one step; O(n), vectorised."""
        self._add_weights()
        highest = self._current[-1]
        best = int(highest.argmax())
        candidates: NDArray[Any] = np.flatnonzero(highest == highest[best])
        for limb in self._current[-2::-1]:
            if len(candidates) == 1:
                break
            values = limb[candidates]
            candidates = candidates[values == values.max()]
        best = int(candidates[0])
        self._set(self._current, best, self._number(best) - self.total)
        return best

    def ranking(self, count: int) -> list[int]:
        """Sort the members by their current weights after the next addition; O(n log n)."""
        return ranked_by_current_weight(self.current_weights(), self._weights, count)

    def charge(self, index: int, max_debt: int) -> bool:
        """Do one step that picks the member at the index; O(n), vectorised."""
        if self._number(index) <= max_debt * (self._weights[index] - self.total):
            return False
        if any(each != index for each in self._over(max_debt)):
            return False
        self._add_weights()
        self._set(self._current, index, self._number(index) - self.total)
        return True

    def _over(self, max_debt: int) -> Iterator[int]:
        """Return the members that one more step would raise above the upper limit.

        The two highest limbs show which members can be above it.  Only those are computed exactly.
        """
        high = 2.0**_BITS
        current = self._current[-1] * high + self._current[-2]
        weights = self._effective[-1] * high + self._effective[-2]
        total = float(self.total >> _BITS * (len(self._current) - 2))
        least = (max_debt - 1) * weights + total
        for index in np.flatnonzero(current * _ROUNDED_UP + max_debt >= least).tolist():
            if self._number(index) > (max_debt - 1) * self._weights[index] + self.total:
                yield index

    def limit_debts(self, max_debt: int) -> None:
        """Limit the current weight of each member that has a positive weight; O(n)."""
        for index, weight in enumerate(self._weights):
            if weight:
                lower, upper = max_debt * (weight - self.total), max_debt * weight + self.total
                current = self._number(index)
                if not lower <= current <= upper:
                    self._set(self._current, index, lower if current < lower else upper)

    def set_weight(self, index: int, weight: int) -> None:
        """Set an effective weight; O(1).

        When a member closes, its current weight is stored.  When the member opens, its current
        weight is restored.
        """
        old = self._weights[index]
        self.total += weight - old
        self._weights[index] = weight
        if self.total > self.limit:
            return
        self._set(self._effective, index, weight)
        if old and not weight:
            self._close(index)
        elif weight and not old:
            self._set(self._current, index, self._closed.pop(index))

    def period(self) -> float:
        """Return ``inf``.  Numbers that need several limbs have no period of a useful length."""
        return inf

    def is_period(self, picks: list[int]) -> bool:
        """Return False, because no period is learned."""
        return False

    def advance(self, picks: list[int]) -> None:
        """Add and subtract the sums of all these steps at once; O(picks + n)."""
        counts = Counter(picks)
        for index, weight in enumerate(self._weights):
            if weight:
                change = weight * len(picks) - self.total * counts[index]
                self._set(self._current, index, self._number(index) + change)

    def current_weights(self) -> list[int]:
        """Return the current weights of all members, including closed members; O(n)."""
        numbers = [0] * len(self._weights)
        for limb in reversed(self._current.tolist()):
            numbers = [(n << _BITS) + each for n, each in zip(numbers, limb, strict=True)]
        for index, current in self._closed.items():
            numbers[index] = current
        return numbers

    def __repr__(self) -> str:
        return f"<WideScan: {len(self._weights)} members, {len(self._current)} limbs>"
