"""The proxy with a broken balancer, to show that the drill detects it.

python sabotage.py ignore-drain|leak-counts ARGUMENTS_OF_PROXY…
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from balancers import SUCCESS, LeastConnections, Outcome, RoundRobin

import proxy


class IgnoresDrain(RoundRobin[str]):
    """Treats a quiesced backend as one of weight 1."""

    def put(self, backend: str, weight: float = 1) -> None:
        """Insert a backend or change its weight, but never quiesce it."""
        super().put(backend, weight or 1)


class LeaksCounts(LeastConnections[str]):
    """Loses the end of one request in eight, like code without a ``finally``."""

    calls = 0

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count the end of a request, except for each eighth one."""
        self.calls += 1
        if self.calls % 8:
            super().finished(backend, outcome, now)


SABOTAGE: dict[str, Callable[[], Any]] = {"ignore-drain": IgnoresDrain, "leak-counts": LeaksCounts}

if __name__ == "__main__":
    sabotage = sys.argv.pop(1)

    def make(algorithm: str) -> Any:
        """Return the broken balancer, whatever the algorithm."""
        del algorithm
        return SABOTAGE[sabotage]()

    proxy.make = make
    asyncio.run(proxy.main(proxy.options()))
