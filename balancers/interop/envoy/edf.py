"""Schedules picks by weight: the entry with the earliest deadline is picked first.

Deadlines are integers, so there are no rounding errors.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush, heapreplace

from balancers._internal.plans import ascending

__all__ = ["EarliestDeadlineFirst"]


class EarliestDeadlineFirst:
    """Picks the entries 0, 1, … in turn, each as often as its weight requires.

    Each entry has a deadline, and the entry with the earliest deadline is picked.  Its next
    deadline is one stride later.  Strides are positive integers that are inversely proportional to
    the weights.  If two deadlines are equal, the entry with the lower weight is picked first.  If
    the weights are equal too, the entry that was queued first is picked first.

    The schedule starts as if ``picks`` picks had been made before.  Fewer than n of these picks are
    executed.  For the others, the deadlines are computed directly.

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
        """Return the entry with the earliest deadline, and queue it again; O(log n).

        ``stride`` returns the current stride of an entry.
        """
        deadline, _, _, entry = self._due[0]
        heapreplace(self._due, self._entry(deadline + stride(entry), entry))
        return entry

    def pick_avoiding(self, stride: Callable[[int], int], avoided: Callable[[int], bool]) -> int:
        """Return the entry with the earliest deadline among those that are not avoided.

        The effect is that of repeated picks, until one returns an entry that is not avoided.  Each
        avoided entry with an earlier deadline is queued again, as after a pick.  At least one entry
        must not be avoided.

        Cost: O(a · log n) for a avoided entries.
        """
        passed: list[tuple[int, int]] = []
        while avoided(self._due[0][3]):
            deadline, _, _, entry = heappop(self._due)
            passed.append((deadline, entry))
        now, weight, _, _ = self._due[0]
        requeued: list[tuple[tuple[int, ...], int, int]] = []
        for place, (deadline, entry) in enumerate(passed):
            step = stride(entry)
            before = now + (self._weights[entry] < weight)  # skip earlier deadlines
            turns = max(1, -((deadline - before) // step))
            due = deadline + turns * step
            # Sort by the last skipped deadline.  If two are equal, fewer turns come first.
            requeued.append(((due - step, turns, place), due, entry))
        for _, due, entry in sorted(requeued):
            heappush(self._due, self._entry(due, entry))
        return self.pick(stride)

    def in_order(self) -> Iterator[int]:
        """Yield the entries by deadline, as they are picked if those before are avoided."""
        return (due[3] for due in ascending(self._due))

    def _entry(self, deadline: int, entry: int) -> tuple[int, int, int, int]:
        self._serial += 1
        return deadline, self._weights[entry], self._serial, entry
