"""Limits the load of each backend of a consistent hash.

Source: V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent hashing with bounded loads", SODA
2018.
"""

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from itertools import islice
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import at_least, checked_avoid, number, shown
from balancers._internal.copying import SharesBackends
from balancers._internal.exact import exact
from balancers._internal.taken import take
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import InvalidPick, InvalidSetting, UnknownBackend
from balancers.hashing._bounded_turns import in_turn
from balancers.hashing.hashed_balancer import CHUNK, HashedBalancer
from balancers.outcome import SUCCESS, Outcome

__all__ = ["BoundedLoad"]

_Exact = int | Fraction


class BoundedLoad(SharesBackends, Balancer[B]):
    """Picks the first backend, in the key's order of preference, whose load is below a bound.

    ``over`` is the balancer that determines the order of preference.  The load of a backend is its
    number of requests in flight: those reported by ``started`` and not yet by ``finished``.

    A picked backend has at most ⌈c·(m + 1)·w/W⌉ + ``slack`` requests in flight, the new one
    included.  Here w is the backend's weight and W is the sum of the weights.  m is the number of
    requests in flight before the pick.  W and m include only backends that are neither avoided nor
    quiesced (weight 0: the backend stays a member but is not picked).  At least one of these
    backends is always below its bound.

    With few requests in flight, the fair share is less than one request.  Then the second of two
    simultaneous requests of a key goes to another backend, even if all others are idle.  With
    ``slack=1``, two requests of a key always fit.

    The bound is computed without rounding: ``c`` and the weights have the decimal values that they
    are printed with, so 1.1 is exactly 11/10.  The bound applies at the time of the pick.  It
    becomes smaller when other requests finish, so a backend may then exceed its bound.  Such a
    backend is not picked until its load is below its bound.  Requests that are bound to a backend,
    for example by a sticky session, are counted but never refused.

    The members of ``over`` become the members of this balancer, and ``over`` belongs to it from
    then on.  So change members through this balancer only.  Otherwise picks raise InvalidPick.

    >>> from balancers.hashing import Jump
    >>> lb = BoundedLoad(Jump(["a", "b", "c"]), c=1.25)
    >>> first = lb.pick_hashed(0xDEADBEEF)
    >>> lb.started(first)
    >>> first, lb.pick_hashed(0xDEADBEEF)
    ('c', 'a')
    >>> lb
    <BoundedLoad: c=1.25, slack=0, over <Jump: 3 of 3 open>>

    Cost: ``pick`` costs as much as ``over.pick``, plus O(number of avoided backends), plus one step
    of ``over.succession`` for each backend at its bound.  ``started`` and ``finished`` are O(1).
    Raises InvalidSetting for ``c`` below 1 or not finite, for a ``slack`` that is not an int of 0
    or more, and unless ``over`` is a HashedBalancer.  Raises AlreadyInUse if it is in use.
    """

    keyed = True

    def __init__(self, over: HashedBalancer[B], c: float = 1.25, *, slack: int = 0) -> None:
        if not isinstance(over, HashedBalancer):
            raise InvalidSetting(f"over must be a balancer of balancers.hashing, not {shown(over)}")
        if not 1 <= number("c", c, exact=True) < inf:
            raise InvalidSetting(f"c must be finite and at least 1, not {shown(c)}")
        at_least(0, slack=slack)
        take(over)
        self.fractional: bool = over.fractional
        self._over = over
        self._c = c
        self._slack = slack
        self._c_numerator, self._c_denominator = exact(c).as_integer_ratio()
        self._counts: dict[B, int] = dict.fromkeys(over.weights, 0)
        self._open_weights: dict[B, _Exact] = {}
        # Below its bound: (count - slack) * denominator < numerator * weight.
        self._numerator: _Exact = self._c_numerator  # c·(m + 1) times the denominator of c
        self._denominator: _Exact = 0  # W times the denominator of c
        for backend, weight in over.weights.items():
            self._set_open_weight(backend, weight)

    @property
    def over(self) -> HashedBalancer[B]:
        """The balancer that decides which backend a key belongs to, regardless of loads."""
        return self._over

    @property
    def c(self) -> float:
        """The load that a backend may have, in fair shares.  1.25 allows 25 % more than that."""
        return self._c

    @property
    def slack(self) -> int:
        """The number of requests that a backend may have beyond ``c`` times its fair share."""
        return self._slack

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of every member: a read-only view, in order of insertion."""
        return self._over.weights

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight.  Raises what ``over.put`` raises."""
        self._over.put(backend, weight)
        self._counts.setdefault(backend, 0)
        self._set_open_weight(backend, self._over.weights[backend])

    def discard(self, backend: B) -> None:
        """Remove the backend and its count.  Raises what ``over.discard`` raises."""
        self._over.discard(backend)
        if backend in self._counts:
            self._set_open_weight(backend, 0)
            del self._counts[backend]

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the first backend, in the key's order of preference, that is below its bound.

        Raises MissingKey, InvalidKey, NoBackendAvailable, InvalidPick.
        """
        first = self._over.pick(key, now, avoid)
        numerator, denominator = (
            self._bound_without(avoid) if avoid else (self._numerator, self._denominator)
        )
        weight = self._open_weights.get(first)
        if weight and (self._counts[first] - self._slack) * denominator < numerator * weight:
            return first
        return self._first_below(self._over.hash_key(key), numerator, denominator, avoid)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the first backend, in the order of a 64-bit hash, that is below its bound.

        Raises InvalidKey, NoBackendAvailable, InvalidPick.
        """
        first = self._over.pick_hashed(digest, avoid)
        numerator, denominator = (
            self._bound_without(avoid) if avoid else (self._numerator, self._denominator)
        )
        weight = self._open_weights.get(first)
        if weight and (self._counts[first] - self._slack) * denominator < numerator * weight:
            return first
        return self._first_below(digest, numerator, denominator, avoid)

    def replicas(self, key: Key, k: int) -> list[B]:
        """Return the first ``k`` backends that the key would be sent to: those of :meth:`plan`.

        If no backend is open, the list is empty.  To find the backends that should store copies of
        the key, call ``over.replicas(key, k)``, which does not depend on the loads.
        Raises MissingKey, InvalidKey, InvalidSetting for k below 1.
        """
        at_least(1, k=k)
        self._over.hash_key(key)
        return self.plan(k, key) if self._over.eligible() else []

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return up to ``n`` backends.  Each is the pick when all before it are avoided.

        The bound is smaller for each of them.  Nothing changes.  The cost is that of a pick, plus
        O(n · b) for b backends at their bound.  Raises InvalidSetting unless ``n`` is an int of 1
        or more, and what :meth:`pick` raises.
        """
        at_least(1, n=n)
        digest, avoid = self._over.hash_key(key), checked_avoid(avoid)
        succession = self._over.succession(digest)
        order = (self._open_member(each) for each in succession if each not in avoid)
        c, bound = (self._c_numerator, self._c_denominator), self._bound_without(avoid)
        turns = in_turn(order, self._counts, self._open_weights, self._slack, c, bound)
        planned = islice(turns, min(n, len(self._counts) + 1))
        return list(planned) or [self.pick_hashed(digest, avoid)]

    def hash_key(self, key: Key | None) -> int:
        """Return the hash that ``pick`` uses.  Raises MissingKey, InvalidKey, TypeError."""
        return self._over.hash_key(key)

    def hash_many(self, keys: Iterable[Key]) -> NDArray[np.uint64]:
        """Return the hashes that :meth:`pick` uses for n keys, as an array ``uint64[n]``; O(n).

        Raises InvalidKey, TypeError.
        """
        return self._over.hash_many(keys)

    def pick_many(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the backend that each hash would be sent to at the current loads.

        ``hashes`` is an array ``uint64[n]``.  The result is an array ``intp[n]``: the index of each
        backend in the order of ``weights``.  It ignores the load that these requests would add.
        Cost: ``over.pick_many``, plus one pick for each hash whose first backend is at its bound.
        Raises NoBackendAvailable, InvalidPick; TypeError for another dtype, InvalidKey for another
        shape.
        """
        picked = self._over.pick_many(hashes)
        weights = self._over.weights
        numerator, denominator = self._numerator, self._denominator
        below = {
            backend
            for backend, weight in self._open_weights.items()
            if (self._counts[backend] - self._slack) * denominator < numerator * weight
        }
        passed = np.array([backend not in below for backend in weights], dtype=np.bool_)
        if passed.any():
            members = list(weights)
            places = {backend: place for place, backend in enumerate(members)}
            for start in range(0, len(hashes), CHUNK):
                chunk = picked[start : start + CHUNK]
                for each in np.flatnonzero(passed[chunk]):
                    first: B = members[int(chunk[each])]
                    if first not in self._open_weights:
                        raise self._changed_directly(first)
                    digest = int(hashes[start + each])
                    chunk[each] = places[self._first_below(digest, numerator, denominator, ())]
        return picked

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count a request, picked or bound; O(1).  Ignored if the backend is not a member."""
        if backend in self._counts:
            self._counts[backend] += 1
            if backend in self._open_weights:
                self._numerator += self._c_numerator

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count the end of a request; O(1).  Ignored if the backend has none in flight."""
        if self._counts.get(backend):
            self._counts[backend] -= 1
            if backend in self._open_weights:
                self._numerator -= self._c_numerator

    def load_of(self, backend: B, now: float = 0.0) -> float:
        """Return the number of requests in flight on a member; O(1).  Raises UnknownBackend."""
        if backend in self._counts:
            return self._counts[backend]
        raise UnknownBackend(backend)

    def _bound_without(self, avoid: Collection[B]) -> tuple[_Exact, _Exact]:
        """Return both parts of the bound without the avoided backends; O(avoided)."""
        numerator, denominator = self._numerator, self._denominator
        for backend in {*avoid} & self._open_weights.keys():
            numerator -= self._c_numerator * self._counts[backend]
            denominator -= self._c_denominator * self._open_weights[backend]
        return numerator, denominator

    def _first_below(
        self, digest: int, numerator: _Exact, denominator: _Exact, avoid: Collection[B]
    ) -> B:
        """Return the first backend that has fewer than c·(m + 1)·w/W + slack requests in flight.

        Such a backend always exists: otherwise the sum of the requests would be more than m.
        """
        avoid, slack = checked_avoid(avoid), self._slack
        counts, weights = self._counts, self._open_weights
        for backend in self._over.succession(digest):
            if backend not in weights:
                if backend in avoid:
                    continue
                raise self._changed_directly(backend)
            load = (counts[backend] - slack) * denominator
            if load < numerator * weights[backend] and backend not in avoid:
                return backend
        raise InvalidPick(f"{shown(self._over)} has other members or weights than {shown(self)}")

    def _open_member(self, backend: B) -> B:
        if backend in self._open_weights:
            return backend
        raise self._changed_directly(backend)

    def _changed_directly(self, picked: B) -> InvalidPick:
        return InvalidPick(
            f"{shown(self._over)} picked {shown(picked)}, not an open member of {shown(self)}"
        )

    def _set_open_weight(self, backend: B, weight: float) -> None:
        """Store the exact weight, and update numerator and denominator.  0 removes the weight."""
        old = self._open_weights.pop(backend, 0)
        if weight:
            self._open_weights[backend] = decimal = exact(weight)
            self._denominator += self._c_denominator * decimal
        self._denominator -= self._c_denominator * old
        self._numerator += self._c_numerator * self._counts[backend] * ((weight > 0) - (old > 0))

    def _known_backends(self) -> Iterable[object]:
        return self._counts

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        take(self._over)

    def __repr__(self) -> str:
        return f"<BoundedLoad: c={self._c!r}, slack={self._slack}, over {self._over!r}>"
