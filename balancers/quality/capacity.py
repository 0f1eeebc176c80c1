"""Computes the capacity that remains after any number of failures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import Any, Generic, overload

from balancers._internal.checks import at_least, shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.quality._arguments import Numbers, not_negative_number, positive_weights

__all__ = ["Capacity", "capacity"]


@dataclass(frozen=True, repr=False)
class Capacity(Generic[B]):
    """Describes the capacity that remains in the worst case of some failures.

    >>> from balancers.quality import capacity
    >>> print(capacity({"a": 4, "b": 2, "c": 2}, failures=1, load=0.45))
    after 1 failure of 3 backends, at least 50 % of the capacity remains; worst: 'a'
    a load of 0.45 becomes 0.9
    """

    failures: int
    """The number of backends that fail."""
    backends: int
    """The number of all backends."""
    total: float
    """The sum of all weights."""
    remaining: float
    """The sum of the weights of the others if the backends with the largest weights fail."""
    fraction: float
    """The exact ``remaining`` divided by the exact ``total``.

    It is also the largest total load for which the others have enough capacity."""
    worst: tuple[B, ...]
    """These backends, with the largest weight first.  Of equal weights, the first listed fail."""
    load: float | None
    """The total load before the failures, as a fraction of the total capacity."""

    @property
    def load_after(self) -> float | None:
        """The load on each backend that remains, if the balancer distributes it by weight.

        It is 1 if they use all of their capacity, and ``inf`` if none remains.  It is None if
        ``load`` is None.
        """
        if self.load is None:
            return None
        return self.load / self.fraction if self.fraction else inf if self.load else 0.0

    @property
    def overloaded(self) -> bool:
        """Whether the load on the backends that remain is 1 or more.  Then queues only grow."""
        return self.load_after is not None and self.load_after >= 1

    def __repr__(self) -> str:
        return (
            f"<Capacity: {self.fraction:.3g} remains after {self.failures} of {self.backends} fail>"
        )

    def __str__(self) -> str:
        failures = "1 failure" if self.failures == 1 else f"{self.failures} failures"
        worst = ", ".join(map(shown, self.worst)) or "none"
        text = (
            f"after {failures} of {self.backends} backends, at least "
            f"{100 * self.fraction:.3g} % of the capacity remains; worst: {worst}"
        )
        if self.load_after is None:
            return text
        return f"{text}\na load of {self.load:.3g} becomes {self.load_after:.3g}"


@overload
def capacity(
    weights: Mapping[B, float], failures: int, load: float | None = None
) -> Capacity[B]: ...
@overload
def capacity(weights: Numbers, failures: int, load: float | None = None) -> Capacity[int]: ...
def capacity(
    weights: Mapping[Any, float] | Numbers, failures: int, load: float | None = None
) -> Capacity[Any]:
    """Return the capacity that remains after any ``failures`` backends fail; O(n log n).

    ``weights`` is a mapping of backends to capacities, or a sequence of capacities.  The worst case
    is that the largest fail.  So at least ``remaining`` remains whichever backends fail.  ``load``
    is the total load as a fraction of the total capacity; ``load_after`` is what it becomes.

    >>> found = capacity([1, 1, 1, 1, 1], failures=2, load=0.7)
    >>> found.fraction, round(found.load_after, 3), found.overloaded
    (0.6, 1.167, True)

    For failures of zones or racks, pass the sum of the weights of each zone.

    Raises InvalidSetting if ``failures`` is not an int from 0 to the number of backends, or if
    ``load`` is not from 0 to 1e300.  Raises InvalidWeight for an invalid weight, and if the sum of
    the weights is 0.
    """
    valid = positive_weights(weights)
    at_least(0, failures=failures)
    if failures > len(valid):
        raise InvalidSetting(f"failures must be at most {len(valid)}, not {shown(failures)}")
    if load is not None:
        load = not_negative_number("load", load)
    order = sorted(valid, key=lambda backend: -valid[backend])
    total = _sum(valid.values())
    remaining = _sum(valid[backend] for backend in order[failures:])
    return Capacity(
        failures=failures,
        backends=len(valid),
        total=_rounded(total),
        remaining=_rounded(remaining),
        fraction=float(remaining / total),
        worst=tuple(order[:failures]),
        load=load,
    )


def _sum(weights: Iterable[float]) -> Fraction:
    """Return the exact sum."""
    return sum(map(Fraction, weights), Fraction(0))


def _rounded(value: Fraction) -> float:
    return int(value) if value.denominator == 1 else float(value)
