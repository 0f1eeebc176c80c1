"""Validates durations that are added to the time of a simulation."""

from balancers._internal.checks import number, shown
from balancers.errors import InvalidSetting
from balancers.simulation._grid import LATEST, tick

__all__ = ["check_seconds"]


def check_seconds(name: str, seconds: float, *, positive: bool = False) -> None:
    """Raise InvalidSetting unless the seconds are from 0 to the latest time of a simulation.

    If they must be ``positive``, 0 and what is rounded to 0 are refused too.
    """
    valid = 0 <= number(name, seconds) <= LATEST
    if not valid or (positive and not tick(float(seconds))):
        least = "more than 0" if positive else "0"
        raise InvalidSetting(f"{name} must be {least} to {LATEST:g} seconds, not {shown(seconds)}")
