"""ROUND_ROBIN: in turn, or by deadline if weights differ."""

from collections.abc import Collection, Iterable, Mapping

from balancers._internal.types import B
from balancers.interop.envoy.scheduled import ScheduledCluster

__all__ = ["RoundRobin"]


class RoundRobin(ScheduledCluster[B]):
    """Envoy 1.40.0, ``ROUND_ROBIN``: hosts in turn, or by weight if the serving hosts differ.

    Envoy starts at a random point of the sequence, as if ``phase`` picks had been made before.  Of
    hosts due at the same time, the one with the lower weight is first.

    >>> lb = RoundRobin({"a": 1, "b": 2, "c": 4})
    >>> "".join(lb.pick() for _ in range(14))
    'cbccabccbccabc'

    Differences from Envoy: Envoy computes in doubles, whose rounding can decide ties differently
    while few picks have been made.  Several priorities and localities are not covered, because
    Envoy chooses them at random.

    Cost: ``pick`` O(1), or O(log n) if weights differ; O(n log n) after a change.
    Raises InvalidSetting for a phase below 0 or a threshold outside 0 to 100, InvalidWeight.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        phase: int = 0,
        healthy_panic_threshold: int = 50,
    ) -> None:
        self._turns = {False: phase, True: phase}  # without and with panic
        super().__init__(backends, phase=phase, healthy_panic_threshold=healthy_panic_threshold)

    def _pick_equal(self, hosts: list[B], avoid: Collection[B]) -> B:
        while True:
            turn = self._turns[self._panic]
            self._turns[self._panic] = turn + 1
            host = hosts[turn % len(hosts)]
            if not avoid or host not in avoid:
                return host
