"""Collects requests and tries that have ended, in any order, and counts them in blocks."""

from typing import Any

import numpy as np

from balancers.simulation._engines.tally import Tally

__all__ = ["Reports"]


class Reports:
    """Collects what has ended in lists, because one addition to an array per request is slow.

    ``requests`` are the arguments of :meth:`Tally.requests_ended`, and ``tries`` are those of
    :meth:`Tally.tries_ended`, as one tuple per request and try.
    """

    def __init__(self, tally: Tally[Any]) -> None:
        self._tally = tally
        self.requests: list[tuple[int, float, int, float, int, int, float]] = []
        self.tries: list[tuple[int, int, float, float, float, bool]] = []

    def flush(self) -> None:
        """Count what was reported."""
        if self.requests:
            index, arrival, place, response, state, tries, work = zip(*self.requests, strict=True)
            self.requests.clear()
            self._tally.requests_ended(
                np.array(index, np.intp),
                np.array(arrival),
                np.array(place, np.intp),
                np.array(response),
                np.array(state, np.intp),
                np.array(tries, np.intp),
                np.array(work),
            )
        if self.tries:
            number, at, sent, ended, busy, failed = zip(*self.tries, strict=True)
            self.tries.clear()
            self._tally.tries_ended(
                np.array(number, np.intp),
                np.array(at, np.intp),
                np.array(sent),
                np.array(ended),
                np.array(busy),
                np.array(failed, np.bool_),
            )
