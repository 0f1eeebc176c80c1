"""Keeps the requests in flight in the order in which they end."""

from bisect import bisect_left
from math import inf
from operator import itemgetter
from typing import Generic, TypeVar

__all__ = ["InFlight"]

T = TypeVar("T")

_SOON = 1 << 10
"""About how many flights are kept sorted."""
_SHARE = 32
"""If there are very many later flights, one in so many of them is sorted in at once."""


class InFlight(Generic[T]):
    """The requests in flight, by the instant at which they end.

    ``instants`` are the ends of those that end soon, in ascending order, and then infinity.
    ``flights`` are what is known of these requests, in the same order.  A loop inserts into both
    lists itself, at the place that ``bisect_right`` finds.  So requests that end at the same
    instant are in the order in which they were inserted.  This is faster than a heap of the
    instants and a dict of the requests.

    An insertion moves all that follows, so requests that do not end before ``horizon`` are appended
    to ``later``, as pairs (end, flight) in any order.  ``horizon`` is infinity as long as there are
    few requests.
    """

    def __init__(self) -> None:
        self.instants = [inf]
        self.flights: list[T] = []
        self.later: list[tuple[float, T]] = []
        self.horizon = inf

    def advance(self, now: float) -> float:
        """Move the first later requests to those that end soon, and return the new horizon.

        It is after ``now``, so all that end until then are moved.  For n later requests, the cost
        is O(n), and n / 32 or more are moved.
        """
        self.later.sort(key=itemgetter(0))  # it is stable, and most of them are sorted already
        ended = bisect_left(self.later, True, key=lambda pair: pair[0] > now)
        count = max(_SOON, len(self.later) // _SHARE, ended)
        soon, self.later = self.later[:count], self.later[count:]
        self.instants[-1:] = [*(end for end, _ in soon), inf]
        self.flights += [flight for _, flight in soon]
        self.horizon = self.later[0][0] if self.later else inf
        return self.horizon

    def forget(self, count: int) -> float:
        """Remove the first ``count`` requests, which have ended, and return the new horizon.

        If very many are left of those that end soon, most of them are moved to the later ones.
        """
        del self.instants[:count], self.flights[:count]
        if len(self.flights) > 2 * _SOON:
            excess = zip(self.instants[_SOON:-1], self.flights[_SOON:], strict=True)
            self.later = [*excess, *self.later]
            self.horizon = self.later[0][0]
            del self.instants[_SOON:-1], self.flights[_SOON:]
        return self.horizon
