"""Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018)."""

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from functools import partial
from itertools import islice
from math import inf
from numbers import Rational

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import at_least, number
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import InvalidSetting
from balancers.hashing._successors import picked_in_turn
from balancers.hashing.hashed_balancer import CHUNK, HashedBalancer
from balancers.outcome import SUCCESS, Outcome

__all__ = ["BoundedLoad"]

_Exact = int | Fraction


class BoundedLoad(SharesBackends, Balancer[B]):
    """Picks the key's own backend, or the key's next one whose load is below a bound.

    After an assignment the backend holds at most max(1, ⌈c·(m + 1)·w/W⌉) requests.  m is the number
    of requests in flight before it, and W the sum of the weights; both are over the backends that
    may serve the request, which are neither quiesced nor avoided.  w is the backend's own weight.
    The bound is exact: ``c`` and the weights count as the decimals they print as.  It holds at the
    moment of the assignment.  When other requests finish, a backend with many in flight may exceed
    a later bound; then it gets no more until it is below.  Bound requests are counted but never
    refused.

    There is always a backend below its bound.  The backend that serves instead is the next one of
    the same key, so a key is cached by few backends and not by all.  With a large ``c`` the picks
    are those of ``over``.  The counts are what ``started`` and ``finished`` report.  Add and remove
    backends through this balancer, not through ``over``, whose members it takes over.

    >>> from balancers.hashing import Jump
    >>> lb = BoundedLoad(Jump(["a", "b", "c"]), c=1.25)
    >>> [lb.pick_hashed(0xDEADBEEF) for _ in range(2)]
    ['c', 'c']
    >>> lb.started("c")
    >>> lb.pick_hashed(0xDEADBEEF)
    'a'
    >>> lb.finished("c")
    >>> lb.pick_hashed(0xDEADBEEF)
    'c'
    >>> lb
    <BoundedLoad: c=1.25, over <Jump: 3 of 3 open>>

    Cost: ``pick`` as ``over``, and O(1) per backend passed because it is at its bound, and
    O(avoided); ``started``, ``finished`` O(1).
    Raises InvalidSetting for ``c`` below 1 or not finite, and unless ``over`` is a HashedBalancer.
    """

    keyed = True

    def __init__(self, over: HashedBalancer[B], c: float = 1.25) -> None:
        if not isinstance(over, HashedBalancer):
            raise InvalidSetting(f"over must be a balancer of balancers.hashing, not {over!r}")
        if not 1 <= number("c", c) < inf:
            raise InvalidSetting(f"c must be finite and at least 1, not {c!r}")
        self.fractional = over.fractional
        self._over = over
        self._c = c
        self._c_numerator, self._c_denominator = _exact(c).as_integer_ratio()
        self._counts: dict[B, int] = dict.fromkeys(over.weights, 0)
        self._open_weights: dict[B, _Exact] = {}
        # A backend of weight w is below its bound while count * denominator < numerator * w.
        self._numerator: _Exact = self._c_numerator  # c·(m + 1), times the denominator of c
        self._denominator: _Exact = 0  # W, times the denominator of c
        for backend, weight in over.weights.items():
            self._set_open_weight(backend, weight)

    @property
    def over(self) -> HashedBalancer[B]:
        """The balancer that decides which backend a key belongs to, regardless of loads."""
        return self._over

    @property
    def c(self) -> float:
        """How many times its fair share a backend may hold."""
        return self._c

    @property
    def weights(self) -> Mapping[B, float]:
        """Every member and its weight: a read-only view."""
        return self._over.weights

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight; 0 quiesces.  Raises what ``over`` raises."""
        self._over.put(backend, weight)
        self._counts.setdefault(backend, 0)
        self._set_open_weight(backend, self._over.weights[backend])

    def discard(self, backend: B) -> None:
        """Remove the backend and its counts; ignored if it is not a member.

        Raises what ``over`` raises.
        """
        self._over.discard(backend)
        if backend in self._counts:
            self._set_open_weight(backend, 0)
            del self._counts[backend]

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the first of the key's backends that is below its bound.

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        first = self._over.pick(key, now, avoid)
        numerator, denominator = (
            self._bound_without(avoid) if avoid else (self._numerator, self._denominator)
        )
        if self._counts[first] * denominator < numerator * self._open_weights[first]:
            return first
        return self._first_below(self._over.hash_key(key), numerator, denominator, avoid)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash.  Raises InvalidKey, NoBackendAvailable."""
        first = self._over.pick_hashed(digest, avoid)
        numerator, denominator = (
            self._bound_without(avoid) if avoid else (self._numerator, self._denominator)
        )
        if self._counts[first] * denominator < numerator * self._open_weights[first]:
            return first
        return self._first_below(digest, numerator, denominator, avoid)

    def replicas(self, key: Key, k: int) -> list[B]:
        """Return the first ``k`` backends that would serve the key now.

        Each serves it when all before it are avoided.  If fewer are open, all of them are returned.
        O(k) picks.  For the backends that should store copies of a key, whatever the loads, call
        ``over.replicas(key, k)``.
        Raises MissingKey, InvalidKey, InvalidSetting for k below 1.
        """
        at_least(1, k=k)
        digest = self._over.hash_key(key)
        in_turn = picked_in_turn(partial(self.pick_hashed, digest), lambda: len(self._open_weights))
        return list(islice(in_turn, k))

    def hash_key(self, key: Key | None) -> int:
        """Return the 64-bit hash of one key, as :meth:`pick` uses it.

        Raises MissingKey, InvalidKey, TypeError.
        """
        return self._over.hash_key(key)

    def hash_many(self, keys: Iterable[Key]) -> NDArray[np.uint64]:
        """Hash keys as :meth:`pick` does; O(n).  Raises InvalidKey, TypeError."""
        return self._over.hash_many(keys)

    def pick_many(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Pick for every hash, each by the current loads: nothing is counted in between.

        The result is ``intp[n]``, indices in the order of ``weights``.  It shows where keys would
        go; do not use it to assign a batch, as every request would meet the same loads.  Costs as
        much as in ``over``, and one pick for each hash whose own backend is at its bound.
        Raises NoBackendAvailable; TypeError for another dtype, InvalidKey for another shape.
        """
        picked = self._over.pick_many(hashes)
        members = list(self._over.weights)
        numerator, denominator = self._numerator, self._denominator
        full = {
            backend
            for backend, weight in self._open_weights.items()
            if self._counts[backend] * denominator >= numerator * weight
        }
        is_full = np.array([backend in full for backend in members], dtype=np.bool_)
        if is_full.any():
            places = {backend: place for place, backend in enumerate(members)}
            for start in range(0, len(hashes), CHUNK):
                chunk = picked[start : start + CHUNK]
                for each in np.flatnonzero(is_full[chunk]):
                    digest = int(hashes[start + each])
                    chunk[each] = places[self._first_below(digest, numerator, denominator, ())]
        return picked

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts, bound or not; O(1).

        Ignored if the backend is not a member.
        """
        if backend in self._counts:
            self._counts[backend] += 1
            if backend in self._open_weights:
                self._numerator += self._c_numerator

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends; O(1).

        Ignored if the backend is not a member or has no request in flight.
        """
        if self._counts.get(backend):
            self._counts[backend] -= 1
            if backend in self._open_weights:
                self._numerator -= self._c_numerator

    def _bound_without(self, avoid: Collection[B]) -> tuple[_Exact, _Exact]:
        """Return the numerator and denominator of the bound without these backends; O(avoided)."""
        numerator, denominator = self._numerator, self._denominator
        for backend in {*avoid} & self._open_weights.keys():
            numerator -= self._c_numerator * self._counts[backend]
            denominator -= self._c_denominator * self._open_weights[backend]
        return numerator, denominator

    def _first_below(
        self, digest: int, numerator: _Exact, denominator: _Exact, avoid: Collection[B]
    ) -> B:
        """Return the first backend that holds fewer than c·(m + 1)·w/W.

        With one more request it holds at most the bound.  There is such a backend: if every one
        held as many or more, together they would hold more than m.
        """
        counts, weights = self._counts, self._open_weights
        return next(
            backend
            for backend in self._over.succession(digest)
            if counts[backend] * denominator < numerator * weights[backend] and backend not in avoid
        )

    def _set_open_weight(self, backend: B, weight: float) -> None:
        """Store the exact weight, and update numerator and denominator; 0 closes."""
        old = self._open_weights.pop(backend, 0)
        if weight:
            exact = weight if isinstance(weight, int) else _exact(weight)
            self._open_weights[backend] = exact
            self._denominator += self._c_denominator * exact
        self._denominator -= self._c_denominator * old
        self._numerator += self._c_numerator * self._counts[backend] * ((weight > 0) - (old > 0))

    def _known_backends(self) -> Iterable[object]:
        return self._counts

    def __repr__(self) -> str:
        return f"<BoundedLoad: c={self._c!r}, over {self._over!r}>"


def _exact(value: float) -> Fraction:
    """Return the decimal that a float prints as."""
    given: object = value
    return Fraction(given if isinstance(given, Rational) else repr(float(value)))
