"""Runs a simulation with any balancer or pool, by calling its own methods."""

from typing import Any

from balancers.simulation._engines import loop, quiet
from balancers.simulation._engines.setup import Setup
from balancers.simulation._engines.tally import Tally

__all__ = ["applies", "run"]


def applies(setup: Setup[Any]) -> bool:
    """Return True: this loop can run every simulation."""
    del setup
    return True


def run(setup: Setup[Any], tally: Tally[Any]) -> None:
    """Run a simulation."""
    if setup.simple:
        quiet.run(setup, tally)
    else:
        loop.run(setup, tally)
