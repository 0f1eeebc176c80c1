"""Defines how a pool, or a group of its members, plans the backends of a request."""

from collections.abc import Callable, Collection

from balancers._internal.checks import (
    LATEST,
    NO_BACKENDS,
    at_least,
    checked_avoid,
    shown,
    valid_now,
)
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidPick, NoBackendAvailable, NotPlannable
from balancers.pool._requests import Picking

__all__ = ["Planning"]


class Planning(Picking[B]):
    """Plans the backends that a request may try."""

    def plan(  # noqa: C901 - calls cost more time than branches
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
        if not callable(plan):
            raise NotPlannable(f"{shown(self._balancer)} has no method plan")
        if n.__class__ is not int or n < 1:
            at_least(1, n=n)
        if not (now.__class__ is float and self._members.now <= now <= LATEST):
            now = valid_now(now, self._members.now)
        self._members.now = now
        if avoid is not NO_BACKENDS:
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
        if not isinstance(backends, list):
            raise _not_a_list(self._balancer, backends)
        try:
            for backend in backends:
                if backend not in self._by_backend:
                    name = shown(self._balancer)
                    raise InvalidPick(f"{name} planned {shown(backend)}, not a member")
        except TypeError:
            raise _not_a_list(self._balancer, backends) from None
        return backends


def _not_a_list(balancer: object, planned: object) -> InvalidPick:
    return InvalidPick(f"{shown(balancer)} planned {shown(planned)}, not a list of backends")
