"""Implements a keyed balancer that sends no key elsewhere because its backend is full.

Source: ``hash-preserve-affinity always`` of HAProxy 3.2, its default.
"""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

from balancers._internal.checks import at_least, checked_avoid, shown
from balancers._internal.refusals import has_room_later
from balancers._internal.taken import take, wrapping
from balancers._internal.types import B
from balancers.balancer import Condition, Key
from balancers.errors import InvalidPick, InvalidSetting, NoBackendAvailable
from balancers.hashing.hashed_balancer import HashedBalancer
from balancers.membership import Membership

__all__ = ["OwnerOnly"]


class OwnerOnly(Membership[B]):
    """Picks the owner of a key, and refuses the request while only limits close the owner.

    ``over`` is the balancer that determines the order of preference of a key.  The owner is the
    first backend in this order that is open or *full*.  It is full while nothing but limits of
    requests or of cost in flight close it, or leave no room for the cost of the request.  A limit
    alone would send the key to the next backend; here the request can wait for its owner, for
    example in an :class:`~balancers.overload.AdmissionQueue`.  If the owner drains, is down or
    leaves, or if the cost is above its limit, the next backend is the owner.

    >>> from balancers import ConnectionLimit, HashRing, NoBackendAvailable, Pool
    >>> lb = OwnerOnly(HashRing(["a", "b", "c"]))
    >>> pool = Pool(lb, [ConnectionLimit(1)])
    >>> pool.acquire(now=0.0, key="user:42").backend
    'b'
    >>> try:
    ...     pool.acquire(now=1.0, key="user:42")
    ... except NoBackendAvailable as refusal:
    ...     print(refusal.reason, refusal.full, lb.owner("user:42"))
    saturated 1 b
    >>> pool.set_weight("b", 0)
    >>> pool.acquire(now=2.0, key="user:42").backend
    'a'

    The pool says why it closes a backend, by ``condition_changed``.  Without a pool, a backend of
    weight 0 is closed, and not full.

    The members of ``over`` become the members of this balancer, and ``over`` belongs to it from
    then on.  So change members through this balancer only.  Otherwise picks raise InvalidPick.
    Ties and weights are those of ``over``.  Every method costs what that of ``over`` costs.

    Raises InvalidSetting unless ``over`` is a HashedBalancer, and AlreadyInUse if it is in use.
    """

    keyed = True

    def __init__(self, over: HashedBalancer[B]) -> None:
        if not isinstance(over, HashedBalancer):
            raise InvalidSetting(f"over must be a balancer of balancers.hashing, not {shown(over)}")
        self.fractional: bool = over.fractional
        self._over = over
        self._full: set[B] = set()
        self._last_weights: dict[B, float] = {}  # the last positive weights
        with wrapping(over):
            super().__init__(dict(over.weights))

    @property
    def over(self) -> HashedBalancer[B]:
        """The balancer that determines the order of preference of a key."""
        return self._over

    def owner(self, key: Key, avoid: Collection[B] = ()) -> B | None:
        """Return the backend that the key belongs to, even if it is full.

        Backends in ``avoid`` are left out.  The result is None if no other backend is open or full.
        Raises MissingKey, InvalidKey, TypeError.
        """
        return next(self._owners(key, avoid), None)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the owner of the key, or of the rest if the owner is in ``avoid``.

        Raises NoBackendAvailable, with ``full`` set to 1, if the owner is full.  Raises MissingKey,
        InvalidKey, NoBackendAvailable, InvalidPick.
        """
        return self.plan(1, key, now, avoid)[0]

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return up to ``n`` backends, each of which is the owner if those before it are avoided.

        The list ends before the first owner that is full.  Raises what :meth:`pick` raises, and
        InvalidSetting for ``n`` below 1.
        """
        at_least(1, n=n)
        avoid, plan = checked_avoid(avoid), list[B]()
        for backend in islice(self._owners(key, avoid), min(n, len(self._weights) + 1)):
            if not self._weights[backend] or backend in avoid:
                if not plan:
                    raise NoBackendAvailable("saturated", {"saturated": 1}, full=1)
                break
            plan.append(backend)
        if not plan:
            raise self.refusal()
        return plan

    def condition_changed(self, backend: B, condition: Condition) -> None:
        """Called when the reason changes for which the pool closes the backend."""
        if condition == "full":
            self._full.add(backend)
        else:
            self._full.discard(backend)
        if self._weights.get(backend) == 0:
            self._over.put(backend, self._weight_in_order(backend))

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if new is None:
            self._over.discard(backend)
            self._full.discard(backend)
            self._last_weights.pop(backend, None)
            return
        self._over.put(backend, new or self._weight_in_order(backend))
        if new:
            self._last_weights[backend] = new

    def _weight_in_order(self, backend: B) -> float:
        """Return the weight in ``over`` of a backend of weight 0."""
        return self._last_weights.get(backend, 0) if backend in self._full else 0

    def _owners(self, key: Key | None, avoid: Collection[B]) -> Iterator[B]:
        """Return the backends that are open or full and not avoided, in the order of the key.

        A pool also avoids open backends whose limit has no room for the cost of the request.  They
        are full for this request.
        """
        avoid, over = checked_avoid(avoid), self._over
        for backend in over.succession(over.hash_key(key)):
            if backend not in avoid or has_room_later(backend, avoid):
                if backend not in self._weights:
                    raise InvalidPick(
                        f"{shown(over)} picked {shown(backend)}, not a member of {shown(self)}"
                    )
                yield backend

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        take(self._over)

    def __repr__(self) -> str:
        return f"<OwnerOnly: over {self._over!r}>"
