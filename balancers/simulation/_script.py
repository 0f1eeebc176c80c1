"""Validates the script of a simulation, as a whole or entry by entry."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from balancers._internal.checks import number, shown
from balancers.errors import InvalidSetting, InvalidTime
from balancers.simulation._grid import LATEST

__all__ = ["checked_entry", "checked_script"]


def checked_script(script: Any) -> Any:
    """Return the script, or None if it is empty.

    A sequence is validated as a whole; of any other iterable, each entry is validated when it is
    read.  Raises TypeError, InvalidTime.
    """
    given: object = script
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise TypeError(f"script must be an iterable of times and functions, not {shown(script)}")
    if isinstance(given, Sequence):
        latest = 0.0
        for entry in script:
            latest = checked_entry(entry, latest)[0]
        return script or None
    return script


def checked_entry(entry: Any, latest: float) -> tuple[float, Callable[[float], object]]:
    """Return the time and the function of an entry of a script.  Raises TypeError, InvalidTime."""
    try:
        when, function = entry
    except (TypeError, ValueError):
        raise TypeError(
            f"script must contain pairs of a time and a function, not {shown(entry)}"
        ) from None
    if not callable(function):
        raise TypeError(f"the script must call a function at {shown(when)}, not {shown(function)}")
    try:
        valid = 0 <= number("time", when) <= LATEST
    except InvalidSetting:
        valid = False
    if not valid:
        raise InvalidTime(f"a time of the script must be 0 to {LATEST:g}, not {shown(when)}")
    if when < latest:
        raise InvalidTime(
            f"the script must be in order of time: {shown(when)} after {shown(latest)}"
        )
    return float(when), function
