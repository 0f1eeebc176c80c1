"""A cluster that hashes: host sets by priority, their health, and a table of each."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import checked_avoid
from balancers._internal.types import B
from balancers.errors import InvalidKey, InvalidSetting, NoBackendAvailable, UnknownBackend
from balancers.hashing.hashed_balancer import BITS, Chooser, HashedBalancer
from balancers.interop.envoy.bounded import overload, spill
from balancers.interop.envoy.hosts import HostSet, Table, shares
from balancers.interop.envoy.locality import Locality, everywhere
from balancers.interop.envoy.priorities import Health, Loads, loads
from balancers.interop.envoy.settings import MOST, checked_locality_weights, host_weight, within
from balancers.keys import Identity, XXHash64, name_of
from balancers.outcome import SUCCESS, Outcome

__all__ = ["HashCluster"]


class HashCluster(HashedBalancer[B]):
    """What RING_HASH and MAGLEV share; a subclass builds the table of some hosts.

    A host of weight 0 is unhealthy: it keeps the last weight above 0 that it had (1 if none), still
    counts among the hosts of its priority, and serves when that priority panics.  With
    ``healthy_panic_threshold=0`` nobody panics.  The key is the value of one header; of any other
    hash policy give the hash to :meth:`pick_hashed`.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        hash_balance_factor: int | None = None,
        locality: Callable[[B], Locality] = everywhere,
        locality_weights: Mapping[Locality, int] | None = None,
        healthy_panic_threshold: int = 50,
        overprovisioning_factor: int = 140,
        identity: Identity[B] = name_of,
    ) -> None:
        if hash_balance_factor is not None:
            within(100, MOST, hash_balance_factor=hash_balance_factor)
        within(0, 100, healthy_panic_threshold=healthy_panic_threshold)
        within(1, MOST, overprovisioning_factor=overprovisioning_factor)
        self._factor = hash_balance_factor
        self._locality = locality
        self._locality_weights = checked_locality_weights(locality_weights)
        self._threshold = healthy_panic_threshold
        self._overprovisioning = overprovisioning_factor
        self._hefts: dict[B, int] = {}  # everybody's weight, the last one above 0
        self._sums: Counter[Locality] = Counter()
        self._localities: dict[B, Locality] = {}
        self._degraded: set[B] = set()
        self._active: dict[B, int] = {}
        self._total = 0
        self._sets: list[HostSet[B]] | None = None  # by priority; None after a change
        self._loads = loads(())
        super().__init__(backends, identity=identity, hasher=XXHash64())

    @property
    def loads(self) -> Loads:
        """Percentages of load by priority, and who panics; O(1) but after a change."""
        self._current()
        return self._loads

    def degrade(self, backend: B, degraded: bool = True) -> None:
        """Mark a host degraded, or no longer; O(1).  Raises UnknownBackend.

        A degraded host is in no table, but its priority keeps the load meant for it: where nobody
        there is healthy, what falls on it is refused.
        """
        if backend not in self._weights:
            raise UnknownBackend(backend)
        if degraded:
            self._degraded.add(backend)
        else:
            self._degraded.discard(backend)
        self._sets = None

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Give the host of a 64-bit request hash; O(1) expected, O(n) when its host is overloaded.

        ``avoid`` are the hosts tried before: attempt follows attempt until one is not among them.
        The first pick after a change builds.  Raises InvalidKey, NoBackendAvailable.
        """
        if type(digest) is not int or not 0 <= digest <= BITS:
            raise InvalidKey(f"a hash is an int of 64 bits, not {digest!r}")
        if avoid:
            checked_avoid(avoid)
        sets = self._current()
        if not sets:
            raise NoBackendAvailable("empty")
        known = sets[self._loads.priority_of(digest) if len(sets) > 1 else 0]
        if known.table is None:
            raise refusal([known])
        if avoid:
            return self._pick_but(known, known.table, digest, avoid)
        return known.hosts[self._with_room(known, known.table.owner(digest), digest)]

    def _pick_but(self, known: HostSet[B], table: Table, digest: int, avoid: Collection[B]) -> B:
        """Attempt until somebody was not tried; those without a place, or elsewhere, come last."""
        asked: set[int] = set()
        for owner in table.attempts(digest):
            if owner not in asked:
                host = known.hosts[self._with_room(known, owner, digest)]
                if host not in avoid:
                    return host
                asked.add(owner)
                if len(asked) == len(known.hosts):
                    break
        for each in (known, *self._current()):
            for host in each.hosts:
                if host not in avoid:
                    return host
        raise self.refusal()

    def _with_room(self, known: HostSet[B], owner: int, digest: int) -> int:
        """Give the owner, or who stands in for it when it is overloaded."""
        factor = self._factor
        if factor is None:
            return owner

        def overloaded(place: int) -> float:
            active = self._active.get(known.hosts[place], 0)
            return overload(active, self._total, factor, known.shares[place])

        if overloaded(owner) <= 1:
            return owner
        return spill(owner, digest, len(known.hosts), overloaded)

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count one more in flight; a stranger is ignored."""
        if backend in self._weights:
            self._active[backend] = self._active.get(backend, 0) + 1
            self._total += 1

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count one less; a stranger, or one more than began, is ignored."""
        if self._active.get(backend):
            self._active[backend] -= 1
            self._total -= 1

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        heft = self._hefts.get(backend, 0)
        where = self._placed(backend) if old is None else self._localities[backend]
        if new is None:
            self._sums[where] -= self._hefts.pop(backend)
            if not self._sums[where]:
                del self._sums[where]
            del self._localities[backend]
            self._degraded.discard(backend)
            self._total -= self._active.pop(backend, 0)
        else:
            weight = host_weight(new or heft or 1, backend, self._sums[where] - heft)
            self._sums[where] += weight - heft
            self._hefts[backend] = weight
            self._localities[backend] = where
        self._sets = None

    def _placed(self, backend: B) -> Locality:
        where: object = self._locality(backend)
        if not isinstance(where, Locality):
            raise InvalidSetting(f"locality of {backend!r} must be a Locality, not {where!r}")
        return where

    def _current(self) -> list[HostSet[B]]:
        if self._sets is None:
            self._sets = self._build()
        return self._sets

    def _build(self) -> list[HostSet[B]]:
        last = max((each.priority for each in self._localities.values()), default=-1)
        groups: list[dict[Locality, list[B]]] = [{} for _ in range(last + 1)]
        why: list[Counter[str]] = [Counter() for _ in groups]
        for backend, weight in self._weights.items():
            where = self._localities[backend]
            groups[where.priority].setdefault(where, []).append(backend)
            why[where.priority][self._state(backend, weight)] += 1
        self._loads = loads(
            [Health(each.total(), each["healthy"], each["degraded"]) for each in why],
            overprovisioning_factor=self._overprovisioning,
            healthy_panic_threshold=self._threshold,
        )
        return [self._host_set(*each) for each in zip(groups, self._loads.panic, strict=True)]

    def _state(self, backend: B, weight: float) -> str:
        if not weight:
            return "quiesced"
        return "degraded" if backend in self._degraded else "healthy"

    def _host_set(self, groups: Mapping[Locality, Sequence[B]], panic: bool) -> HostSet[B]:
        def serves(backend: B) -> bool:
            return panic or self._state(backend, self._weights[backend]) == "healthy"

        shared = dict(shares(groups, serves, self._hefts, self._locality_weights))
        known = HostSet(list(shared), list(shared.values()))
        for group in groups.values():
            for backend in group:
                if backend not in shared:
                    known.closed[self._state(backend, self._weights[backend])] += 1
        if shared:
            known.table = self._table([self._names[host] for host in shared], known.shares)
        return known

    @abstractmethod
    def _table(self, names: Sequence[bytes], shares: Sequence[float]) -> Table:
        """Build the table of some hosts, of which there is one at least."""

    def chooser(self, count: int) -> Chooser:
        sets = self._current()
        place = {backend: number for number, backend in enumerate(self._weights)}
        if self._factor is not None:

            def choose_each(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
                picked[:] = [place[self.pick_hashed(digest)] for digest in hashes.tolist()]

            return choose_each
        places = [np.array([place[host] for host in each.hosts], dtype=np.intp) for each in sets]
        edges = np.array(self._loads.edges)

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            percents = (hashes % np.uint64(100)).astype(np.intp) + 1
            priorities = np.searchsorted(edges, percents) % len(sets)
            for priority, known in enumerate(sets):
                here = np.flatnonzero(priorities == priority)
                if len(here):
                    if known.table is None:
                        raise refusal([known])
                    picked[here] = places[priority][known.table.owners(hashes[here])]

        return choose

    def eligible(self) -> int:
        return sum(len(known.hosts) for known in self._current())

    def refusal(self) -> NoBackendAvailable:
        return refusal(self._current())


def refusal(sets: Sequence[HostSet[B]]) -> NoBackendAvailable:
    """Say why nobody of these was picked."""
    counts = Counter[str]()
    for known in sets:
        counts += known.closed
        counts["avoided"] += len(known.hosts)
    counts = +counts
    if not counts:
        return NoBackendAvailable("empty")
    return NoBackendAvailable(next(iter(counts)) if len(counts) == 1 else "mixed", dict(counts))
