"""The policies that take turns, or do not."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate

from balancers._internal.checks import checked_avoid
from balancers.balancer import Key
from balancers.errors import InvalidWeight
from balancers.membership import Membership

__all__ = ["First", "RoundRobin", "WeightedRoundRobin"]

_TURNS = 1 << 32
"""Where caddy's counter begins again."""


class First(Membership[str]):
    """``first`` of caddy 2.11.7: the first available in order of insertion; O(n).

    >>> policy = First({"10.0.0.1:80": 0, "10.0.0.2:80": 1, "10.0.0.3:80": 1})
    >>> policy.pick(), policy.pick(avoid=["10.0.0.2:80"])
    ('10.0.0.2:80', '10.0.0.3:80')
    """

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Give the first.  Raises NoBackendAvailable."""
        if avoid:
            checked_avoid(avoid)
        for upstream, weight in self._weights.items():
            if weight and upstream not in avoid:
                return upstream
        raise self.refusal()


class RoundRobin(Membership[str]):
    """``round_robin`` of caddy 2.11.7, which begins with the second.

    An unavailable one's turn is the next one's.  Any positive weight is the same.

    >>> policy = RoundRobin(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
    >>> [policy.pick() for _ in range(3)]
    ['10.0.0.2:80', '10.0.0.3:80', '10.0.0.1:80']

    Cost: ``pick`` O(n).
    """

    def __init__(self, backends: Iterable[str] | Mapping[str, float] = ()) -> None:
        self._turn = 0
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Give the next in turn.  Raises NoBackendAvailable."""
        if avoid:
            checked_avoid(avoid)
        upstreams = list(self._weights)
        for _ in upstreams:
            self._turn = (self._turn + 1) % _TURNS
            upstream = upstreams[self._turn % len(upstreams)]
            if self._weights[upstream] and upstream not in avoid:
                return upstream
        raise self.refusal()


class WeightedRoundRobin(Membership[str]):
    """``weighted_round_robin`` of caddy 2.11.7: not smooth, and it begins with the second turn.

    Turn t of each round is the upstream's in whose part of the summed weights it falls; place i of
    all is then place i of the available ones, modulo their number.  So an unavailable upstream,
    which keeps its last positive weight, shifts the others instead of sharing out its turns.

    >>> policy = WeightedRoundRobin({"a:80": 5, "b:80": 1, "c:80": 1})
    >>> "".join(policy.pick()[0] for _ in range(14))
    'aaaabcaaaaabca'

    A caddy with fewer weights than upstreams is one whose last upstreams have weight 0; one with
    more weights, or with a single one (its first upstream serves always), cannot be said.
    Cost: ``pick`` O(n).  Raises InvalidWeight for a weight that is no integer.
    """

    def __init__(self, backends: Iterable[str] | Mapping[str, float] = ()) -> None:
        self._turn = 0
        self._shares: dict[str, int] = {}  # every member's last weight above 0
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Give the next in turn.  Raises NoBackendAvailable."""
        if avoid:
            checked_avoid(avoid)
        shared = [upstream for upstream in self._weights if self._shares[upstream]]
        usable = [each for each in shared if self._weights[each] and each not in avoid]
        if not shared:
            raise self.refusal()
        ends = list(accumulate(self._shares[upstream] for upstream in shared))
        self._turn = (self._turn + 1) % _TURNS
        if not usable:
            raise self.refusal()
        return usable[bisect_right(ends, self._turn % ends[-1]) % len(usable)]

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        if new is not None and new % 1:
            raise InvalidWeight(f"weight of {backend!r} must be an integer, not {new!r}")
        if new is None:
            del self._shares[backend]
        else:
            self._shares[backend] = int(new) or self._shares.get(backend, 0)
