"""Reproduces ``LEAST_REQUEST`` of Envoy.

The least busy of a few sampled hosts is picked.  If weights differ, hosts are picked by deadline.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from random import Random

from balancers._internal.checks import checked_rng
from balancers._internal.plans import undrawn
from balancers._internal.types import B
from balancers.errors import UnknownBackend
from balancers.interop.envoy.scheduled import ScheduledCluster
from balancers.interop.envoy.settings import MAX_UINT32, within
from balancers.outcome import SUCCESS, Outcome

__all__ = ["LeastRequest"]


class LeastRequest(ScheduledCluster[B]):
    """Picks hosts by the policy ``LEAST_REQUEST`` of Envoy 1.40.0.

    If all hosts that serve have the same weight, ``choice_count`` of them are sampled with
    replacement.  The sampled host with the fewest requests in flight is picked.  If several have
    the fewest, the one that was sampled first is picked.  With ``full_scan``, all hosts are
    compared.  If several have the fewest requests, one of these is sampled.

    If weights differ, hosts are not sampled but picked by deadline.  After a pick, the next
    deadline of the host is later by (requests in flight + 1) / weight.  The request of that pick is
    not counted.  The sequence starts as if ``phase`` picks had been made before.  In Envoy the
    phase is random.

    >>> lb = LeastRequest({"a": 1, "b": 2}, rng=Random(1))
    >>> "".join(lb.pick() for _ in range(6))
    'babbab'
    >>> lb.started("b"); lb.started("b")
    >>> "".join(lb.pick() for _ in range(6))
    'baabab'

    ``rng`` is used only if weights are equal, and only its method ``random`` is called.  Hosts in
    ``avoid`` are not sampled.  If weights differ, a host in ``avoid`` is skipped when its deadline
    comes, and gets its next deadline as after a pick.

    Values of ``active_request_bias`` other than 1, slow start, several priorities and several
    localities are not covered.

    Cost: ``pick`` is O(choices), O(n) for a full scan, and O(log n) if weights differ.  The first
    call after a change is O(n log n).
    Raises InvalidSetting for fewer than 2 choices, for a phase below 0, or for a threshold outside
    0 to 100.  Raises InvalidWeight, and TypeError for an ``rng`` that is not a ``random.Random``.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
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
        """Called when a request starts; O(1).

        The call is ignored if the host is not a member.  If hosts or weights have changed, the new
        schedule is built first.  This request does not count for the new schedule.
        """
        if backend in self._weights:
            self._current_hosts()
            self._active[backend] = self._active.get(backend, 0) + 1

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.

        The call is ignored if the host is not a member, or if it has no request in flight.
        """
        if self._active.get(backend):
            self._current_hosts()
            self._active[backend] -= 1

    def load_of(self, backend: B, now: float = 0.0) -> float:
        """Return the number of requests in flight on a member; O(1).  Raises UnknownBackend."""
        if backend not in self._weights:
            raise UnknownBackend(backend)
        return self._active.get(backend, 0)

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if new is None:
            self._active.pop(backend, None)

    def _stride(self, place: int) -> int:
        return self._strides[place] * (self._active.get(self._hosts[place], 0) + 1)

    def _plan_equal(self, n: int, hosts: list[B], avoid: Collection[B]) -> list[B]:
        ranked = [self.pick(avoid=avoid)]
        left = [host for host in hosts if host not in avoid and host != ranked[0]]
        with undrawn(self._rng) if left and n > 1 else nullcontext():
            while left and len(ranked) < n:
                ranked.append(self._pick_equal(left, ()))
                left.remove(ranked[-1])
        return ranked

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
