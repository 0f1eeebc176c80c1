"""ROUND_ROBIN: in turns, or by deadline where weights differ."""

from collections.abc import Collection, Iterable, Mapping

from balancers._internal.types import B
from balancers.interop.envoy.scheduled import ScheduledCluster

__all__ = ["RoundRobin"]


class RoundRobin(ScheduledCluster[B]):
    """Envoy 1.40.0, ``ROUND_ROBIN``: hosts in turns, by weight where those that serve differ.

    Envoy begins at a random point, as if ``phase`` picks had been made; the sequence from there is
    this one.  Of those due together the lower weight is first.

    >>> lb = RoundRobin({"a": 1, "b": 2, "c": 4})
    >>> "".join(lb.pick() for _ in range(14))
    'cbccabccbccabc'

    Not as in Envoy, which computes in doubles: rounding may break a tie otherwise there, while few
    picks came before.  One priority and no localities; those draw at random in Envoy.

    Cost: ``pick`` O(1), or O(log n) where weights differ; O(n log n) after a change.
    Raises InvalidSetting for a phase below 0 or a threshold beyond 0 to 100, InvalidWeight.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        phase: int = 0,
        healthy_panic_threshold: int = 50,
    ) -> None:
        self._turns = {False: phase, True: phase}  # of the healthy hosts, and of all in a panic
        super().__init__(backends, phase=phase, healthy_panic_threshold=healthy_panic_threshold)

    def _pick_equal(self, hosts: list[B], avoid: Collection[B]) -> B:
        while True:
            turn = self._turns[self._panic]
            self._turns[self._panic] = turn + 1
            host = hosts[turn % len(hosts)]
            if not avoid or host not in avoid:
                return host
