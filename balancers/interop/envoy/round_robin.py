"""Reproduces ``ROUND_ROBIN`` of Envoy.

Hosts are picked in turn.  If weights differ, hosts are picked by deadline.
"""

from collections.abc import Collection, Iterable, Mapping

from balancers._internal.plans import first_different
from balancers._internal.types import B
from balancers.interop.envoy.scheduled import ScheduledCluster

__all__ = ["RoundRobin"]


class RoundRobin(ScheduledCluster[B]):
    """Picks hosts by the policy ``ROUND_ROBIN`` of Envoy 1.40.0.

    If all hosts that serve have the same weight, they are picked in turn.  If weights differ, each
    host is picked at regular intervals, as often as its weight requires.  Of hosts that are due at
    the same time, the host with the lower weight is picked first.

    The sequence starts as if ``phase`` picks had been made before.  In Envoy the phase is random.

    >>> lb = RoundRobin({"a": 1, "b": 2, "c": 4})
    >>> "".join(lb.pick() for _ in range(14))
    'cbccabccbccabc'

    Differences from Envoy: Envoy computes in doubles.  While few picks have been made, their
    rounding can change the order of hosts that are due at the same time.  Several priorities and
    several localities are not covered, because Envoy chooses them at random.

    Cost: ``pick`` is O(1), or O(log n) if weights differ.  The first pick after a change is
    O(n log n).
    Raises InvalidSetting for a phase below 0, or for a threshold outside 0 to 100.  Raises
    InvalidWeight.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        phase: int = 0,
        healthy_panic_threshold: int = 50,
    ) -> None:
        self._turns = {False: phase, True: phase}  # keys: whether the hosts panic
        super().__init__(backends, phase=phase, healthy_panic_threshold=healthy_panic_threshold)

    def _plan_equal(self, n: int, hosts: list[B], avoid: Collection[B]) -> list[B]:
        turn = self._turns[self._panic] % max(1, len(hosts))
        ranked = first_different([*hosts[turn:], *hosts[:turn]], n, avoid)
        self.pick(avoid=avoid)
        return ranked

    def _pick_equal(self, hosts: list[B], avoid: Collection[B]) -> B:
        while True:
            turn = self._turns[self._panic]
            self._turns[self._panic] = turn + 1
            host = hosts[turn % len(hosts)]
            if not avoid or host not in avoid:
                return host
