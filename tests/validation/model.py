"""What a cell of ``docs/validation.md`` is: a figure of a run, and what the figure must be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from balancers.balancer import Balancer
from balancers.simulation import Exponential, Poisson, Service

__all__ = ["REPLICATIONS", "Crossing", "Figure", "Make", "Order", "Run", "cell"]

REPLICATIONS = 16
Make = Callable[..., Balancer[int]]
"""It makes a balancer, and gets ``rng`` if it has this parameter."""


@dataclass(frozen=True)
class Figure:
    """A figure of a run, and what it must be.

    It is accepted if it differs from ``expected`` by at most ``share`` of it, or by at most four
    standard errors if these are more.  With share 0 only the standard errors count.
    """

    expected: float | None
    """None if no figure is known: it then occurs in an order only."""
    source: str
    measure: str = "mean"
    share: float = 0.01


@dataclass(frozen=True)
class Run:
    """A system that is simulated with several seeds."""

    table: str
    name: str
    make: Make
    rate: float
    requests: int
    """The number of requests of each replication."""
    figures: tuple[Figure, ...]
    service: Service = field(default=Exponential(1.0))
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Other arguments of ``simulate``."""
    replications: int = REPLICATIONS

    @property
    def arrivals(self) -> Poisson:
        return Poisson(self.rate)

    @property
    def seeds(self) -> range:
        """The seeds of this run alone; errors of runs with common seeds would have one sign."""
        first = crc32(f"{self.table}, {self.name}".encode())
        return range(first, first + self.replications)

    @property
    def cells(self) -> list[tuple[str, str]]:
        """The table and the name of each of its cells, in the order of its figures."""
        return [(self.table, cell(self.name, figure.measure)) for figure in self.figures]


def cell(name: str, measure: str = "mean") -> str:
    """Return the name of a cell."""
    return name if measure == "mean" else f"{name}: {measure}"


@dataclass(frozen=True)
class Order:
    """The figures of some cells of one table increase, each step by more than four errors."""

    name: str
    table: str
    cells: tuple[str, ...]
    factor: float = 1.0
    """Each figure is less than this multiple of the next one."""


@dataclass(frozen=True)
class Crossing:
    """A policy is better than another one with fresh load information, and worse with old."""

    name: str
    cells: Mapping[float, str]
    """The cell of the policy in the table "stale", by the time between two boards."""
    others: Mapping[float, str]
    """The cells of the other policy, which are in the same table; none if it needs no board."""
    published: str
    between: tuple[float, float]
    """It is better by four errors with the first time between two boards, worse with the second."""
    constant: float = 0.0
    """The figure of a policy that needs no board."""
