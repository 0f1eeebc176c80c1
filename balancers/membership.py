"""Members and their weights, validated once: what the balancers of this package start from."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from math import inf
from numbers import Real
from types import MappingProxyType
from typing import Any, Self, TypeVar, cast

from balancers.balancer import Balancer
from balancers.errors import InvalidSetting, InvalidTime, InvalidWeight, NoBackendAvailable

__all__ = [
    "LATEST",
    "Membership",
    "SharesBackends",
    "as_weights",
    "at_least",
    "checked_avoid",
    "duration",
    "number",
    "valid_now",
    "valid_weight",
]

B = TypeVar("B")

LATEST = 1e300
"""Seconds: no sum of times is infinite up to here."""
_HEAVIEST = 1e300
"""No sum of weights is infinite then."""


def valid_weight(weight: float, backend: object) -> float:
    """Give the weight back, an integral one as an int; O(1).

    >>> valid_weight(3.0, "a")
    3

    Raises InvalidWeight, naming the backend, for what is negative, above 1e300, NaN or no number.
    """
    if type(weight) is int and 0 <= weight <= _HEAVIEST:
        return weight
    if type(weight) is float and 0 < weight <= _HEAVIEST:
        return weight if weight % 1 else int(weight)
    try:
        fine = 0 <= weight <= _HEAVIEST and not isinstance(weight, bool)
    except (TypeError, ValueError, ArithmeticError):
        fine = False
    if not fine:
        raise InvalidWeight(f"weight of {backend!r} must be 0 to {_HEAVIEST:g}, not {weight!r}")
    whole = int(weight)
    return whole if whole == weight else float(weight)


def valid_now(now: float, latest: float) -> float:
    """Give the time, or the latest seen when ``now`` is earlier.

    Raises InvalidTime for NaN, infinities and what is beyond ±1e300.
    """
    if not -LATEST <= now <= LATEST:
        raise InvalidTime(f"now must be finite seconds, not {now!r}")
    if now < latest:
        return latest
    return now


def at_least(least: int, /, **settings: int) -> None:
    """Raise InvalidSetting unless every setting is an int of ``least`` or more."""
    for name, value in settings.items():
        if type(value) is not int or value < least:
            raise InvalidSetting(f"{name} must be an int, {least} or more, not {value!r}")


def number(name: str, value: Any) -> float:
    """Give back a number; raise InvalidSetting for anything else, a bool included."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidSetting(f"{name} must be a number, not {value!r}")
    return cast("float", value)


def duration(name: str, seconds: float, *, endless: bool = False) -> float:
    """Give back a duration; raise InvalidSetting unless it is positive and, mostly, finite."""
    if not number(name, seconds) > 0 or (seconds == inf and not endless):
        raise InvalidSetting(f"{name} must be positive seconds, not {seconds!r}")
    return seconds


def checked_avoid(avoid: Collection[B]) -> Collection[B]:
    """Give back a collection of backends; raise TypeError for a str, bytes or no collection."""
    if isinstance(avoid, str | bytes) or not isinstance(avoid, Collection):
        raise TypeError(f"avoid must be a collection of backends, not {avoid!r}")
    return avoid


def as_weights(backends: Iterable[B] | Mapping[B, float]) -> dict[B, float]:
    """Read a mapping to weights, or an iterable of backends of weight 1.

    Raises InvalidWeight, and TypeError for a str, bytes or an unhashable backend.
    """
    if isinstance(backends, str | bytes):
        raise TypeError(f"backends must be an iterable or a mapping of them, not {backends!r}")
    if isinstance(backends, Mapping):
        given = cast("Mapping[B, float]", backends)
        return {backend: valid_weight(weight, backend) for backend, weight in given.items()}
    return dict.fromkeys(backends, 1)


class SharesBackends:
    """Deep copies share the backends, which are the caller's and no state; all else is copied."""

    @abstractmethod
    def _known_backends(self) -> Iterable[object]:
        """Give every backend this object knows."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        for backend in self._known_backends():
            memo[id(backend)] = backend
        twin: Any = type(self).__new__(type(self))
        memo[id(self)] = twin
        state: Any = deepcopy(self.__getstate__(), memo)
        if hasattr(twin, "__setstate__"):
            twin.__setstate__(state)
        else:
            twin.__dict__.update(state)
        copied: Self = twin
        return copied


class Membership(SharesBackends, Balancer[B]):
    """A balancer but for ``pick``: members in order of insertion, each with a valid weight.

    A subclass defines :meth:`pick` and hears of every change in :meth:`_weigh`.  Copies share the
    backends; everything else is copied.

    >>> class First(Membership[str]):
    ...     def pick(self, key=None, now=0.0, avoid=()):
    ...         for backend, weight in self.weights.items():
    ...             if weight and backend not in avoid:
    ...                 return backend
    ...         raise self._refusal()
    >>> First({"a": 0, "b": 2, "c": 1}).pick(avoid=["b"])
    'c'
    """

    def __init__(self, backends: Iterable[B] | Mapping[B, float] = ()) -> None:
        self._weights: dict[B, float] = {}
        self._open = 0
        for backend, weight in as_weights(backends).items():
            self.put(backend, weight)

    @property
    def weights(self) -> Mapping[B, float]:
        """Every member and its weight: a read-only view, in order of insertion; O(1)."""
        return MappingProxyType(self._weights)

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert or re-weigh; 0 quiesces.  Cost: that of the balancer's own change.

        Raises InvalidWeight; TypeError for an unhashable backend.  Nothing has changed then.
        """
        weight = valid_weight(weight, backend)
        old = self._weights.get(backend)
        if old == weight:
            return
        self._weigh(backend, old, weight)
        self._weights[backend] = weight
        self._open += (weight > 0) - (old is not None and old > 0)

    def discard(self, backend: B) -> None:
        """Forget the backend; a stranger is fine."""
        old = self._weights.get(backend)
        if old is None:
            return
        self._weigh(backend, old, None)
        del self._weights[backend]
        self._open -= old > 0

    def _weigh(self, backend: B, old: float | None, new: float | None) -> None:
        """Hear of a change before it shows; None is no member.  May refuse by raising."""

    def _refusal(self) -> NoBackendAvailable:
        """Say why nobody can be picked, given that every open member was avoided; O(1)."""
        members = len(self._weights)
        if not members:
            return NoBackendAvailable("empty")
        told = {"quiesced": members - self._open, "avoided": self._open}
        counts = {why: count for why, count in told.items() if count}
        return NoBackendAvailable(next(iter(counts)) if len(counts) == 1 else "mixed", counts)

    def _known_backends(self) -> Iterable[object]:
        return self._weights

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._open} of {len(self._weights)} open>"
