"""Two laws of requests that the package does not have, and a simulation with them.

A law needs a method ``draw`` and, for arrivals and work, an attribute ``mean``.  It has no state:
``start`` is the number of requests before the ones that are drawn.  It calls ``rng.random`` for the
same number of values per request, so the requests do not depend on how many are drawn at once.
"""

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from balancers import LeastConnections, RandomChoice
from balancers.simulation import simulate


@dataclass(frozen=True)
class DayAndNight:
    """Poisson arrivals, ``rate`` per second by day and a third of it by night.

    Of each ``period`` requests, the second half arrives by night.
    """

    rate: float
    period: int = 1000

    @property
    def mean(self) -> float:
        """The mean gap in seconds."""
        return 2 / self.rate

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the gaps before ``count`` requests in seconds."""
        night = np.arange(start, start + count) % self.period >= self.period / 2
        return np.log1p(-rng.random(count)) / np.where(night, -self.rate / 3, -self.rate)


@dataclass(frozen=True)
class ReadsAndWrites:
    """Work of two kinds: reads of exponential length, and a share of writes of one length."""

    read: float
    write: float
    writes: float

    @property
    def mean(self) -> float:
        """The mean work in seconds."""
        return self.read * (1 - self.writes) + self.write * self.writes

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.float64]:
        """Return the work of ``count`` requests in seconds, from two numbers for each."""
        which, length = rng.random((count, 2)).T
        return np.where(which < self.writes, self.write, -self.read * np.log1p(-length))


def main() -> None:
    """Print the response times of two balancers."""
    for balancer in (RandomChoice(range(10), rng=Random(1)), LeastConnections(range(10))):
        run = simulate(
            balancer,
            DayAndNight(rate=80.0),
            ReadsAndWrites(0.05, 0.4, 0.1),
            requests=50_000,
            seed=1,
        )
        mean, late = run.response.mean, run.response.percentile(99)
        print(f"{type(balancer).__name__:16} mean {mean:.3f} s, p99 {late:.2f} s")


if __name__ == "__main__":
    main()
