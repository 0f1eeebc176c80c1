"""Picks upstreams without a key, as ``first`` and the round robins of caddy do."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate, islice

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers._internal.plans import first_different
from balancers.balancer import Key
from balancers.interop.whole_weights import whole_weight
from balancers.membership import Membership

__all__ = ["First", "RoundRobin", "WeightedRoundRobin"]

_COUNTER_RANGE = 1 << 32
"""The counter wraps to 0 at this value, because it is a uint32 in caddy."""


class First(Membership[str]):
    """Picks what ``first`` of caddy 2.11.7 picks.

    The first available upstream, in the order of insertion, is picked; O(n).

    >>> policy = First({"10.0.0.1:80": 0, "10.0.0.2:80": 1, "10.0.0.3:80": 1})
    >>> policy.pick(), policy.pick(avoid=["10.0.0.2:80"])
    ('10.0.0.2:80', '10.0.0.3:80')
    """

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Return the first available upstream.  Raises NoBackendAvailable."""
        return self.plan(1, key, now, avoid)[0]

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> list[str]:
        """Return ``n`` available upstreams in order.  Raises as :meth:`pick`, InvalidSetting."""
        at_least(1, n=n)
        avoid = checked_avoid(avoid)
        opened = (each for each, weight in self._weights.items() if weight and each not in avoid)
        ranked = list(islice(opened, min(n, len(self._weights))))
        if not ranked:
            raise self.refusal()
        return ranked


class RoundRobin(Membership[str]):
    """Picks what ``round_robin`` of caddy 2.11.7 picks.

    The upstreams are picked in turn.  The first pick is the second upstream.  If an upstream is
    unavailable, the next available upstream is picked in its place.  All positive weights have the
    same effect.

    >>> policy = RoundRobin(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
    >>> [policy.pick() for _ in range(3)]
    ['10.0.0.2:80', '10.0.0.3:80', '10.0.0.1:80']

    Cost: ``pick`` O(n).
    """

    def __init__(self, backends: Iterable[str] | Mapping[str, float] | None = None) -> None:
        self._counter = 0
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Return the next upstream.  Raises NoBackendAvailable."""
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        upstreams = list(self._weights)
        for _ in upstreams:
            self._counter = (self._counter + 1) % _COUNTER_RANGE
            upstream = upstreams[self._counter % len(upstreams)]
            if self._weights[upstream] and upstream not in avoid:
                return upstream
        raise self.refusal()

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> list[str]:
        """Return the next ``n`` available upstreams; O(upstreams).  This takes one turn.

        Raises InvalidSetting, NoBackendAvailable.
        """
        at_least(1, n=n)
        avoid, upstreams = checked_avoid(avoid), list(self._weights)
        turns = (self._counter + 1 + turn for turn in range(len(upstreams)))
        order = (upstreams[turn % _COUNTER_RANGE % len(upstreams)] for turn in turns)
        ranked = first_different((each for each in order if self._weights[each]), n, avoid)
        self.pick(key, now, avoid)
        return ranked


class WeightedRoundRobin(Membership[str]):
    """Picks what ``weighted_round_robin`` of caddy 2.11.7 picks.

    A cycle consists of one turn per unit of weight, and all turns of an upstream are consecutive.
    The first pick uses the second turn of the cycle.  An unavailable upstream keeps the turns of
    its last positive weight.  A turn of the upstream with index i (counted from 0) selects index i
    in the list of the available upstreams, modulo the length of that list.  So an unavailable
    upstream shifts the indices of the others.  Its turns are not distributed among them by weight.

    >>> policy = WeightedRoundRobin({"a:80": 5, "b:80": 1, "c:80": 1})
    >>> "".join(policy.pick()[0] for _ in range(14))
    'aaaabcaaaaabca'

    If a configuration has fewer weights than upstreams, caddy gives weight 0 to the last upstreams.
    Two configurations are not covered.  One has more weights than upstreams.  The other has a
    single weight; with it, caddy always picks the first upstream.
    Cost: ``pick`` O(n).  Raises InvalidWeight for a weight that is not an integer.
    """

    def __init__(self, backends: Iterable[str] | Mapping[str, float] | None = None) -> None:
        self._counter = 0
        self._last_weights: dict[str, int] = {}  # the last positive weight of every member
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Return the next upstream.  Raises NoBackendAvailable."""
        return self.plan(1, key, now, avoid)[0]

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> list[str]:
        """Return the upstreams of ``n`` attempts, each one without those before it.

        This takes one turn; O(upstreams + n · upstreams).  Raises InvalidSetting,
        NoBackendAvailable.
        """
        at_least(1, n=n)
        avoid = checked_avoid(avoid)
        weighted = [upstream for upstream in self._weights if self._last_weights[upstream]]
        usable = [each for each in weighted if self._weights[each] and each not in avoid]
        if not weighted:
            raise self.refusal()
        ends = list(accumulate(self._last_weights[upstream] for upstream in weighted))
        self._counter = (self._counter + 1) % _COUNTER_RANGE
        if not usable:
            raise self.refusal()
        turn = bisect_right(ends, self._counter % ends[-1])
        return [usable.pop(turn % len(usable)) for _ in range(min(n, len(usable)))]

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        if new is None:
            del self._last_weights[backend]
        else:
            weight = whole_weight(backend, new)
            self._last_weights[backend] = weight or self._last_weights.get(backend, 0)
