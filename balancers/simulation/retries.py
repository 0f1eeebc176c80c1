"""Defines how the clients of a simulation repeat requests that failed."""

from dataclasses import dataclass
from typing import Any

from balancers._internal.checks import at_least, shown
from balancers.errors import InvalidSetting
from balancers.overload import RetryBudget
from balancers.simulation._seconds import check_seconds

__all__ = ["Retries"]

_MOST_TRIES = 1000
"""More tries without backoff, while everything is refused, would not end in a useful time."""


@dataclass(frozen=True, slots=True)
class Retries:
    """Describes how often and when a client tries again.

    ``tries`` is the highest number of tries of one request, the first one included.  A try that
    found no backend counts too.  Before each further try, the client waits ``backoff`` seconds.  A
    further try avoids the backends that were tried before, unless no other backend can be picked.

    ``budget`` limits the retries.  Each simulation uses a copy of it, so it never changes.
    ``deadline`` is the number of seconds, from its arrival, after which a request fails, wherever
    it is.  It is one time over queues, backoffs and all tries.

    >>> Retries(tries=2, backoff=0.1, deadline=5.0)
    Retries(tries=2, backoff=0.1, budget=None, deadline=5.0)

    Raises InvalidSetting for ``tries`` below 1 or above 1000, a negative ``backoff``, a
    ``deadline`` that is not positive and finite, and a ``budget`` that is no RetryBudget or has
    requests in flight.
    """

    tries: int = 3
    backoff: float = 0.0
    budget: RetryBudget | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries)
        if self.tries > _MOST_TRIES:
            raise InvalidSetting(f"tries must be 1 to {_MOST_TRIES}, not {shown(self.tries)}")
        check_seconds("backoff", self.backoff)
        if self.deadline is not None:
            check_seconds("deadline", self.deadline, positive=True)
        budget: Any = self.budget
        if budget is not None and not isinstance(budget, RetryBudget):
            raise InvalidSetting(f"budget must be a RetryBudget, not {shown(budget)}")
        if budget is not None and (budget.requests or budget.retries):
            raise InvalidSetting(f"budget must have nothing in flight: {shown(budget)}")
