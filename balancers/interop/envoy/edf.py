"""Earliest deadline first, exactly: deadlines are whole numbers, and lower weights win ties."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush, heapreplace

__all__ = ["EarliestDeadlineFirst"]


class EarliestDeadlineFirst:
    """Entries 0, 1, …, each due again its stride after it was picked; strides are ints above 0.

    A stride is the inverse of a weight over a common unit.  It begins as if ``picks`` picks had
    been made already, without making them: by then an entry was picked once for each whole stride
    that passed, and only the last few are made.  Of those due together the lower weight is first,
    then who was queued first.

    >>> schedule = EarliestDeadlineFirst([1, 2, 4], [4, 2, 1])
    >>> "".join("abc"[schedule.pick([4, 2, 1].__getitem__)] for _ in range(9))
    'cbccabccb'

    Cost: O(n log n) to begin, O(log n) a pick.
    """

    def __init__(self, weights: Sequence[int], strides: Sequence[int], picks: int = 0) -> None:
        now = picks / sum((Fraction(1, stride) for stride in strides), Fraction(0))
        made = [int(now // stride) for stride in strides]
        queue = sorted(range(len(strides)), key=lambda entry: made[entry] * strides[entry])
        self._weights = weights
        self._serial = 0
        self._due = [self._entry((made[entry] + 1) * strides[entry], entry) for entry in queue]
        heapify(self._due)
        for _ in range(picks - sum(made)):
            self.pick(strides.__getitem__)

    def pick(self, stride: Callable[[int], int]) -> int:
        """Give who is due first, and queue it again by its stride of now; O(log n)."""
        deadline, _, _, entry = self._due[0]
        heapreplace(self._due, self._entry(deadline + stride(entry), entry))
        return entry

    def pick_but(self, stride: Callable[[int], int], refused: Callable[[int], bool]) -> int:
        """Give the first due that is not refused, of which there is one; O(refused · log n).

        The refused use up their turns, as when pick follows pick until one is not refused.
        """
        passed: list[tuple[int, int]] = []
        while refused(self._due[0][3]):
            deadline, _, _, entry = heappop(self._due)
            passed.append((deadline, entry))
        now, weight, _, _ = self._due[0]
        again: list[tuple[tuple[int, ...], int, int]] = []
        for place, (deadline, entry) in enumerate(passed):
            step = stride(entry)
            before = now + (self._weights[entry] < weight)  # its turns before this are used up
            turns = max(1, -((deadline - before) // step))
            due = deadline + turns * step
            # Queued at its last turn; of two at once, the one with fewer turns had waited longer.
            again.append(((due - step, turns, place), due, entry))
        for _, due, entry in sorted(again):
            heappush(self._due, self._entry(due, entry))
        return self.pick(stride)

    def _entry(self, deadline: int, entry: int) -> tuple[int, int, int, int]:
        self._serial += 1
        return deadline, self._weights[entry], self._serial, entry
