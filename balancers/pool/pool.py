"""Combines a balancer and gates.  The effective weight of a backend is weight × Π factors."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

from balancers._internal.checks import (
    shown,
    valid_now,
)
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.event import Event
from balancers.gate import Gate
from balancers.pool._census import Census
from balancers.pool._change import Change
from balancers.pool._gate_set import GateSet
from balancers.pool._limit import PoolLimit
from balancers.pool._members import Members
from balancers.pool._planning import Planning
from balancers.pool._requests import PoolRequests
from balancers.pool._taken import take, taking
from balancers.pool.group import Group
from balancers.pool.lease import (
    LeaseContext,
)

__all__ = ["Pool"]


class Pool(PoolRequests[B], Planning[B]):
    """Picks a backend for each request, with one balancer and any number of gates.

    >>> from balancers import WeightedLeastConnections
    >>> pool = Pool(WeightedLeastConnections({"10.0.0.1:80": 1, "10.0.0.2:80": 3}))
    >>> lease = pool.acquire(now=0.0)
    >>> lease.backend, pool.in_flight(lease.backend)
    ('10.0.0.2:80', 1)
    >>> pool.release(lease, now=0.2, ok=True)

    All members of the balancer become members of the pool at ``now`` (seconds).  When no member is
    open under all gates, but some members are open under the hard gates, the pool *fails open*: it
    ignores the soft gates, for example health.  This is called a panic.  ``panic`` is a number from
    0 to 1.  A panic also begins when the number of members that no gate closes, divided by the
    number that no hard gate closes, is below ``panic``.  It ends when the quotient is ``calm``
    (default: ``panic``) or more.  With ``panic=None`` the pool never ignores soft gates.  Gates
    with ``last_resort`` are ignored first, and for every ``panic``.

    ``limit`` (1 or more) is the highest number of requests in flight on all members together.  Each
    :class:`~balancers.Event` is appended to ``events``, a deque with a ``maxlen``.

    ``acquire`` costs the balancer's ``pick`` and O(gates).  A change of a gate costs one ``put``
    per changed backend.  When a panic begins or ends, the cost is O(n).  No method blocks or
    awaits.  Threads must share one lock for a pool, its gates and its generator.  After an
    error nothing has changed.  A copy has the counts but not the leases.  Raises InvalidSetting,
    InvalidTime, IncompatibleGate for a fractional gate over a balancer that is not fractional, and
    AlreadyInUse for a balancer or gate of another pool.
    """

    def __init__(
        self,
        balancer: Balancer[B],
        gates: Iterable[Gate[B]] = (),
        *,
        panic: float | None = 0.0,
        calm: float | None = None,
        limit: int | None = None,
        events: deque[Event] | None = None,
        now: float = 0.0,
    ) -> None:
        if isinstance(balancer, type) or not callable(getattr(balancer, "pick", None)):
            raise TypeError(f"balancer must be a balancer object, not {shown(balancer)}")
        gate_set = GateSet(gates, balancer)
        census = Census(gate_set, panic, calm)
        members = Members(balancer, gate_set, census, events, valid_now(now, -inf))
        pool_limit = None if limit is None else PoolLimit(limit, events)
        super().__init__(balancer, members, gate_set, census, pool_limit)
        with taking(balancer, *self._gates):
            for gate in self._gates:
                gate.attach(members.in_flight, events)
            members.change(Change(dict(balancer.weights)), members.now)

    def group(
        self, balancer: Balancer[B], members: Iterable[B] | Mapping[B, float] = ()
    ) -> Group[B]:
        """Return a group: some of the members, with a balancer of its own; O(group).

        ``members`` are backends of the pool, or a mapping of them to weights in the group.  The
        members of the balancer are members of the group too.  Raises UnknownBackend for a backend
        that is not a member of the pool, and IncompatibleGate if a gate is fractional and the
        balancer is not.  Raises InvalidWeight, AlreadyInUse, TypeError.
        """
        return Group(self, balancer, members)

    def lease(
        self,
        clock: Callable[[], float],
        key: Key | None = None,
        prefer: B | None = None,
        strict: bool = False,
        avoid: Collection[B] = (),
        cost: int = 0,
        among: Sequence[B] | None = None,
    ) -> LeaseContext[B]:
        """Acquire a lease for one ``with`` block, and release it at the end.

        ``clock`` returns the times in seconds, for example ``time.monotonic``.  The end of the
        block is a success, an Exception a failure, another BaseException unknown.  Call
        :meth:`Lease.failed` for a failure without an exception.  Raises TypeError.
        """
        if not callable(clock):
            raise TypeError(f"clock must be a function that returns seconds, not {shown(clock)}")
        what = partial(self.acquire, key=key, prefer=prefer, strict=strict, avoid=avoid)
        acquire = partial(what, cost=cost, among=among)
        return LeaseContext(clock, acquire, self.release)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for part in (self._balancer, *self._gates):
            take(part)
        for member in self._by_backend.values():
            self._members.groups.equip(member)
        self._use_groups()
