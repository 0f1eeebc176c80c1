"""Defines the base class of ``RING_HASH`` and ``MAGLEV``, which pick hosts by hashes.

Each priority has its own hosts and its own lookup table.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import NO_BACKENDS, checked_avoid, shown
from balancers._internal.types import B
from balancers.errors import InvalidKey, InvalidSetting, NoBackendAvailable, UnknownBackend
from balancers.hashing.hashed_balancer import BITS, Chooser, HashedBalancer
from balancers.interop.envoy.bounded import load_ratio, substitute
from balancers.interop.envoy.host_weights import HostWeights
from balancers.interop.envoy.hosts import HostSet, Table, refusal, shares
from balancers.interop.envoy.locality import Locality, default_locality
from balancers.interop.envoy.priorities import Health, Loads, loads
from balancers.interop.envoy.settings import MAX_UINT32, checked_locality_weights, within
from balancers.keys import Identity, XXHash64, name_of
from balancers.outcome import SUCCESS, Outcome

__all__ = ["HashCluster"]


class HashCluster(HashedBalancer[B]):
    """Picks hosts by the hash of a request.

    This is the base class of RingHash and Maglev.  Each priority has a lookup table from hashes to
    hosts, which a subclass builds.  When a priority panics, all its hosts serve, whatever their
    health.  The function :func:`loads` decides which priorities panic.  With
    ``healthy_panic_threshold=0``, no priority panics.

    A host of weight 0 is unhealthy.  It still counts as a host of its priority, but it serves only
    when that priority panics.  It then has its last positive weight, or weight 1 if its weight was
    always 0.

    The key is the value of a single header.  For any other hash policy, compute the hash with
    :func:`request_hash`, and pass the hash to :meth:`pick_hashed`.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        hash_balance_factor: int | None = None,
        locality: Callable[[B], Locality] = default_locality,
        locality_weights: Mapping[Locality, int] | None = None,
        healthy_panic_threshold: int = 50,
        overprovisioning_factor: int = 140,
        identity: Identity[B] = name_of,
    ) -> None:
        if hash_balance_factor is not None:
            within(100, MAX_UINT32, hash_balance_factor=hash_balance_factor)
        within(0, 100, healthy_panic_threshold=healthy_panic_threshold)
        within(1, MAX_UINT32, overprovisioning_factor=overprovisioning_factor)
        self._balance_factor = hash_balance_factor
        self._locality = locality
        self._locality_weights = checked_locality_weights(locality_weights)
        self._panic_threshold = healthy_panic_threshold
        self._overprovisioning_factor = overprovisioning_factor
        self._host_weights: HostWeights[B] = HostWeights()
        self._localities: dict[B, Locality] = {}
        self._degraded: set[B] = set()
        self._active: dict[B, int] = {}
        self._total_active = 0
        self._host_sets: list[HostSet[B]] | None = None  # one per priority; None after a change
        self._loads = loads(())
        super().__init__(backends, identity=identity, hasher=XXHash64())

    @property
    def loads(self) -> Loads:
        """The percentages of the load that the priorities get, and which priorities panic.

        This is O(1), but the first call after a change builds the lookup tables.
        """
        self._current_sets()
        return self._loads

    def degrade(self, backend: B, degraded: bool = True) -> None:
        """Mark a host as degraded; O(1).  With ``degraded=False``, remove the mark.

        A degraded host serves only when its priority panics.  Its priority still gets a part of the
        load for this host, and the healthy hosts of the priority serve that part.  If the priority
        has no healthy host, the requests of that part are refused.

        Raises UnknownBackend.
        """
        if backend not in self._weights:
            raise UnknownBackend(backend)
        if degraded:
            self._degraded.add(backend)
        else:
            self._degraded.discard(backend)
        self._host_sets = None

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the host for a 64-bit request hash.

        ``avoid`` contains the hosts that were already tried.  Attempts are repeated, as in Envoy,
        until a host is found that is not in ``avoid``.  The first pick after a change builds the
        tables.

        Cost: O(1) expected, O(n) if the host of the hash is overloaded.
        Raises InvalidKey, NoBackendAvailable.
        """
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        host_set, table = self._serving(digest)
        if not avoid:
            return host_set.hosts[self._bounded(host_set, table.owner(digest), digest)]
        for host in self._in_order(host_set, table, digest):
            if host not in avoid:
                return host
        raise self.refusal()

    def succession(self, digest: int) -> Iterator[B]:
        """Yield the hosts in the order of attempts to pick, lazily; O(n) in total.

        Raises InvalidKey, NoBackendAvailable.
        """
        if self.eligible():
            found = set[B]()
            for host in self._in_order(*self._serving(digest), digest):
                if host not in found:
                    found.add(host)
                    yield host

    def _serving(self, digest: int) -> tuple[HostSet[B], Table]:
        """Return the hosts of the priority that serves a hash, and their table."""
        if type(digest) is not int or not 0 <= digest <= BITS:
            raise InvalidKey(f"digest must be an int of 64 bits, not {shown(digest)}")
        sets = self._current_sets()
        if not sets:
            raise NoBackendAvailable("empty")
        host_set = sets[self._loads.priority_of(digest) if len(sets) > 1 else 0]
        if host_set.table is None:
            raise refusal([host_set])
        return host_set, host_set.table

    def _in_order(self, host_set: HostSet[B], table: Table, digest: int) -> Iterator[B]:
        """Yield the hosts in the order in which they are tried, some of them repeatedly.

        The hosts of repeated attempts are tried first.  The other hosts of this priority are tried
        next, and the hosts of the other priorities are tried last.
        """
        attempted: set[int] = set()
        for owner in table.attempts(digest):
            if owner not in attempted:
                yield host_set.hosts[self._bounded(host_set, owner, digest)]
                attempted.add(owner)
                if len(attempted) == len(host_set.hosts):
                    break
        for each in (host_set, *self._current_sets()):
            yield from each.hosts

    def _bounded(self, host_set: HostSet[B], owner: int, digest: int) -> int:
        """Return the owner of a hash, or another host if the owner is overloaded.

        Hosts are given as indices of ``host_set.hosts``.
        """
        factor = self._balance_factor
        if factor is None:
            return owner

        def ratio(place: int) -> float:
            active = self._active.get(host_set.hosts[place], 0)
            return load_ratio(active, self._total_active, factor, host_set.shares[place])

        if ratio(owner) <= 1:
            return owner
        return substitute(owner, digest, len(host_set.hosts), ratio)

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts.

        The call is ignored if the host is not a member.
        """
        if backend in self._weights:
            self._active[backend] = self._active.get(backend, 0) + 1
            self._total_active += 1

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.

        The call is ignored if the host is not a member, or if it has no request in flight.
        """
        if self._active.get(backend):
            self._active[backend] -= 1
            self._total_active -= 1

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        locality = self._locality_of(backend) if old is None else self._localities[backend]
        if new is None:
            self._host_weights.discard(backend, locality)
            del self._localities[backend]
            self._degraded.discard(backend)
            self._total_active -= self._active.pop(backend, 0)
        else:
            self._host_weights.set(backend, new, locality)
            self._localities[backend] = locality
        self._host_sets = None

    def _locality_of(self, backend: B) -> Locality:
        locality: object = self._locality(backend)
        if not isinstance(locality, Locality):
            raise InvalidSetting(
                f"locality of {shown(backend)} must be a Locality, not {shown(locality)}"
            )
        return locality

    def _current_sets(self) -> list[HostSet[B]]:
        if self._host_sets is None:
            self._host_sets = self._build_sets()
        return self._host_sets

    def _build_sets(self) -> list[HostSet[B]]:
        last = max((each.priority for each in self._localities.values()), default=-1)
        groups: list[dict[Locality, list[B]]] = [{} for _ in range(last + 1)]
        states: list[Counter[str]] = [Counter() for _ in groups]
        for backend, weight in self._weights.items():
            locality = self._localities[backend]
            groups[locality.priority].setdefault(locality, []).append(backend)
            states[locality.priority][self._state(backend, weight)] += 1
        self._loads = loads(
            [Health(each.total(), each["healthy"], each["degraded"]) for each in states],
            overprovisioning_factor=self._overprovisioning_factor,
            healthy_panic_threshold=self._panic_threshold,
        )
        return [self._host_set(*each) for each in zip(groups, self._loads.panic, strict=True)]

    def _state(self, backend: B, weight: float) -> str:
        if not weight:
            return "quiesced"
        return "degraded" if backend in self._degraded else "healthy"

    def _host_set(self, groups: Mapping[Locality, Sequence[B]], panic: bool) -> HostSet[B]:
        def serves(backend: B) -> bool:
            return panic or self._state(backend, self._weights[backend]) == "healthy"

        weights = self._host_weights.last_positive
        serving = dict(shares(groups, serves, weights, self._locality_weights))
        host_set = HostSet(list(serving), list(serving.values()))
        for group in groups.values():
            for backend in group:
                if backend not in serving:
                    host_set.closed[self._state(backend, self._weights[backend])] += 1
        if serving:
            names = [self._names[host] for host in serving]
            host_set.table = self._build_table(names, host_set.shares)
        return host_set

    @abstractmethod
    def _build_table(self, names: Sequence[bytes], shares: Sequence[float]) -> Table:
        """Return the lookup table of these hosts.  There is at least one host."""

    def chooser(self, count: int) -> Chooser:
        sets = self._current_sets()
        place = {backend: number for number, backend in enumerate(self._weights)}
        if self._balance_factor is not None:

            def choose_each(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
                picked[:] = [place[self.pick_hashed(digest)] for digest in hashes.tolist()]

            return choose_each
        places = [np.array([place[host] for host in each.hosts], dtype=np.intp) for each in sets]
        edges = np.array(self._loads.edges)

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            percents = (hashes % np.uint64(100)).astype(np.intp) + 1
            priorities = np.searchsorted(edges, percents) % len(sets)
            for priority, host_set in enumerate(sets):
                chosen = np.flatnonzero(priorities == priority)
                if len(chosen):
                    if host_set.table is None:
                        raise refusal([host_set])
                    picked[chosen] = places[priority][host_set.table.owners(hashes[chosen])]

        return choose

    def eligible(self) -> int:
        return sum(len(host_set.hosts) for host_set in self._current_sets())

    def refusal(self) -> NoBackendAvailable:
        return refusal(self._current_sets())
