"""Measures the load of a backend by its number of requests in flight.

This load needs only the starts and the ends of requests.  It needs no measured durations.
"""

from balancers._internal.types import B
from balancers.load import Load
from balancers.outcome import SUCCESS, Outcome

__all__ = ["InFlight"]


class InFlight(Load[B]):
    """Counts, for each backend, the requests that have started and not ended.

    Every method is O(1).

    >>> load = InFlight()
    >>> load.started("a")
    >>> load.value("a", now=0.0), load.value("b", now=0.0)
    (1, 0)
    >>> load
    <InFlight: total 1>
    """

    def __init__(self) -> None:
        self._counts: dict[B, int] = {}

    def value(self, backend: B, now: float) -> float:
        """Return the backend's number of requests in flight.  ``now`` is ignored."""
        return self._counts.get(backend, 0)

    def started(self, backend: B, now: float = 0.0) -> None:
        """Add 1 to the backend's count."""
        self._counts[backend] = self._counts.get(backend, 0) + 1

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Subtract 1 from the backend's count.

        The call is ignored if the backend has no request in flight.
        """
        count = self._counts.get(backend, 0)
        if count > 1:
            self._counts[backend] = count - 1
        else:
            self._counts.pop(backend, None)

    def removed(self, backend: B) -> None:
        """Remove the backend's count."""
        self._counts.pop(backend, None)

    def __repr__(self) -> str:
        return f"<InFlight: total {sum(self._counts.values())}>"
