"""Measures the load of a backend by the cost of its requests in flight.

A cost is a number that the caller passes with a request, for example its tokens or its bytes.
"""

from balancers._internal.types import B
from balancers.load import Load

__all__ = ["InFlightCost"]


class InFlightCost(Load[B]):
    """Adds up, for each backend, the costs of the requests that have started and not ended.

    The costs are those of :meth:`Pool.acquire` and :meth:`Pool.progress`, in a unit that the caller
    chooses.  A request without a cost adds nothing.  Costs are ints, so sums are exact.  Every
    method is O(1).

    >>> from random import Random
    >>> from balancers import Pool, PowerOfTwoChoices
    >>> load = InFlightCost()
    >>> pool = Pool(PowerOfTwoChoices(["a", "b"], rng=Random(1), load=load))
    >>> lease = pool.acquire(now=0.0, prefer="a", cost=4000)
    >>> load
    <InFlightCost: total 4000>
    >>> {pool.acquire(now=0.1, cost=10).backend for _ in range(100)}
    {'b'}
    >>> pool.progress(lease, now=0.2, cost=0)  # the first token: the prompt is processed
    >>> load.value("a", now=0.2), load.value("b", now=0.2)
    (0, 1000)
    """

    def __init__(self) -> None:
        self._costs: dict[B, int] = {}

    def value(self, backend: B, now: float) -> float:
        """Return the cost in flight on the backend.  ``now`` is ignored."""
        del now
        return self._costs.get(backend, 0)

    def charged(self, backend: B, change: int, now: float = 0.0) -> None:
        """Called when the cost in flight on the backend changes by ``change``.

        A cost that would be negative becomes 0.
        """
        del now
        cost = self._costs.get(backend, 0) + change
        if cost > 0:
            self._costs[backend] = cost
        else:
            self._costs.pop(backend, None)

    def removed(self, backend: B) -> None:
        """Remove the backend's cost."""
        self._costs.pop(backend, None)

    def __repr__(self) -> str:
        return f"<InFlightCost: total {sum(self._costs.values())}>"
