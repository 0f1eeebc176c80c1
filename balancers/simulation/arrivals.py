"""Defines when requests arrive."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from balancers.simulation._grid import on_grid
from balancers.simulation._recorded import (
    check_range,
    int_between,
    mean_seconds,
    recorded,
    request_rate,
)

__all__ = ["Arrivals", "Bursty", "Every", "Poisson", "RecordedTimes"]

_MOST_IN_BURST = 1 << 24


class Arrivals(Protocol):
    """A law of arrivals: any object with these two members.

    A law has no state.  It may draw numbers by ``rng.random`` only, and always the same number of
    them per request.  So the arrivals do not depend on how many are drawn at once.

    >>> import numpy as np
    >>> class Alternating:
    ...     mean = 1.5
    ...     def draw(self, rng, start, count):
    ...         return np.where(np.arange(start, start + count) % 2, 1.0, 2.0)
    >>> Alternating().draw(np.random.default_rng(1), 3, 4).tolist()
    [1.0, 2.0, 1.0, 2.0]
    """

    @property
    def mean(self) -> float:
        """The mean gap between two arrivals in seconds.  It may be infinite."""
        ...

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the gaps before ``count`` requests in seconds, as a float64 array.

        ``start`` is the number of requests before them.  The first gap of a run is the time of its
        first request.
        """
        ...


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals: exponential gaps, with ``rate`` requests per second on average.

    >>> import numpy as np
    >>> gaps = Poisson(rate=50.0).draw(np.random.default_rng(1), 0, 10_000)
    >>> Poisson(rate=50.0).mean, round(float(gaps.mean()), 4)
    (0.02, 0.0201)

    Raises InvalidSetting for a rate outside 2⁻²² to 2²⁴.
    """

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", request_rate(self.rate))

    @property
    def mean(self) -> float:
        """The mean gap between two arrivals in seconds."""
        return 1 / self.rate

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the gaps before ``count`` requests in seconds, as a float64 array; O(count)."""
        gaps = rng.random(count)
        np.negative(gaps, out=gaps)
        np.log1p(gaps, out=gaps)
        gaps /= -self.rate
        return gaps


@dataclass(frozen=True, slots=True)
class Every:
    """Regular arrivals: one request every ``gap`` seconds.

    The first request arrives after one gap.

    >>> import numpy as np
    >>> Every(gap=0.5).draw(np.random.default_rng(1), 0, 3).tolist()
    [0.5, 0.5, 0.5]

    Raises InvalidSetting for a gap outside 2⁻²⁰ to 2²² seconds.
    """

    gap: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "gap", mean_seconds("gap", self.gap))

    @property
    def mean(self) -> float:
        """The gap between two arrivals in seconds."""
        return self.gap

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the gaps before ``count`` requests in seconds, as a float64 array; O(count)."""
        return np.full(count, self.gap)


@dataclass(frozen=True, slots=True)
class Bursty:
    """Groups of ``burst`` requests, each group at one instant.

    ``rate`` is the mean number of requests per second, so ``rate / burst`` groups arrive per
    second.  The gaps between groups are exponential.

    >>> import numpy as np
    >>> gaps = Bursty(rate=50.0, burst=3).draw(np.random.default_rng(1), 1, 5)
    >>> (gaps > 0).tolist(), Bursty(rate=50.0, burst=3).mean
    ([False, False, True, False, False], 0.02)

    Raises InvalidSetting for a rate outside 2⁻²² to 2²⁴, and for a burst that is not an int from 1
    to 2²⁴.
    """

    rate: float
    burst: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", request_rate(self.rate))
        int_between("burst", self.burst, 1, _MOST_IN_BURST)

    @property
    def mean(self) -> float:
        """The mean gap between two arrivals in seconds, those inside of groups included."""
        return 1 / self.rate

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the gaps before ``count`` requests in seconds, as a float64 array; O(count)."""
        gaps = np.log1p(-rng.random(count)) * (self.burst / -self.rate)
        gaps[np.arange(start, start + count) % self.burst != 0] = 0.0
        return gaps


@dataclass(frozen=True, slots=True, repr=False)
class RecordedTimes:
    """Arrivals at recorded times, in seconds since the start of the run.

    >>> import numpy as np
    >>> times = RecordedTimes([0.0, 0.5, 0.5, 2.0])
    >>> times.draw(np.random.default_rng(1), 1, 3).tolist(), times.mean, len(times)
    ([0.5, 0.0, 1.5], 0.5, 4)
    >>> RecordedTimes([0.0, 2.0, 1.5])
    Traceback (most recent call last):
    balancers.errors.InvalidSetting: times must be ascending, but times[2] is 1.5 after 2.0

    Raises InvalidSetting for a time that is not a number from 0 to 2²², for times that are not in
    ascending order, and if there are none.  Raises TypeError if ``times`` is not iterable.
    """

    times: tuple[float, ...]

    def __init__(self, times: Iterable[float]) -> None:
        object.__setattr__(self, "times", recorded("times", times, ascending=True))

    @property
    def mean(self) -> float:
        """The last time divided by the number of requests, in seconds."""
        return self.times[-1] / len(self.times)

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        return f"<RecordedTimes: {len(self)} times up to {self.times[-1]:.6g} s>"

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the gaps before ``count`` requests in seconds, as a float64 array; O(count).

        Raises InvalidSetting if fewer requests are recorded.
        """
        check_range("times", len(self.times), start, count)
        before = self.times[start - 1 : start] or (0.0,)
        return np.diff(on_grid(np.array(before + self.times[start : start + count])))
