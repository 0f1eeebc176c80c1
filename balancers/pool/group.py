"""Defines groups: views of some members of a pool, each with a balancer of its own."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from balancers._internal.checks import as_weights, shown, valid_weight
from balancers._internal.copying import SharesBackends
from balancers._internal.taken import take, wrapping
from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import IncompatibleGate
from balancers.pool._group_members import GroupMembers
from balancers.pool._member import Member
from balancers.pool._planning import Planning
from balancers.pool._refusals import Refusals
from balancers.pool._requests import PoolRequests

__all__ = ["Group"]

_SHARED = (
    "_charges", "_gate_set", "_gates", "_gates_started", "_limit", "_members", "_pending",
    "_recovered_at", "_rooms", "_watched",
)  # fmt: skip
"""The parts that a group shares with its pool."""


class Group(SharesBackends, Planning[B]):
    """Some members of a pool, with a balancer of their own: a model, a label, a region.

    :meth:`Pool.group` creates it.  All groups share the accounts of the pool: a host that serves
    two models has one number of requests in flight, one limit and one health.  The balancers of
    all groups of a host are informed of each of its requests, also of those that another group or
    the pool itself picked.  So one that compares loads sees the whole load.  Gates, events, limits
    and a panic are those of the pool, and so are the leases: release them with the pool.

    >>> from balancers import LeastConnections, Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["gpu1", "gpu2", "gpu3"]))
    >>> small = pool.group(LeastConnections(), ["gpu1", "gpu2"])
    >>> large = pool.group(LeastConnections(), ["gpu2", "gpu3"])
    >>> leases = [small.acquire(now=0.0) for _ in range(2)]
    >>> [lease.backend for lease in leases], large.acquire(now=0.0).backend, pool.in_flight("gpu2")
    (['gpu1', 'gpu2'], 'gpu3', 1)
    >>> pool.release(leases[1], now=1.0)

    The effective weight in a group is the weight in the group times the factors of the pool's
    gates.  A member of weight 0 in the pool, and one that is leaving, gets no new requests from
    any group.  A balancer that picks in turn counts only its own picks: requests of other groups
    move no turn.

    A backend that leaves the pool leaves its groups.  If it joins the pool again, it is not in a
    group until :meth:`put` is called.  A group that nothing refers to any longer is closed.  With
    threads, call :meth:`close` under the lock of the pool before: Python may delete the group in
    any thread, for example when it collects garbage.

    ``acquire`` costs what it costs in the pool, and for each further group of the backend, the
    methods ``started`` and ``finished`` of its balancer.  A refusal costs O(combinations of
    reasons).  A copy of a pool has no groups; a copy of a group has a pool of its own.
    """

    def __init__(
        self,
        pool: PoolRequests[B],
        balancer: Balancer[B],
        members: Iterable[B] | Mapping[B, float] = (),
    ) -> None:
        if isinstance(balancer, type) or not callable(getattr(balancer, "pick", None)):
            raise TypeError(f"balancer must be a balancer object, not {shown(balancer)}")
        given = as_weights(members)
        self._share(pool, balancer)
        for gate in self._gates:
            if gate.fractional and not balancer.fractional:
                raise IncompatibleGate(
                    f"{type(gate).__name__} has fractions, which {type(balancer).__name__} ignores"
                )
        wanted = {**balancer.weights, **given}
        for backend in wanted:
            self._members.find(backend)
        try:
            with wrapping(balancer):
                for backend, weight in wanted.items():
                    self.put(backend, weight)
        except BaseException:
            self._forget()
            raise

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of every member in the group, as a read-only view, in order of joining."""
        return MappingProxyType(self._group.weights)

    def put(self, backend: B, weight: float = 1) -> None:
        """Add a member of the pool to the group, or change its weight in the group.

        The balancer is informed of the requests that are in flight on a new member.  Raises
        UnknownBackend if the backend is not a member of the pool, and InvalidWeight.  After an
        error nothing has changed.
        """
        weight = valid_weight(weight, backend)
        member = self._members.find(backend)
        self._group.put(member, weight, self._members.now)
        self._update_groups([member])

    def discard(self, backend: B) -> None:
        """Remove a backend from the group, not from the pool.  Ignored if it is not in the group.

        Its leases stay valid.
        """
        member = self._by_backend.get(backend)
        if member is not None:
            self._group.discard(backend)
            self._update_groups([member])

    def close(self) -> None:
        """Remove all backends from the group, so that the pool no longer informs its balancer."""
        try:
            for backend in reversed([*self._group.views]):
                self.discard(backend)
        finally:
            self._forget()

    def _share(self, pool: PoolRequests[B], balancer: Balancer[B]) -> None:
        for name in _SHARED:
            setattr(self, name, getattr(pool, name))
        self._pool = pool
        self._balancer = balancer
        self._pick = balancer.pick
        self._keyed = balancer.keyed
        census = pool._census  # noqa: SLF001 - a part of the pool
        self._group = GroupMembers(balancer, self._gate_set, census)
        self._by_backend = self._group.by_backend
        self._census = self._group.census
        self._refusals = Refusals(self._group.views, self._gate_set, self._census)

    def _update_groups(self, members: Iterable[Member[B]]) -> None:
        self._members.groups.update(self._group, members)
        self._pool._use_groups()  # noqa: SLF001 - a part of the pool

    def _forget(self) -> None:
        members = [*self._by_backend.values()]
        self._group.clear()
        self._update_groups(members)

    def __getstate__(self) -> dict[str, Any]:
        return {"pool": self._pool, "balancer": self._balancer, "weights": self._group.weights}

    def __setstate__(self, state: dict[str, Any]) -> None:
        pool, balancer = state["pool"], state["balancer"]
        take(balancer)
        self._share(pool, balancer)
        for backend, weight in state["weights"].items():
            self._group.adopt(self._members.find(backend), weight)
        self._update_groups(self._by_backend.values())

    def __del__(self) -> None:
        if hasattr(self, "_group") and self._group.views:
            self._forget()

    def _known_backends(self) -> Iterable[object]:
        return self._members.by_backend

    def __repr__(self) -> str:
        counts = f"{self._census.eligible} of {len(self._group.views)} open"
        return f"<Group of {type(self._balancer).__name__}: {counts}>"
