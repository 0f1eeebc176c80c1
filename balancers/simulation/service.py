"""Defines how much work requests need."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import hypot, log, pi, sqrt
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from balancers._internal.checks import number, shown
from balancers.errors import InvalidSetting
from balancers.simulation._recorded import check_range, mean_seconds, recorded

__all__ = [
    "Constant",
    "Exponential",
    "HyperExponential",
    "LogNormal",
    "Pareto",
    "RecordedWork",
    "Service",
]

_MOST_VARIATION = 1e6
_MOST_SHAPE = 1e6


class Service(Protocol):
    """A law of service: any object with these two members.

    Work is in seconds on a server of speed 1.  A law has no state.  It may draw numbers by
    ``rng.random`` only, and always the same number of them per request.  So the work does not
    depend on how many requests are drawn at once.

    >>> class Uniform:
    ...     mean = 1.0
    ...     def draw(self, rng, start, count):
    ...         return 2.0 * rng.random(count)
    >>> import numpy as np
    >>> bool((Uniform().draw(np.random.default_rng(1), 0, 100) < 2.0).all())
    True
    """

    @property
    def mean(self) -> float:
        """The mean work of a request in seconds.  It may be infinite."""
        ...

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the work of ``count`` requests in seconds, as a float64 array.

        ``start`` is the number of requests before them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exponential:
    """Exponential work.

    >>> import numpy as np
    >>> works = Exponential(mean=2.0).draw(np.random.default_rng(1), 0, 10_000)
    >>> round(float(works.mean()), 2), round(float(works.std()), 2)
    (2.01, 2.0)

    Raises InvalidSetting for a mean outside 2⁻²⁰ to 2²² seconds.
    """

    mean: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", mean_seconds("mean", self.mean))

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the work of ``count`` requests in seconds, as a float64 array; O(count)."""
        works = rng.random(count)
        np.negative(works, out=works)
        np.log1p(works, out=works)
        works *= -self.mean
        return works


@dataclass(frozen=True, slots=True)
class Constant:
    """The same work for each request, in seconds.

    >>> import numpy as np
    >>> Constant(work=0.25).draw(np.random.default_rng(1), 0, 3).tolist(), Constant(0.25).mean
    ([0.25, 0.25, 0.25], 0.25)

    Raises InvalidSetting for work outside 2⁻²⁰ to 2²² seconds.
    """

    work: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "work", mean_seconds("work", self.work))

    @property
    def mean(self) -> float:
        """The work of a request in seconds."""
        return self.work

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the work of ``count`` requests in seconds, as a float64 array; O(count)."""
        return np.full(count, self.work)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Log-normal work.  ``variation`` is its coefficient of variation.

    This is the standard deviation divided by the mean.

    >>> import numpy as np
    >>> works = LogNormal(mean=2.0, variation=0.5).draw(np.random.default_rng(1), 0, 10_000)
    >>> round(float(works.mean()), 2), round(float(works.std()), 2)
    (2.02, 1.02)

    The normal numbers are computed by the method of Box and Muller ("A Note on the Generation of
    Random Normal Deviates", 1958), from two uniform numbers each.

    Raises InvalidSetting for a mean outside 2⁻²⁰ to 2²² seconds, and for a variation outside 0 to
    1e6.
    """

    mean: float
    variation: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", mean_seconds("mean", self.mean))
        if not 0 <= number("variation", self.variation) <= _MOST_VARIATION:
            raise InvalidSetting(
                f"variation must be 0 to {_MOST_VARIATION:g}, not {shown(self.variation)}"
            )
        object.__setattr__(self, "variation", float(self.variation))

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the work of ``count`` requests in seconds, as a float64 array; O(count)."""
        uniform = rng.random((count, 2))
        normal = np.sqrt(-2 * np.log1p(-uniform[:, 0])) * np.cos(2 * pi * uniform[:, 1])
        variance = 2 * log(hypot(1.0, self.variation))
        works: NDArray[np.float64] = np.exp(
            normal * sqrt(variance) + (log(self.mean) - variance / 2)
        )
        return works


@dataclass(frozen=True, slots=True)
class Pareto:
    """Pareto work, which has a heavy tail: P(work > x) = (least / x) ** shape.

    The least work is ``mean * (shape - 1) / shape``.  The variance is infinite if ``shape`` is 2 or
    less.

    >>> import numpy as np
    >>> works = Pareto(mean=3.0, shape=3.0).draw(np.random.default_rng(1), 0, 10_000)
    >>> round(float(works.min()), 2), round(float(works.mean()), 2)
    (2.0, 3.0)

    Raises InvalidSetting for a mean outside 2⁻²⁰ to 2²² seconds, and for a shape of 1 or less, for
    which no mean exists, or above 1e6.
    """

    mean: float
    shape: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", mean_seconds("mean", self.mean))
        if not 1 < number("shape", self.shape) <= _MOST_SHAPE:
            raise InvalidSetting(
                f"shape must be above 1, or the mean is infinite, and up to {_MOST_SHAPE:g}, "
                f"not {shown(self.shape)}"
            )
        object.__setattr__(self, "shape", float(self.shape))

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the work of ``count`` requests in seconds, as a float64 array; O(count)."""
        least = self.mean * (self.shape - 1) / self.shape
        works: NDArray[np.float64] = np.exp(np.log1p(-rng.random(count)) / -self.shape)
        works *= least
        return works


@dataclass(frozen=True, slots=True)
class HyperExponential:
    """Hyperexponential work: a mixture of two exponential laws with balanced means.

    ``variation_squared`` is the square of the coefficient of variation.  Each of the two laws
    contributes half of the mean.

    >>> import numpy as np
    >>> works = HyperExponential(1.0, 4.0).draw(np.random.default_rng(1), 0, 100_000)
    >>> round(float(works.mean()), 2), round(float(works.var()), 1)
    (0.99, 3.9)

    Raises InvalidSetting for a mean outside 2⁻²⁰ to 2²² seconds, and for a squared variation
    outside 1 to 1e6.
    """

    mean: float
    variation_squared: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", mean_seconds("mean", self.mean))
        if not 1 <= number("variation_squared", self.variation_squared) <= _MOST_VARIATION:
            raise InvalidSetting(
                f"variation_squared must be 1 to {_MOST_VARIATION:g}, "
                f"not {shown(self.variation_squared)}"
            )
        object.__setattr__(self, "variation_squared", float(self.variation_squared))

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the work of ``count`` requests in seconds, as a float64 array; O(count)."""
        squared = self.variation_squared
        root = sqrt((squared - 1) / (squared + 1))
        rare = 1 / ((squared + 1) * (1 + root))  # (1 - root) / 2, without its cancellation
        uniform = rng.random((count, 2))
        means = np.where(uniform[:, 0] < rare, self.mean / (2 * rare), self.mean / (1 + root))
        return means * -np.log1p(-uniform[:, 1])


@dataclass(frozen=True, slots=True, repr=False)
class RecordedWork:
    """Recorded work of each request, in seconds on a server of speed 1.

    >>> import numpy as np
    >>> works = RecordedWork([0.5, 0.25, 3.0])
    >>> works.draw(np.random.default_rng(1), 1, 2).tolist(), works.mean, len(works)
    ([0.25, 3.0], 1.25, 3)

    Raises InvalidSetting for work that is not a number from 0 to 2²², and if there is none.  Raises
    TypeError if ``works`` is not iterable.
    """

    works: tuple[float, ...]

    def __init__(self, works: Iterable[float]) -> None:
        object.__setattr__(self, "works", recorded("works", works, ascending=False))

    @property
    def mean(self) -> float:
        """The mean work of the recorded requests in seconds."""
        return sum(self.works) / len(self.works)

    def __len__(self) -> int:
        return len(self.works)

    def __repr__(self) -> str:
        return f"<RecordedWork: {len(self)} requests, mean {self.mean:.4g} s>"

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the work of ``count`` requests in seconds, as a float64 array; O(count).

        Raises InvalidSetting if fewer requests are recorded.
        """
        check_range("works", len(self.works), start, count)
        return np.array(self.works[start : start + count], dtype=np.float64)
