"""LEAST_REQUEST: the least busy of a few sampled hosts, or by deadline if weights differ."""

from collections.abc import Collection, Iterable, Mapping
from random import Random

from balancers._internal.checks import checked_rng
from balancers._internal.types import B
from balancers.interop.envoy.scheduled import ScheduledCluster
from balancers.interop.envoy.settings import MAX_UINT32, within
from balancers.outcome import SUCCESS, Outcome

__all__ = ["LeastRequest"]


class LeastRequest(ScheduledCluster[B]):
    """Envoy 1.40.0, ``LEAST_REQUEST``: two different rules for equal and for different weights.

    If the serving hosts have equal weights, ``choice_count`` of them are sampled with replacement.
    The first one with the fewest requests in flight is picked.  With ``full_scan``, one of all the
    hosts with the fewest requests is sampled.

    If weights differ, nothing is sampled: hosts are picked by deadline.  After a pick, a host is
    queued again by weight / (requests in flight + 1), without the request of that pick.  The
    sequence depends on the ``phase``, the number of picks made before, which is random in Envoy.

    >>> lb = LeastRequest({"a": 1, "b": 2}, rng=Random(1))
    >>> "".join(lb.pick() for _ in range(6))
    'babbab'
    >>> lb.started("b"); lb.started("b")
    >>> "".join(lb.pick() for _ in range(6))
    'baabab'

    ``rng`` samples if weights are equal; only its ``random`` is used.  Hosts in ``avoid`` are not
    sampled; if weights differ, they use up their turns.  Not covered: ``active_request_bias`` other
    than 1, slow start, several priorities and localities.

    Cost: ``pick`` O(choices), O(n) for a full scan, O(log n) if weights differ; O(n log n) after a
    change.
    Raises InvalidSetting for fewer than 2 choices and as :class:`RoundRobin` does, InvalidWeight,
    TypeError for an ``rng`` that is no ``random.Random``.
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
        within(2, MAX_UINT32, choice_count=choice_count)
        self._rng = checked_rng(rng)
        self._choice_count = choice_count
        self._full_scan = full_scan
        self._active: dict[B, int] = {}
        super().__init__(backends, phase=phase, healthy_panic_threshold=healthy_panic_threshold)

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts; O(1).  Ignored if the host is not a member.

        After a change, the new schedule is built first, from the counts before this request.
        """
        if backend in self._weights:
            self._current_hosts()
            self._active[backend] = self._active.get(backend, 0) + 1

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.

        Ignored if the host is not a member or has no request in flight.
        """
        if self._active.get(backend):
            self._current_hosts()
            self._active[backend] -= 1

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if new is None:
            self._active.pop(backend, None)

    def _stride(self, place: int) -> int:
        return self._strides[place] * (self._active.get(self._hosts[place], 0) + 1)

    def _pick_equal(self, hosts: list[B], avoid: Collection[B]) -> B:
        random = self._rng.random
        if avoid:
            hosts = [host for host in hosts if host not in avoid]
        if self._full_scan:
            least = min(self._active.get(host, 0) for host in hosts)
            tied = [host for host in hosts if self._active.get(host, 0) == least]
            return tied[int(random() * len(tied))]
        sampled = [hosts[int(random() * len(hosts))] for _ in range(self._choice_count)]
        return min(sampled, key=lambda host: self._active.get(host, 0))
