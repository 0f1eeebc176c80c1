"""Counts requests in buckets of time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting
from balancers.simulation._grid import TICK

__all__ = ["TimelineCounter"]

_CELLS = 2**24
"""The largest number of buckets times backends.  Such a timeline needs half a gigabyte."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class TimelineCounter:
    """Counts arrivals, ends and requests in flight in buckets of equal width.

    Sums are int64 in ticks.  An overflow in between is harmless, because the final value fits.
    """

    def __init__(self, width: float, backends: list[Any]) -> None:
        self.width = width
        self._backends = backends  # it grows when backends join
        self._shape = 0, len(backends)
        self.buckets = 0
        self.arrivals = np.zeros(0, np.int64)
        self.ends = np.zeros((3, 0), np.int64)  # answered, failed, refused
        self.responses = np.zeros(0, np.int64)
        self.starts_at = np.zeros((0, len(backends)), np.int64)
        self.ends_at = np.zeros((0, len(backends)), np.int64)
        self.rest = np.zeros((0, len(backends)), np.int64)  # from starts, less from ends

    def requests(self, arrivals: Floats, ends: Floats, responses: Floats, states: Any) -> None:
        """Count requests.  ``states`` are 0 for answered, 1 for failed and 2 for refused."""
        first, last = self._bucket(arrivals), self._bucket(ends)
        self._make_room(last)
        np.add.at(self.arrivals, first, 1)
        np.add.at(self.ends, (states, last), 1)
        answered = states == 0
        np.add.at(self.responses, last[answered], _ticks(responses[answered]))

    def tries(self, places: Any, starts: Floats, ends: Floats) -> None:
        """Count tries, and how long each was in flight in each bucket."""
        first, last = self._bucket(starts), self._bucket(ends)
        self._make_room(last)
        np.add.at(self.starts_at, (first, places), 1)
        np.add.at(self.ends_at, (last, places), 1)
        np.add.at(self.rest, (first, places), _ticks((first + 1) * self.width - starts))
        np.add.at(self.rest, (last, places), -_ticks((last + 1) * self.width - ends))

    def in_flight(self) -> Floats:
        """Return the mean number in flight: an array ``float64[buckets, backends]``."""
        changes = self.starts_at - self.ends_at
        before = np.cumsum(changes, axis=0) - changes
        width = round(self.width / TICK)
        part = slice(0, self.buckets)
        mean: Floats = before[part] + self.rest[part] / width
        return mean

    def _bucket(self, times: Floats) -> NDArray[np.intp]:
        return np.floor_divide(times, self.width).astype(np.intp)

    def _make_room(self, buckets: NDArray[np.intp]) -> None:
        last = int(buckets.max()) + 1 if len(buckets) else 0
        self.buckets = max(self.buckets, last)
        rows, columns = self._shape
        if last <= rows and len(self._backends) == columns:
            return
        columns = max(len(self._backends), 1)
        if last * columns > _CELLS:
            raise InvalidSetting(
                f"timeline must have at most {_CELLS // columns} buckets, not buckets of "
                f"{shown(self.width)} s until {last * self.width:g} s"
            )
        rows = max(rows, min(2 * last, _CELLS // columns))
        self._shape = rows, len(self._backends)
        self.arrivals = _grown(self.arrivals, (rows,))
        self.responses = _grown(self.responses, (rows,))
        self.ends = _grown(self.ends, (3, rows))
        self.starts_at = _grown(self.starts_at, self._shape)
        self.ends_at = _grown(self.ends_at, self._shape)
        self.rest = _grown(self.rest, self._shape)


def _ticks(seconds: Floats) -> Ints:
    return (seconds * (1 / TICK)).astype(np.int64)


def _grown(array: Ints, shape: tuple[int, ...]) -> Ints:
    """Return the array with more rows or columns, filled with 0."""
    larger = np.zeros(shape, np.int64)
    larger[tuple(slice(0, size) for size in array.shape)] = array
    return larger
