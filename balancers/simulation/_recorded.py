"""Validates the settings of the laws, and the values of recorded laws."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from balancers._internal.checks import number, shown
from balancers.errors import InvalidSetting
from balancers.simulation._grid import LATEST

__all__ = [
    "HIGHEST_RATE",
    "LEAST_MEAN",
    "check_range",
    "int_between",
    "mean_seconds",
    "recorded",
    "request_rate",
]

LEAST_MEAN = 2.0**-20
"""The least mean of a law, in seconds: a microsecond.  The grid changes it by 0.05 % at most."""
HIGHEST_RATE = 2.0**24
"""The highest rate of a law, in requests per second."""


def mean_seconds(name: str, value: float) -> float:
    """Return the mean of a law as a float.  Raise InvalidSetting if it is out of range."""
    if not LEAST_MEAN <= number(name, value) <= LATEST:
        raise InvalidSetting(
            f"{name} must be {LEAST_MEAN:.3g} to {LATEST:.0f} seconds, not {shown(value)}"
        )
    return float(value)


def request_rate(value: float) -> float:
    """Return the rate of a law as a float.  Raise InvalidSetting if it is out of range."""
    if not 1 / LATEST <= number("rate", value) <= HIGHEST_RATE:
        raise InvalidSetting(
            f"rate must be {1 / LATEST:.3g} to {HIGHEST_RATE:.0f} requests per second, "
            f"not {shown(value)}"
        )
    return float(value)


def int_between(name: str, value: int, least: int, most: int) -> None:
    """Raise InvalidSetting unless the value is an int in the range."""
    if type(value) is not int or not least <= value <= most:
        raise InvalidSetting(f"{name} must be an int, {least} to {most}, not {shown(value)}")


def recorded(name: str, values: Iterable[float], *, ascending: bool) -> tuple[float, ...]:
    """Return recorded seconds as floats; O(n).

    Raises InvalidSetting, with the position of the value, for a value that is not a number from 0
    to the latest time, and for a value that is less than the one before it if ``ascending``.
    Raises InvalidSetting if there is no value, and TypeError if the values are not iterable.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be an iterable of seconds, not {shown(values)}")
    given: Any = values
    listed = given.tolist() if isinstance(given, np.ndarray) else list(given)
    seconds: list[float] = []
    latest = 0.0
    for place, value in enumerate(listed):
        if type(value) is not float:
            number(f"{name}[{place}]", value)
        if not 0 <= value <= LATEST:
            raise InvalidSetting(
                f"{name}[{place}] must be 0 to {LATEST:.0f} seconds, not {shown(value)}"
            )
        if ascending:
            if value < latest:
                raise InvalidSetting(
                    f"{name} must be ascending, but {name}[{place}] is {shown(value)} after "
                    f"{shown(latest)}"
                )
            latest = value
        seconds.append(float(value))
    if not seconds:
        raise InvalidSetting(f"{name} must contain at least one value")
    return tuple(seconds)


def check_range(name: str, available: int, start: int, count: int) -> None:
    """Raise InvalidSetting if a recorded law has too few values for the requests of a run."""
    if start + count > available:
        raise InvalidSetting(
            f"{name} has {available} values, but {start + count} requests need one each"
        )
