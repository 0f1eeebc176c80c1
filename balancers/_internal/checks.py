"""Validation of the arguments that several modules take."""

from collections.abc import Collection, Iterable, Mapping
from math import inf
from numbers import Real
from random import Random
from typing import Any, cast

from balancers._internal.types import B
from balancers.errors import InvalidSetting, InvalidTime, InvalidWeight

__all__ = [
    "LATEST",
    "as_weights",
    "at_least",
    "checked_avoid",
    "checked_rng",
    "duration",
    "number",
    "valid_now",
    "valid_weight",
]

LATEST = 1e300
"""The latest valid time in seconds: sums of valid times are finite."""
_MAX_WEIGHT = 1e300
"""The largest valid weight: sums of valid weights are finite."""


def valid_weight(weight: float, backend: object) -> float:
    """Return the weight; an integral one as an int; O(1).

    >>> valid_weight(3.0, "a")
    3

    Raises InvalidWeight, which names the backend, for a weight that is negative, above 1e300, NaN
    or not a number.
    """
    if type(weight) is int and 0 <= weight <= _MAX_WEIGHT:
        return weight
    if type(weight) is float and 0 < weight <= _MAX_WEIGHT:
        return weight if weight % 1 else int(weight)
    try:
        valid = 0 <= weight <= _MAX_WEIGHT and not isinstance(weight, bool)
    except (TypeError, ValueError, ArithmeticError):
        valid = False
    if not valid:
        raise InvalidWeight(f"weight of {backend!r} must be 0 to {_MAX_WEIGHT:g}, not {weight!r}")
    integral = int(weight)
    return integral if integral == weight else float(weight)


def valid_now(now: float, latest: float) -> float:
    """Return ``now``, or ``latest``, the latest time seen, when ``now`` is earlier.

    Raises InvalidTime for NaN, infinities and times beyond ±1e300.
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
    """Return the value; raise InvalidSetting unless it is a number, which a bool is not."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidSetting(f"{name} must be a number, not {value!r}")
    return cast("float", value)


def duration(name: str, seconds: float, *, endless: bool = False) -> float:
    """Return the duration; raise InvalidSetting unless it is positive.

    ``inf`` is allowed only if ``endless``.
    """
    if not number(name, seconds) > 0 or (seconds == inf and not endless):
        raise InvalidSetting(f"{name} must be positive seconds, not {seconds!r}")
    return seconds


def checked_avoid(avoid: Collection[B]) -> Collection[B]:
    """Return the collection of backends; raise TypeError for a str, bytes or no collection."""
    if isinstance(avoid, str | bytes) or not isinstance(avoid, Collection):
        raise TypeError(f"avoid must be a collection of backends, not {avoid!r}")
    return avoid


def as_weights(backends: Iterable[B] | Mapping[B, float]) -> dict[B, float]:
    """Return the weights of a mapping, or weight 1 for each backend of an iterable.

    Raises InvalidWeight, and TypeError for a str, bytes or an unhashable backend.
    """
    if isinstance(backends, str | bytes):
        raise TypeError(
            f"backends must be an iterable of backends or a mapping to weights, not {backends!r}"
        )
    if isinstance(backends, Mapping):
        given = cast("Mapping[B, float]", backends)
        return {backend: valid_weight(weight, backend) for backend, weight in given.items()}
    return dict.fromkeys(backends, 1)


def checked_rng(rng: Random) -> Random:
    """Return the generator; raise TypeError unless it is a ``random.Random``."""
    if not isinstance(rng, Random):
        raise TypeError(f"rng must be a random.Random, not {rng!r}")
    return rng
