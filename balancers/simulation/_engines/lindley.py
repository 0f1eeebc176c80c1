"""Computes when requests end at FIFO servers with one slot each, for whole arrays of requests.

A request starts when it has arrived and the request before it at its server has ended (Lindley's
recursion)::

    end = max(arrival, end of the request before) + work

With ``done`` as the sum of the works of a server up to a request, and ``done - work`` as the sum
before it, the recursion is a running maximum: ``end - done`` is the greatest
``arrival - (done - work)`` so far.  All times are multiples of 2⁻³⁰ s and below 2²³ s.  So every
sum and difference is exact, and the results are those of the recursion, bit for bit.
"""

import numpy as np
from numpy.typing import NDArray

from balancers.simulation._engines.laps import lap_of

__all__ = ["Lines"]

_EXACT = 2.0**23
"""Sums of multiples of 2⁻³⁰ are exact up to this number of seconds."""


class Lines:
    """The waiting lines of a fleet of FIFO servers with one slot each.

    ``count`` is the number of servers.  A server is addressed by its index.
    """

    def __init__(self, count: int) -> None:
        self._free = np.zeros(count)  # when each server has ended its last request
        self._kind = np.min_scalar_type(max(0, count - 1))  # short numbers are sorted faster

    def ends(
        self, places: NDArray[np.intp], arrivals: NDArray[np.float64], works: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return when each request ends; O(requests), vectorised.

        ``places`` are the indices of the servers, an array ``intp[n]``.  ``arrivals`` are the times
        of arrival in ascending order, and ``works`` are the durations, both ``float64[n]`` in
        seconds.  The call continues after the requests of the calls before.
        """
        lap = lap_of(places, len(self._free))
        if not lap:
            return self._ends_by_server(places, arrivals, works)
        whole = len(places) // lap * lap
        ends = np.empty(len(places))
        rows = (array[:whole].reshape(-1, lap) for array in (arrivals, works, ends))
        self._end_laps(places[:lap], *rows)
        left = places[whole:]
        if len(left):
            np.maximum(arrivals[whole:], self._free[left], out=ends[whole:])
            ends[whole:] += works[whole:]
            self._free[left] = ends[whole:]
        return ends

    def _end_laps(
        self,
        places: NDArray[np.intp],
        arrivals: NDArray[np.float64],
        works: NDArray[np.float64],
        ends: NDArray[np.float64],
    ) -> None:
        """Compute the ends of requests in rows.  Each row has one request of each of the places."""
        done = np.cumsum(works, axis=0)
        np.maximum(arrivals[0], self._free[places], out=ends[0])
        np.subtract(arrivals[1:], done[:-1], out=ends[1:])
        np.maximum.accumulate(ends, axis=0, out=ends)
        ends += done
        self._free[places] = ends[-1]

    def _ends_by_server(
        self, places: NDArray[np.intp], arrivals: NDArray[np.float64], works: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Sort the requests by server, and return their ends in the order of arrival."""
        order = np.argsort(places.astype(self._kind), kind="stable")
        counts = np.bincount(places, minlength=len(self._free))
        used = np.flatnonzero(counts)
        counts = counts[used]
        tails = np.cumsum(counts)
        heads = tails - counts
        level, work = arrivals.take(order), works.take(order)
        level[heads] = np.maximum(level[heads], self._free[used])
        level = _running_ends(level, work, counts, heads, tails - 1)
        self._free[used] = level[tails - 1]
        ends = np.empty_like(level)
        ends[order] = level
        return ends


def _running_ends(
    level: NDArray[np.float64],
    work: NDArray[np.float64],
    counts: NDArray[np.intp],
    heads: NDArray[np.intp],
    tails: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Return the ends of requests that are sorted by server.

    ``level`` are the times of arrival, not before the server is free for its first request.
    ``counts``, ``heads`` and ``tails`` are the number of requests of each server, and the indices
    of its first and of its last one.  ``level`` is overwritten.
    """
    done = np.cumsum(work)
    before = done[heads] - work[heads]
    span = level.max() - level.min() + (done[tails] - before).max()
    if level.max() + span * len(counts) + done[-1] > _EXACT:
        return _ends_one_by_one(level, work, heads, tails)
    # Each server is lifted above the one before, so that one running maximum serves all of them.
    shift = np.repeat(before + span * np.arange(len(counts)), counts)
    shift -= done
    level += shift
    level += work
    np.maximum.accumulate(level, out=level)
    level -= shift
    return level


def _ends_one_by_one(
    level: NDArray[np.float64],
    work: NDArray[np.float64],
    heads: NDArray[np.intp],
    tails: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Return the same as ``_running_ends``, with one running maximum for each server."""
    for head, tail in zip(heads.tolist(), tails.tolist(), strict=True):
        part, mine = level[head : tail + 1], work[head : tail + 1]
        done = np.cumsum(mine)
        part -= done
        part += mine
        np.maximum.accumulate(part, out=part)
        part += done
    return level
