"""Implements least connections: picks the backend with the fewest requests in flight."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from balancers._internal.checks import checked_avoid
from balancers._internal.types import B
from balancers.algorithms._rank_buckets import RankBuckets
from balancers.balancer import Key
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["LeastConnections"]


class LeastConnections(Membership[B]):
    """Picks the backend with the fewest requests in flight.

    The balancer counts the requests that are reported with ``started`` and ``finished``.  Backends
    with the same count are picked in turn: a backend moves to the end of the list of its count when
    it is picked, and when it starts or finishes a request.  So the backends of an idle pool are
    picked in turn, even if ``started`` is never called.  All positive weights have the same effect.

    >>> lb = LeastConnections(["a", "b", "c"])
    >>> "".join(lb.pick() for _ in range(4))
    'abca'
    >>> lb.started("b")
    >>> "".join(lb.pick() for _ in range(4))
    'caca'

    Cost: ``pick``, ``started``, ``finished`` and a change of weight are O(1) amortised.  They are
    O(log n) if no other backend has the new count.  With ``avoid``, ``pick`` is
    O(avoided + g log g) for g different counts.
    """

    keyed = False
    fractional = False

    def __init__(self, backends: Iterable[B] | Mapping[B, float] | None = None) -> None:
        self._counts: dict[B, int] = {}
        # The open members by count.  Each bucket is in the order of the next picks.
        self._buckets: RankBuckets[OrderedDict[B, None]] = RankBuckets(OrderedDict)
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return a backend with the fewest requests in flight; O(1) amortised.

        Raises NoBackendAvailable.
        """
        if avoid:
            return self._pick_avoiding(checked_avoid(avoid))
        bucket = self._buckets.lowest
        for backend in bucket:
            bucket.move_to_end(backend)
            return backend
        if not self._open:
            raise self.refusal()
        self._buckets.lowest_filled()
        return self.pick()

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Add one to the count of the backend; O(1) amortised.

        The call is ignored if the backend is not a member.
        """
        count = self._counts.get(backend)
        if count is None:
            return
        self._counts[backend] = count + 1
        buckets = self._buckets.by_rank
        bucket = buckets.get(count)
        if bucket is not None and backend in bucket:
            del bucket[backend]
            higher = buckets.get(count + 1)
            if higher is None:
                higher = self._buckets.bucket(count + 1, len(self._counts))
            higher[backend] = None

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Subtract one from the count of the backend; O(1) amortised.

        The call is ignored if the backend is not a member or has no request in flight.
        """
        count = self._counts.get(backend)
        if not count:
            return
        self._counts[backend] = count - 1
        buckets = self._buckets.by_rank
        bucket = buckets.get(count)
        if bucket is not None and backend in bucket:
            del bucket[backend]
            lower = buckets.get(count - 1)
            if lower is None:
                lower = self._buckets.bucket(count - 1, len(self._counts))
            lower[backend] = None

    def _pick_avoiding(self, avoid: Collection[B]) -> B:
        for bucket in self._buckets.ascending():
            for backend in bucket:
                if backend not in avoid:
                    bucket.move_to_end(backend)
                    return backend
        raise self.refusal()

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        count = self._counts.setdefault(backend, 0)
        if new and not old:
            self._buckets.bucket(count, len(self._counts))[backend] = None
        elif old and not new:
            del self._buckets.bucket(count, len(self._counts))[backend]
        if new is None:
            del self._counts[backend]
