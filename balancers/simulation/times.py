"""Summarises many response times in a few kilobytes."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from math import ceil, inf, nan
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import number, shown
from balancers._internal.exact import exact
from balancers.errors import InvalidSetting, InvalidTime
from balancers.simulation._grid import LATEST, TICK, TICKS, on_grid

__all__ = ["Times", "TimesCounter", "exact_ticks"]

_SHIFT = 44
"""The bits of a float64 that are cut off.  256 bins remain for each doubling."""
_LONGEST = 2 * LATEST
_BASE = int(np.float64(TICK).view(np.int64)) >> _SHIFT
_BINS = (int(np.float64(_LONGEST).view(np.int64)) >> _SHIFT) - _BASE + 2
"""Bin 0 contains the times of 0 only.  Bin 1 begins at one tick."""


class Times:
    """A summary of many times: their number, sum, least and greatest time, and counts per bin.

    The times are rounded to the grid of 2⁻³⁰ s.  There are 256 bins for each doubling, so
    percentiles have a relative error of at most 1/512 (0.2 %); all other values are exact.  The sum
    of two summaries is exactly the summary of all their times, in any order.  A summary never
    changes.  ``Times()`` is the summary of no times; all its values are NaN.

    >>> times = Times.of([0.25, 0.5, 0.5, 4.0])
    >>> times.count, times.mean, times.minimum, times.maximum
    (4, 1.3125, 0.25, 4.0)
    >>> times == Times.of([4.0, 0.5]) + Times.of([0.5, 0.25])
    True
    >>> times.percentile(100), abs(times.percentile(50) - 0.5) <= 0.5 / 512
    (4.0, True)
    >>> times
    <Times: 4, mean 1.312 s, p50 0.501 s, p99 4 s>

    Memory and the size of a pickle are proportional to the number of bins in use, which is below
    2000 as a rule.
    """

    __slots__ = ("_bins", "_counts", "_maximum", "_minimum", "_total")

    def __init__(self) -> None:
        self._set(np.zeros(0, np.int64), np.zeros(0, np.int64), 0, (nan, nan))

    @staticmethod
    def of(seconds: Iterable[float]) -> "Times":
        """Return the summary of times in seconds: an iterable or an array of floats; O(n).

        Raises InvalidTime for a time that is negative, NaN or above 2²³ s, and TypeError if
        ``seconds`` is not iterable.
        """
        passed: object = seconds
        if isinstance(passed, str | bytes | bytearray) or not isinstance(passed, Iterable):
            raise TypeError(f"times must be an iterable of seconds, not {shown(passed)}")
        given: Any = seconds
        if not isinstance(seconds, np.ndarray):
            given = list(seconds)
        try:
            array: NDArray[Any] = np.asarray(given).ravel()
        except ValueError as error:  # rows of different length
            raise InvalidTime(f"times must be numbers of seconds, not {shown(given)}") from error
        if array.dtype.kind not in "iuf":
            raise InvalidTime(f"times must be numbers of seconds, not {shown(given)}")
        array = array.astype(np.float64)
        valid = (array >= 0) & (array <= _LONGEST)
        if not valid.all():
            invalid = float(array[~valid][0])
            raise InvalidTime(f"a time must be 0 to {_LONGEST:.0f} seconds, not {shown(invalid)}")
        counter = TimesCounter()
        counter.add(on_grid(array))
        return counter.times()

    @property
    def count(self) -> int:
        """The number of times."""
        return int(self._counts.sum())

    @property
    def total_ticks(self) -> int:
        """The exact sum of all times, as a number of ticks of 2⁻³⁰ s."""
        return self._total

    @property
    def mean(self) -> float:
        """The mean in seconds.  It is NaN if there are no times."""
        count = self.count
        return self._total / (count << 30) if count else nan

    @property
    def minimum(self) -> float:
        """The least time in seconds.  It is NaN if there are no times."""
        return self._minimum

    @property
    def maximum(self) -> float:
        """The greatest time in seconds.  It is NaN if there are no times."""
        return self._maximum

    @overload
    def percentile(self, q: float) -> float: ...
    @overload
    def percentile(self, q: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]: ...
    def percentile(self, q: float | Sequence[float] | NDArray[Any]) -> float | NDArray[np.float64]:
        """Return a percentile in seconds, or an array of percentiles for a sequence; O(bins).

        It is the least time that is not exceeded by ``q`` percent of the times (the nearest rank).
        Its relative error is at most 1/512; the percentiles 0 and 100 are exact.  If there are no
        times, it is NaN.

        Raises InvalidSetting for a ``q`` that is not a number from 0 to 100.
        """
        if isinstance(q, Sequence | np.ndarray) and not isinstance(q, str | bytes):
            listed: Any = q.tolist() if isinstance(q, np.ndarray) else q
            return np.array([self._percentile(one) for one in listed], np.float64)
        return self._percentile(q)

    def _percentile(self, q: Any) -> float:
        if not 0 <= number("q", q) <= 100:  # noqa: PLR2004 - percent
            raise InvalidSetting(f"q must be 0 to 100, not {shown(q)}")
        count = self.count
        rank = ceil(exact(q) * count / 100)  # of q as it is written: 99.9 is not 99.90000000000001
        if not count or rank <= 1:
            return self._minimum
        if rank == count:
            return self._maximum
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        bin_ = int(self._bins[place])
        low, high = _edges(np.array([bin_, bin_ + 1])).tolist()
        middle = (low + high) / 2 if bin_ else 0.0
        return min(max(middle, self._minimum), self._maximum)

    def histogram(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the edges of the bins in seconds, and the number of times in each bin; O(bins).

        ``edges`` is a float64 array that is longer by one than ``counts``, an int64 array.  The
        bins touch each other.  A bin contains its lower edge and not its upper edge.  The first and
        the last bin are not empty.  If there are no times, both arrays are empty.
        """
        if not self._bins.size:
            return np.zeros(0), np.zeros(0, np.int64)
        first, last = int(self._bins[0]), int(self._bins[-1])
        counts = np.zeros(last - first + 1, np.int64)
        counts[self._bins - first] = self._counts
        return _edges(np.arange(first, last + 2)), counts

    def digest(self) -> str:
        """Return the SHA-256 of the summary in hexadecimal.  Equal summaries have equal digests."""
        text = repr((self._bins.tolist(), self._counts.tolist(), self._key()))
        return sha256(text.encode()).hexdigest()

    def __add__(self, other: object) -> "Times":
        if not isinstance(other, Times):
            return NotImplemented
        counter = TimesCounter()
        for times in (self, other):
            counter.merge(times._bins, times._counts, times._total)
            counter.bound(times._minimum, times._maximum)
        return counter.times()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Times):
            return NotImplemented
        return (
            self._key() == other._key()
            and np.array_equal(self._bins, other._bins)
            and np.array_equal(self._counts, other._counts)
        )

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        if not self._bins.size:
            return ()
        return (self._total, self._minimum, self._maximum)

    def __getstate__(self) -> tuple[object, ...]:
        counts = self._counts.astype(np.min_scalar_type(int(self._counts.max(initial=0))))
        return (self._bins.astype(np.uint16), counts, self._total, (self._minimum, self._maximum))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        bins, counts, total, extremes = state
        self._set(bins.astype(np.int64), counts.astype(np.int64), total, extremes)

    def _set(
        self,
        bins: NDArray[np.int64],
        counts: NDArray[np.int64],
        total: int,
        extremes: tuple[float, float],
    ) -> None:
        self._bins = bins
        self._counts = counts
        self._total = total
        self._minimum, self._maximum = extremes

    def __repr__(self) -> str:
        if not self._bins.size:
            return "<Times: 0>"
        median, late = self.percentile([50, 99]).tolist()
        return (
            f"<Times: {self.count}, mean {self.mean:.4g} s, p50 {median:.4g} s, p99 {late:.4g} s>"
        )


class TimesCounter:
    """Counts times in bins, for the engines.  It changes, unlike :class:`Times`.

    >>> counter = TimesCounter()
    >>> counter.add(np.array([0.25, 0.5]))
    >>> counter.add(np.array([4.0]))
    >>> counter.times() == Times.of([0.25, 0.5, 4.0])
    True
    """

    __slots__ = ("_counts", "_maximum", "_minimum", "_total")

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._total = 0
        self._minimum, self._maximum = inf, -inf

    def add(self, seconds: NDArray[np.float64]) -> None:
        """Count times that are on the grid and from 0 to 2²³ s.  They are not validated; O(n)."""
        if not seconds.size:
            return
        bins = np.ascontiguousarray(seconds).view(np.int64) >> _SHIFT
        bins -= _BASE - 1
        np.maximum(bins, 0, out=bins)
        counts = np.bincount(bins)
        self._counts[: counts.size] += counts
        self.bound(float(seconds.min()), float(seconds.max()))
        self._total += exact_ticks(seconds)

    def merge(self, bins: NDArray[np.int64], counts: NDArray[np.int64], total: int) -> None:
        """Count times of another summary, except its least and greatest time."""
        self._counts[bins] += counts
        self._total += total

    def bound(self, minimum: float, maximum: float) -> None:
        """Include the least and the greatest time of another summary.  NaN changes nothing."""
        self._minimum = min(self._minimum, minimum)
        self._maximum = max(self._maximum, maximum)

    def times(self) -> Times:
        """Return the summary of the times so far; O(bins)."""
        times = Times()
        bins = np.flatnonzero(self._counts)
        if bins.size:
            extremes = (self._minimum + 0.0, self._maximum + 0.0)  # 0.0 for -0.0
            times._set(bins, self._counts[bins], self._total, extremes)  # noqa: SLF001 - its maker
        return times


def exact_ticks(seconds: NDArray[np.float64]) -> int:
    """Return the exact sum of times on the grid, as a number of ticks; O(n).

    The times are from 0 to 2²³ s.
    """
    if not seconds.size:
        return 0
    if float(seconds.max()) * seconds.size < _LONGEST:  # each sum on the way is a float on the grid
        return int(float(seconds.sum()) * TICKS)
    ticks = (seconds * TICKS).astype(np.int64)
    high, low = int((ticks >> 32).sum()), int((ticks & 0xFFFFFFFF).sum())
    return (high << 32) + low


def _edges(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the lower edges of bins in seconds."""
    edges = ((bins + (_BASE - 1)) << _SHIFT).view(np.float64)
    return np.where(bins > 0, edges, 0.0)
