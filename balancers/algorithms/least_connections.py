"""Least connections: the backend with the fewest requests in flight."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from balancers._internal.checks import checked_avoid
from balancers._internal.types import B
from balancers.algorithms._rank_buckets import Ties
from balancers.balancer import Key
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["LeastConnections"]


class LeastConnections(Membership[B]):
    """The fewest in flight.

    It counts what it is told by ``started`` and ``finished``.  Ties rotate: who was picked, started
    or finished goes to the back of those with its count, so an idle pool is served in turn, and so
    are plain picks without ``started``.  Any positive weight is the same.

    >>> lb = LeastConnections(["a", "b", "c"])
    >>> "".join(lb.pick() for _ in range(4))
    'abca'
    >>> lb.started("b")
    >>> "".join(lb.pick() for _ in range(4))
    'caca'

    Cost: ``pick``, ``started``, ``finished`` and a flip O(1) amortised, O(log n) where a count is
    new; with ``avoid`` O(avoided + g log g), g the distinct counts.
    """

    keyed = False
    fractional = False

    def __init__(self, backends: Iterable[B] | Mapping[B, float] = ()) -> None:
        self._counts: dict[B, int] = {}
        # The open members by count; each tie in the order in which it is served.
        self._ties: Ties[OrderedDict[B, None]] = Ties(OrderedDict)
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give one with the fewest in flight; O(1) amortised.  Raises NoBackendAvailable."""
        if avoid:
            return self._pick_but(checked_avoid(avoid))
        tie = self._ties.least
        for backend in tie:
            tie.move_to_end(backend)
            return backend
        if not self._open:
            raise self.refusal()
        self._ties.first()
        return self.pick()

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count one more; O(1) amortised.  A stranger is ignored."""
        count = self._counts.get(backend)
        if count is None:
            return
        self._counts[backend] = count + 1
        ties = self._ties.by_rank
        tie = ties.get(count)
        if tie is not None and backend in tie:
            del tie[backend]
            more = ties.get(count + 1)
            if more is None:
                more = self._ties.at(count + 1, len(self._counts))
            more[backend] = None

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count one less; O(1) amortised.  A stranger, or one more than began, is ignored."""
        count = self._counts.get(backend)
        if not count:
            return
        self._counts[backend] = count - 1
        ties = self._ties.by_rank
        tie = ties.get(count)
        if tie is not None and backend in tie:
            del tie[backend]
            fewer = ties.get(count - 1)
            if fewer is None:
                fewer = self._ties.at(count - 1, len(self._counts))
            fewer[backend] = None

    def _pick_but(self, avoid: Collection[B]) -> B:
        for tie in self._ties.ascending():
            for backend in tie:
                if backend not in avoid:
                    tie.move_to_end(backend)
                    return backend
        raise self.refusal()

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        count = self._counts.setdefault(backend, 0)
        if new and not old:
            self._ties.at(count, len(self._counts))[backend] = None
        elif old and not new:
            del self._ties.at(count, len(self._counts))[backend]
        if new is None:
            del self._counts[backend]
