"""LEAST_REQUEST: the least of a few drawn, or by deadline where weights differ."""

from collections.abc import Collection, Iterable, Mapping
from random import Random

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.envoy.scheduled import ScheduledCluster
from balancers.interop.envoy.settings import MOST, within
from balancers.outcome import SUCCESS, Outcome

__all__ = ["LeastRequest"]


class LeastRequest(ScheduledCluster[B]):
    """Envoy 1.40.0, ``LEAST_REQUEST``: two quite different rules.

    Where the hosts that serve have equal weights, ``choice_count`` of them are drawn, one perhaps
    twice, and the first with the fewest requests in flight serves; or, with ``full_scan``, one of
    those with the fewest of all.  Where weights differ, nothing is drawn: hosts take turns by
    deadline, each queued again with weight / (requests in flight + 1) as it is picked, before that
    request counts.  Then the picks follow from the ``phase``, the picks made before, which is
    random in Envoy.

    >>> lb = LeastRequest({"a": 1, "b": 2}, rng=Random(1))
    >>> "".join(lb.pick() for _ in range(6))
    'babbab'
    >>> lb.started("b"); lb.started("b")
    >>> "".join(lb.pick() for _ in range(6))
    'baabab'

    ``rng`` draws where weights are equal; only its ``random`` is used.  ``avoid`` leaves the
    avoided out of the draw, uses up their turns otherwise.  An ``active_request_bias`` other than 1
    and slow start are not offered.  One priority and no localities.

    Cost: ``pick`` O(choices), O(n) for a full scan, O(log n) where weights differ; O(n log n) after
    a change.
    Raises InvalidSetting for fewer than 2 choices and as :class:`RoundRobin` does, InvalidWeight.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        rng: Random,
        phase: int = 0,
        choice_count: int = 2,
        full_scan: bool = False,
        healthy_panic_threshold: int = 50,
    ) -> None:
        within(2, MOST, choice_count=choice_count)
        if not isinstance(rng, Random):
            raise InvalidSetting(f"rng must be a random.Random, not {rng!r}")
        self._rng = rng
        self._choices = choice_count
        self._full_scan = full_scan
        self._active: dict[B, int] = {}
        super().__init__(backends, phase=phase, healthy_panic_threshold=healthy_panic_threshold)

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count one more in flight; a stranger is ignored.

        After a change the schedule begins first, by the counts at that time; O(1) otherwise.
        """
        if backend in self._weights:
            self._current()
            self._active[backend] = self._active.get(backend, 0) + 1

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count one less; a stranger, or one more than began, is ignored."""
        if self._active.get(backend):
            self._current()
            self._active[backend] -= 1

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if new is None:
            self._active.pop(backend, None)

    def _stride(self, place: int) -> int:
        return self._strides[place] * (self._active.get(self._hosts[place], 0) + 1)

    def _pick_equal(self, hosts: list[B], avoid: Collection[B]) -> B:
        draw = self._rng.random
        if avoid:
            hosts = [host for host in hosts if host not in avoid]
        if self._full_scan:
            least = min(self._active.get(host, 0) for host in hosts)
            drawn = [host for host in hosts if self._active.get(host, 0) == least]
            return drawn[int(draw() * len(drawn))]
        drawn = [hosts[int(draw() * len(hosts))] for _ in range(self._choices)]
        return min(drawn, key=lambda host: self._active.get(host, 0))
