"""The proxy over a broken balancer, to show that the drill notices.

python sabotage.py ignore-drain|leak-counts ARGUMENTS_OF_PROXY…
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from balancers import SUCCESS, LeastConnections, Outcome, RoundRobin

import proxy


class IgnoresDrain(RoundRobin[str]):
    """Takes a quiesced backend for one of weight 1."""

    def put(self, backend: str, weight: float = 1) -> None:
        """Insert, and never quiesce."""
        super().put(backend, weight or 1)


class LeaksCounts(LeastConnections[str]):
    """Forgets to count out one request in eight, like a missing ``finally``."""

    leaked = 0

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count one less, mostly."""
        self.leaked += 1
        if self.leaked % 8:
            super().finished(backend, outcome, now)


SABOTAGE: dict[str, Callable[[], Any]] = {"ignore-drain": IgnoresDrain, "leak-counts": LeaksCounts}

if __name__ == "__main__":
    sabotage = sys.argv.pop(1)

    def make(algorithm: str) -> Any:
        """Break every algorithm alike."""
        del algorithm
        return SABOTAGE[sabotage]()

    proxy.make = make
    asyncio.run(proxy.main(proxy.options()))
