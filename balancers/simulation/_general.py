"""Runs a simulation with any balancer or pool, by calling its own methods."""

from typing import Any

from balancers.simulation import _lines, _loop
from balancers.simulation._setup import Setup
from balancers.simulation._tally import Tally

__all__ = ["applies", "run"]


def applies(setup: Setup[Any]) -> bool:
    """Return True: this loop can run every simulation."""
    del setup
    return True


def run(setup: Setup[Any], tally: Tally[Any]) -> None:
    """Run a simulation."""
    if setup.simple:
        _lines.run(setup, tally)
    else:
        _loop.run(setup, tally)
