"""Defines the base class of ``ROUND_ROBIN`` and ``LEAST_REQUEST``."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from math import lcm

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers._internal.plans import first_different
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import NoBackendAvailable
from balancers.interop.envoy.edf import EarliestDeadlineFirst
from balancers.interop.envoy.host_weights import HostWeights
from balancers.interop.envoy.priorities import Health, loads
from balancers.interop.envoy.settings import within
from balancers.membership import Membership

__all__ = ["ScheduledCluster"]


class ScheduledCluster(Membership[B]):
    """Picks hosts of a single priority.

    This is the base class of RoundRobin and LeastRequest.  If weights differ, hosts are picked by
    deadline.  If all weights are equal, the subclass decides.  A host of weight 0 is unhealthy, as
    in :class:`~balancers.interop.envoy.RingHash`.

    After a change of members, weights or health, a new schedule starts at ``phase``, as in Envoy.
    """

    keyed = False
    fractional = False

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        phase: int = 0,
        healthy_panic_threshold: int = 50,
    ) -> None:
        at_least(0, phase=phase)
        within(0, 100, healthy_panic_threshold=healthy_panic_threshold)
        self._phase = phase
        self._panic_threshold = healthy_panic_threshold
        self._host_weights: HostWeights[B] = HostWeights()
        self._panic = False
        self._hosts: list[B] = []  # the hosts that serve
        self._stale = True
        self._schedule: EarliestDeadlineFirst | None = None  # None while weights are equal
        self._strides: list[int] = []
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the next host.

        ``avoid`` contains the hosts that were already tried.  If the next host is one of them, it
        is skipped as if it had been picked.

        Cost: O(log n).  The first pick after a change is O(n log n).
        Raises NoBackendAvailable.
        """
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        hosts = self._current_hosts()
        if not hosts or _all_in(hosts, avoid):
            raise self.refusal()
        if self._schedule is None:
            return self._pick_equal(hosts, avoid)
        if avoid:
            return hosts[self._schedule.pick_avoiding(self._stride, lambda at: hosts[at] in avoid)]
        return hosts[self._schedule.pick(self._stride)]

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return the hosts of ``n`` attempts, each one with all before it in ``avoid``.

        This takes one turn, that of the first host.  If fewer hosts can be picked, all of them are
        returned.
        Raises InvalidSetting unless ``n`` is an int of 1 or more, NoBackendAvailable.
        """
        at_least(1, n=n)
        avoid = checked_avoid(avoid)
        hosts = self._current_hosts()
        if self._schedule is None:
            return self._plan_equal(n, hosts, avoid)
        due = (hosts[place] for place in self._schedule.in_order())
        ranked = first_different(due, n, avoid)
        self.pick(key, now, avoid)
        return ranked

    @abstractmethod
    def _plan_equal(self, n: int, hosts: list[B], avoid: Collection[B]) -> list[B]:
        """Return a plan of hosts with equal weights, and take one turn."""

    @abstractmethod
    def _pick_equal(self, hosts: list[B], avoid: Collection[B]) -> B:
        """Return one of several hosts with equal weights.

        At least one of the hosts is not avoided.
        """

    def _stride(self, place: int) -> int:
        """Return the interval between two picks of a host.

        It is inversely proportional to the weight of the host.
        """
        return self._strides[place]

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if new is None:
            self._host_weights.discard(backend)
        else:
            self._host_weights.set(backend, new)
        self._stale = True

    def _current_hosts(self) -> list[B]:
        if self._stale:
            self._stale = False
            health = Health(len(self._weights), self._open)
            (self._panic,) = loads([health], healthy_panic_threshold=self._panic_threshold).panic
            self._hosts = [
                backend for backend, weight in self._weights.items() if weight or self._panic
            ]
            weights = [self._host_weights.last_positive[backend] for backend in self._hosts]
            unit = lcm(*weights)
            self._strides = [unit // weight for weight in weights]
            equal = len(set(weights)) <= 1
            strides = [self._stride(place) for place in range(len(weights))]
            self._schedule = None if equal else EarliestDeadlineFirst(weights, strides, self._phase)
        return self._hosts

    def refusal(self) -> NoBackendAvailable:
        if self._panic and self._weights:
            return NoBackendAvailable("avoided", {"avoided": len(self._weights)})
        return super().refusal()


def _all_in(hosts: list[B], avoid: Collection[B]) -> bool:
    return len(avoid) >= len(hosts) and all(host in avoid for host in hosts)
