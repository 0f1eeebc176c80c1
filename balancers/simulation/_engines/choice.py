"""Chooses the loop that runs a simulation."""

from collections.abc import Callable
from typing import Any

from balancers.simulation._engines import general, sampled, vectorised
from balancers.simulation._engines.setup import Setup
from balancers.simulation._engines.tally import Tally

__all__ = ["choose"]

_ENGINES = (("vectorised", vectorised), ("sampled", sampled), ("general", general))
"""Name and module of each loop.  The first one that applies is used."""


def choose(setup: Setup[Any]) -> tuple[str, Callable[[Setup[Any], Tally[Any]], None]]:
    """Return the name of the fastest loop that gives the right result, and its function."""
    return next((name, engine.run) for name, engine in _ENGINES if engine.applies(setup))
