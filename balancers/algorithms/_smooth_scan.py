"""Implements the step of smooth weighted round robin, as in nginx 1.22.

Each member has an *effective weight* and a *current weight*.  The current weight starts at 0.  A
step has three parts:

1. It adds the effective weight of every open member to the current weight of this member.
2. It picks the member with the greatest current weight.  Among equals, it picks the first in the
   list.
3. It subtracts the total of the effective weights from the current weight of the picked member.

The function ``ngx_http_upstream_get_peer`` of nginx does the same.  The names are those of nginx.

All numbers are integers, so there are no rounding errors (see ``_units.py``).
"""

from collections import Counter
from math import gcd, inf
from typing import Protocol

__all__ = ["PlainScan", "Scan", "current_weights_after", "ranked_by_current_weight"]


class Scan(Protocol):
    """Stores the current and effective weights of the members, and does the steps.

    A member is addressed by its index.
    """

    total: int
    """The sum of the effective weights."""
    limit: float
    """The greatest total that this scan can represent."""

    @property
    def rebuild_due(self) -> bool:
        """Whether another class may now be faster, and enough steps were done to pay for a test.

        After a rebuild it is False for at least n steps, so the cost is O(1) for each step.
        """
        return False

    def step(self) -> int:
        """Do one step, and return the index of the picked member.

        At least one weight must be positive.
        """
        ...

    def ranking(self, count: int) -> list[int]:
        """Return the indices of the first ``count`` open members, in the order of picks.

        Each one is the member that the next step would pick if those before it were closed.  If
        fewer members are open, all of them are returned.
        """
        ...

    def charge(self, index: int, max_debt: int) -> bool:
        """Do one step, but pick the member at this index.  Return whether the step was done.

        The weight of this member must be positive.  The step is not done in two cases:

        * The current weight of the member is ``max_debt * (weight - total)`` or less.  This means
          that it is already ahead of its share by ``max_debt`` picks or more.
        * The current weight of another open member would become more than its upper limit, see
          :meth:`limit_debts`.
        """
        ...

    def limit_debts(self, max_debt: int) -> None:
        """Limit the current weight of each open member from below and from above; O(n).

        The lower limit is ``max_debt * (weight - total)``, which ``max_debt`` picks of the member
        itself cause.  The upper limit is ``max_debt * weight + total``: ``max_debt`` picks of other
        members, and one pick that is due.  Members of weight 0 do not change.
        """
        ...

    def set_weight(self, index: int, weight: int) -> None:
        """Set an effective weight; O(1).

        The weight 0 closes the member.  A closed member keeps its current weight.  If the total
        becomes greater than ``limit``, no more steps can be done.
        """
        ...

    def period(self) -> float:
        """Return the number of steps after which the sequence of picks repeats; O(n).

        The result is ``inf`` if the scan does not support periods.
        """
        ...

    def is_period(self, picks: list[int]) -> bool:
        """Return whether these picks gave each member exactly its share.

        If so, the current weights are the same after these picks as before.
        """
        ...

    def advance(self, picks: list[int]) -> None:
        """Change the state as if the steps with these picks had been done; one pass."""
        ...

    def current_weights(self) -> list[int]:
        """Return the current weights of all members, including closed members; O(n)."""
        ...


class PlainScan(Scan):
    """Does the steps with a plain loop.

    It is the fastest scan for few members.  It is exact for weights of any size.
    """

    limit = inf

    def __init__(self, current_weights: list[int], effective_weights: list[int]) -> None:
        self._current = current_weights
        self._effective = effective_weights
        self.total = sum(effective_weights)

    def step(self) -> int:
        """Do one step; O(n)."""
        current_weights, best, greatest = self._current, -1, -inf
        for index, weight in enumerate(self._effective):
            if weight:
                current = current_weights[index] = current_weights[index] + weight
                if current > greatest:
                    best, greatest = index, current
        current_weights[best] -= self.total
        return best

    def ranking(self, count: int) -> list[int]:
        """Sort the open members by their current weights after the next addition; O(n log n)."""
        return ranked_by_current_weight(self._current, self._effective, count)

    def charge(self, index: int, max_debt: int) -> bool:
        """Do one step that picks the member at the index; O(n)."""
        current_weights, weights = self._current, self._effective
        if current_weights[index] <= max_debt * (weights[index] - self.total):
            return False
        for each, weight in enumerate(weights):
            room = (max_debt - 1) * weight + self.total - current_weights[each]
            if room < 0 and weight and each != index:
                return False
        for each, weight in enumerate(weights):
            current_weights[each] += weight
        current_weights[index] -= self.total
        return True

    def limit_debts(self, max_debt: int) -> None:
        """Limit the current weight of each member that has a positive weight; O(n)."""
        for index, weight in enumerate(self._effective):
            if weight:
                lower, upper = max_debt * (weight - self.total), max_debt * weight + self.total
                self._current[index] = min(max(self._current[index], lower), upper)

    def set_weight(self, index: int, weight: int) -> None:
        """Set an effective weight; O(1)."""
        self.total += weight - self._effective[index]
        self._effective[index] = weight

    def period(self) -> int:
        """Return the total divided by the greatest common divisor of the weights; O(n)."""
        return self.total // gcd(*self._effective)

    def is_period(self, picks: list[int]) -> bool:
        """Compare the counts of the picks with the shares; O(picks + n)."""
        counts = Counter(picks)
        return all(
            counts[index] * self.total == len(picks) * weight
            for index, weight in enumerate(self._effective)
        )

    def advance(self, picks: list[int]) -> None:
        """Add and subtract the sums of all these steps at once; O(picks + n)."""
        counts = Counter(picks)
        for index, weight in enumerate(self._effective):
            self._current[index] += weight * len(picks) - self.total * counts[index]

    def current_weights(self) -> list[int]:
        """Return the current weights; O(n)."""
        return list(self._current)

    def __repr__(self) -> str:
        return f"<PlainScan: {len(self._effective)} members, total weight {self.total}>"


def ranked_by_current_weight(
    current_weights: list[int], weights: list[int], count: int
) -> list[int]:
    """Return the indices of the ``count`` greatest sums of both numbers; O(n log n).

    Members of weight 0 are left out.  Among equals, the first in the list comes first.

    >>> ranked_by_current_weight([-2, 1, 5, 1], [5, 1, 0, 1], 2)
    [0, 1]
    """
    after = [-current - weight for current, weight in zip(current_weights, weights, strict=True)]
    opened = [index for index, weight in enumerate(weights) if weight]
    return sorted(opened, key=after.__getitem__)[:count]


def current_weights_after(steps: int, weights: list[int]) -> list[int]:
    """Return current weights after about this number of steps from the start; O(n log n).

    Each member has been picked as often as its share, rounded down or up.  Those with the largest
    remainders are rounded up.  The real steps may have rounded other members up.  But no member is
    more than 1 - 1/n picks ahead of its share.  Therefore, at the end of the period, when each
    share is integral, all current weights are 0, as after the real steps.

    >>> current_weights_after(3, [5, 1, 1])
    [1, -4, 3]
    """
    total = sum(weights)
    shares = [divmod(steps * weight, total) for weight in weights]
    current_weights = [remainder for _, remainder in shares]
    rounded_up = steps - sum(picks for picks, _ in shares)
    order = sorted(range(len(weights)), key=current_weights.__getitem__, reverse=True)
    for index in order[:rounded_up]:
        current_weights[index] -= total
    return current_weights
