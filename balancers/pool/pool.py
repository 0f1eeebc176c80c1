"""Combines a balancer and gates.  The effective weight of a backend is weight × Π factors."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from math import inf
from typing import Any

from balancers._internal.checks import (
    at_least,
    checked_avoid,
    shown,
    valid_now,
)
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import InvalidPick, NoBackendAvailable, NotPlannable
from balancers.event import Event
from balancers.gate import Gate
from balancers.pool._census import Census
from balancers.pool._change import Change
from balancers.pool._gate_set import GateSet
from balancers.pool._limit import PoolLimit
from balancers.pool._members import Members
from balancers.pool._requests import PoolRequests
from balancers.pool._taken import take, taking
from balancers.pool.lease import (
    LeaseContext,
)

__all__ = ["Pool"]


class Pool(PoolRequests[B]):
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
        members = Members(balancer, gate_set, census, events)
        pool_limit = None if limit is None else PoolLimit(limit, events)
        super().__init__(balancer, members, gate_set, census, pool_limit, valid_now(now, -inf))
        with taking(balancer, *self._gates):
            for gate in self._gates:
                gate.attach(members.in_flight, events)
            members.change(Change(dict(balancer.weights)), self._now)

    def plan(
        self, now: float, key: Key | None = None, n: int = 3, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return up to ``n`` different backends for one request, the best one first.

        Each of them could serve the request now.  No request is counted, but the balancer is asked
        once, as for one pick: otherwise all plans would begin with the same backend.  To use a
        plan, pass it to ``acquire`` as ``among``, or a part of it in another order.

        >>> from balancers import Pool, RoundRobin
        >>> pool = Pool(RoundRobin(["a", "b", "c"]))
        >>> pool.plan(now=0.0, n=2), pool.plan(now=0.0)
        (['a', 'b'], ['b', 'c', 'a'])
        >>> pool.acquire(now=0.0, among=["c", "a"]).backend
        'c'

        The cost is that of the method ``plan`` of the balancer.  Raises NoBackendAvailable,
        NotPlannable if the balancer has no such method, InvalidPick, InvalidSetting for ``n`` below
        1, and what ``acquire`` raises for the other arguments.
        """
        plan: Callable[..., list[B]] | None = getattr(self._balancer, "plan", None)
        if plan is None:
            raise NotPlannable(f"{shown(self._balancer)} has no method plan")
        at_least(1, n=n)
        self._now = now = valid_now(now, self._now)
        avoid = checked_avoid(avoid)
        if self._gate_set.due <= now or self._recovered_at:
            self._members.settle(now)
        if self._limit is not None and self._limit.full:
            raise self._refusals.refusal(avoid, None, self._limit.reason)
        if not (self._census.eligible or self._keyed or avoid):
            raise self._refusals.refusal(avoid, None)
        try:
            backends = plan(n, key, now, avoid)
        except NoBackendAvailable as error:
            raise self._refusals.refusal_of(error, avoid, None) from None
        for backend in backends:
            if backend not in self._by_backend:
                raise InvalidPick(f"{shown(self._balancer)} planned {shown(backend)}, not a member")
        return backends

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
