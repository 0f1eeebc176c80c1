"""Computes how far a count may be from its expectation.

The bound is Chernoff's: of n independent draws with probability p, the share q or more (or less)
occurs with a probability of at most exp(−n · KL(q, p)), where KL is the Kullback–Leibler divergence
of two coins (Hoeffding 1963, theorem 1).  It holds for every n and p.
"""

from math import inf, log

__all__ = ["FALSE_ALARM", "count_bounds"]

FALSE_ALARM = 5e-13
"""The probability that one comparison accuses a correct subject, at most."""
_LIMIT = log(2 / FALSE_ALARM)


def _divergence(q: float, p: float) -> float:
    total = 0.0
    for ours, theirs in ((q, p), (1 - q, 1 - p)):
        if ours:
            if not theirs:
                return inf
            total += ours * log(ours / theirs)
    return total


def count_bounds(trials: int, share: float) -> tuple[int, int]:
    """Return the lowest and highest count that are no alarm, for a probability ``share``; O(log n).

    >>> count_bounds(3000, 1 / 2)
    (1292, 1708)
    >>> count_bounds(10, 0.5), count_bounds(100, 0)
    ((0, 10), (0, 0))
    """

    def alarms(count: int) -> bool:
        return trials * _divergence(count / trials, share) > _LIMIT

    expected = round(trials * share)
    low, high = 0, expected
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if alarms(middle) else (low, middle)
    lowest = low
    low, high = expected, trials
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if alarms(middle) else (middle, high)
    return lowest, high
