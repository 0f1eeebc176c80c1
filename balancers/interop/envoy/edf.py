"""Earliest deadline first, exactly: deadlines are integers, and a tie goes to the lower weight."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush, heapreplace

__all__ = ["EarliestDeadlineFirst"]


class EarliestDeadlineFirst:
    """A schedule of the entries 0, 1, …; an entry is due again one stride after each of its picks.

    Strides are positive integers, the inverses of the weights in a common unit.  The schedule
    starts as if ``picks`` picks had been made before.  They are not all executed: each entry was
    picked once per whole stride that passed, and only the last few picks are executed.  Of entries
    due at the same time, the one with the lower weight is first, then the one queued first.

    >>> schedule = EarliestDeadlineFirst([1, 2, 4], [4, 2, 1])
    >>> "".join("abc"[schedule.pick([4, 2, 1].__getitem__)] for _ in range(9))
    'cbccabccb'

    Cost: O(n log n) to create, O(log n) per pick.
    """

    def __init__(self, weights: Sequence[int], strides: Sequence[int], picks: int = 0) -> None:
        now = picks / sum((Fraction(1, stride) for stride in strides), Fraction(0))
        done = [int(now // stride) for stride in strides]
        queue = sorted(range(len(strides)), key=lambda entry: done[entry] * strides[entry])
        self._weights = weights
        self._serial = 0
        self._due = [self._entry((done[entry] + 1) * strides[entry], entry) for entry in queue]
        heapify(self._due)
        for _ in range(picks - sum(done)):
            self.pick(strides.__getitem__)

    def pick(self, stride: Callable[[int], int]) -> int:
        """Return the entry that is due first, and queue it again by its current stride.

        O(log n).
        """
        deadline, _, _, entry = self._due[0]
        heapreplace(self._due, self._entry(deadline + stride(entry), entry))
        return entry

    def pick_avoiding(self, stride: Callable[[int], int], avoided: Callable[[int], bool]) -> int:
        """Return the first due entry that is not avoided; O(avoided · log n).

        There must be one.  Avoided entries use up their turns, as if picks were repeated until one
        is not avoided.
        """
        passed: list[tuple[int, int]] = []
        while avoided(self._due[0][3]):
            deadline, _, _, entry = heappop(self._due)
            passed.append((deadline, entry))
        now, weight, _, _ = self._due[0]
        requeued: list[tuple[tuple[int, ...], int, int]] = []
        for place, (deadline, entry) in enumerate(passed):
            step = stride(entry)
            before = now + (self._weights[entry] < weight)  # turns before this time are used up
            turns = max(1, -((deadline - before) // step))
            due = deadline + turns * step
            # Queued at its last turn.  Of two at the same time, the one with fewer turns is first.
            requeued.append(((due - step, turns, place), due, entry))
        for _, due, entry in sorted(requeued):
            heappush(self._due, self._entry(due, entry))
        return self.pick(stride)

    def _entry(self, deadline: int, entry: int) -> tuple[int, int, int, int]:
        self._serial += 1
        return deadline, self._weights[entry], self._serial, entry
