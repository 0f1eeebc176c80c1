"""The same state as a vector: the fastest for many members whose credits fit 64 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers.algorithms._smooth_scan import Scan

__all__ = ["VectorScan"]

_CLOSED = -(1 << 62)


class VectorScan(Scan):
    """One addition and one ``argmax`` over int64 credits, shape (n,)."""

    limit: float = 1 << 40  # credits stay within a few totals, so 64 bits are far away

    def __init__(self, credits_: list[int], gains: list[int]) -> None:
        self._credits: NDArray[np.int64] = np.array(credits_, dtype=np.int64)
        self._gains: NDArray[np.int64] = np.array(gains, dtype=np.int64)
        self.total = sum(gains)
        self._aside = {place: credits_[place] for place, gain in enumerate(gains) if not gain}
        self._credits[list(self._aside)] = _CLOSED

    @classmethod
    def holds(cls, credits_: list[int], gains: list[int]) -> bool:
        """Whether these numbers fit, with room to move."""
        within = bool(sum(gains) <= cls.limit)
        return within and max(map(abs, credits_)) <= cls.limit * 65536

    def step(self) -> int:
        """Scan all members; O(n), vectorised."""
        credits_ = self._credits
        credits_ += self._gains
        best = int(credits_.argmax())
        credits_[best] = credits_.item(best) - self.total
        return best

    def charge(self, place: int, debt: int) -> bool:
        """Add every gain, take the total from one; O(n), vectorised."""
        credits_ = self._credits
        if credits_.item(place) <= debt * (self._gains.item(place) - self.total):
            return False
        credits_ += self._gains
        credits_[place] = credits_.item(place) - self.total
        return True

    def forgive(self, debt: int) -> None:
        """Look at all members of a positive gain; O(n), vectorised."""
        gains = self._gains
        least, most = debt * (gains - self.total), np.maximum(debt * gains, self.total)
        np.clip(self._credits, least, most, out=self._credits, where=gains > 0)

    def weigh(self, place: int, gain: int) -> None:
        """Change a gain, and put the credit aside or back; O(1)."""
        old = self._gains.item(place)
        self.total += gain - old
        self._gains[place] = gain
        if old and not gain:
            self._aside[place] = int(self._credits[place])
            self._credits[place] = _CLOSED
        elif gain and not old:
            self._credits[place] = self._aside.pop(place)

    def period(self) -> int:
        """Give total / gcd; O(n), vectorised."""
        return self.total // int(np.gcd.reduce(self._gains))

    def fair(self, picks: list[int]) -> bool:
        """Count, and compare with the shares; one pass."""
        counts: NDArray[Any] = np.bincount(picks, minlength=len(self._gains))
        return bool((counts * (self.total // len(picks)) == self._gains).all())

    def advance(self, picks: list[int]) -> None:
        """Add all gains at once and take what was taken; one pass."""
        counts: NDArray[Any] = np.bincount(picks, minlength=len(self._gains))
        self._credits += self._gains * len(picks) - counts * self.total

    def credits(self) -> list[int]:
        """Give the credits, those aside included; O(n)."""
        known: list[int] = self._credits.tolist()
        for place, credit in self._aside.items():
            known[place] = credit
        return known
