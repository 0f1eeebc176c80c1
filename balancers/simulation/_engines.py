"""Chooses the loop that runs a simulation."""

from collections.abc import Callable
from typing import Any

from balancers.simulation import _general, _sampled, _vectorised
from balancers.simulation._setup import Setup
from balancers.simulation._tally import Tally

__all__ = ["choose"]

_ENGINES = (("vectorised", _vectorised), ("sampled", _sampled), ("general", _general))
"""Name and module of each loop.  The first one that applies is used."""


def choose(setup: Setup[Any]) -> tuple[str, Callable[[Setup[Any], Tally[Any]], None]]:
    """Return the name of the fastest loop that gives the right result, and its function."""
    return next((name, engine.run) for name, engine in _ENGINES if engine.applies(setup))
