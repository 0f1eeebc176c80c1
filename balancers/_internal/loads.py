"""Validates loads."""

from typing import TypeVar

from balancers._internal.checks import shown

__all__ = ["checked_load"]

L = TypeVar("L")


def checked_load(load: L) -> L:
    """Return the load.  Raise TypeError unless it is an object with a method ``value``."""
    if isinstance(load, type) or not callable(getattr(load, "value", None)):
        raise TypeError(f"load must be a load, not {shown(load)}")
    return load
