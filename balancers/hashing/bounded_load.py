"""Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018)."""

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from math import inf
from numbers import Rational

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import at_least, number
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import InvalidSetting
from balancers.hashing.hashed_balancer import CHUNK, HashedBalancer
from balancers.outcome import SUCCESS, Outcome

__all__ = ["BoundedLoad"]

_Exact = int | Fraction


class BoundedLoad(SharesBackends, Balancer[B]):
    """The key's own backend while it has room; the next in the key's order that has.

    With a request assigned, its backend holds at most max(1, ⌈c·(m + 1)·w/W⌉): m in flight before
    it and W the weights of all that may serve it, who are neither quiesced nor avoided, and w its
    own.  The bound is exact, ``c`` and the weights being the decimals they print as.  It is held
    when a request is assigned: as others finish, who has many in flight may exceed a later bound,
    and gets no more until it does not.  Bound requests count, and are bounded by nobody.

    Somebody always has room.  Who serves when a key's backend has none is the key's own next, so
    that the caches of two backends know it, not everyone's.  As ``c`` grows it becomes the plain
    method.  It counts what it is told by ``started`` and ``finished``; members come and go through
    it, not through ``over``, whose own it takes over.

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

    Cost: ``pick`` that of ``over``, and O(1) a backend without room that is met, O(avoided);
    ``started``, ``finished`` O(1).
    Raises InvalidSetting for ``c`` below 1 or not finite, or what is no keyed balancer that hashes.
    """

    keyed = True

    def __init__(self, over: HashedBalancer[B], c: float = 1.25) -> None:
        if not isinstance(over, HashedBalancer):
            raise InvalidSetting(f"over must be a balancer of balancers.hashing, not {over!r}")
        if not 1 <= number("c", c) < inf:
            raise InvalidSetting(f"c must be finite and 1 or more, not {c!r}")
        self.fractional = over.fractional
        self._over = over
        self._c = c
        self._above, self._below = _exact(c).as_integer_ratio()
        self._counts: dict[B, int] = dict.fromkeys(over.weights, 0)
        self._shares: dict[B, _Exact] = {}  # the weights of the open, exactly
        self._room: _Exact = self._above  # c·(m + 1), m of the open, times what makes c an integer
        self._crowd: _Exact = 0  # W, times the same
        for backend, weight in over.weights.items():
            self._reshare(backend, weight)

    @property
    def over(self) -> HashedBalancer[B]:
        """Who decides whose a key is, loads aside."""
        return self._over

    @property
    def c(self) -> float:
        """How much more than its fair share a backend may hold."""
        return self._c

    @property
    def weights(self) -> Mapping[B, float]:
        """Every member and its weight: a read-only view."""
        return self._over.weights

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert or re-weigh; 0 quiesces.  Raises what ``over`` raises."""
        self._over.put(backend, weight)
        self._counts.setdefault(backend, 0)
        self._reshare(backend, self._over.weights[backend])

    def discard(self, backend: B) -> None:
        """Forget the backend and its requests; a stranger is fine.  Raises what ``over`` raises."""
        self._over.discard(backend)
        if backend in self._counts:
            self._reshare(backend, 0)
            del self._counts[backend]

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give the first of the key's backends that has room.

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        first = self._over.pick(key, now, avoid)
        room, crowd = self._without(avoid) if avoid else (self._room, self._crowd)
        if self._counts[first] * crowd < room * self._shares[first]:
            return first
        return self._next(self._over.hash_key(key), room, crowd, avoid)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Give the backend of a 64-bit hash; raises InvalidKey, NoBackendAvailable."""
        first = self._over.pick_hashed(digest, avoid)
        room, crowd = self._without(avoid) if avoid else (self._room, self._crowd)
        if self._counts[first] * crowd < room * self._shares[first]:
            return first
        return self._next(digest, room, crowd, avoid)

    def replicas(self, key: Key, k: int) -> list[B]:
        """Give the first ``k`` backends that would serve the key now.

        Each when all before it are avoided; all there are when fewer.  O(k) picks.  Loads aside
        they are ``over.replicas(key, k)``: ask that for who should keep copies.
        Raises MissingKey, InvalidKey, InvalidSetting for k below 1.
        """
        at_least(1, k=k)
        digest = self._over.hash_key(key)
        found: dict[B, None] = {}
        while len(found) < min(k, len(self._shares)):
            found[self.pick_hashed(digest, found.keys())] = None
        return list(found)

    def hash_key(self, key: Key | None) -> int:
        """Hash one key as :meth:`pick` does: 64 bits.  Raises MissingKey, InvalidKey, TypeError."""
        return self._over.hash_key(key)

    def hash_many(self, keys: Iterable[Key]) -> NDArray[np.uint64]:
        """Hash keys as :meth:`pick` does; O(n).  Raises InvalidKey, TypeError."""
        return self._over.hash_many(keys)

    def pick_many(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Pick for every hash, each by the loads of now: nothing is counted in between.

        So this tells where keys would go, and must not assign a batch: all of them would meet the
        same room.  The cost of ``over``, and of a pick for each whose own backend has none.
        Raises NoBackendAvailable; TypeError for another dtype, InvalidKey for another shape.
        """
        picked = self._over.pick_many(hashes)
        members = list(self._over.weights)
        room, crowd = self._room, self._crowd
        full = {b for b, w in self._shares.items() if self._counts[b] * crowd >= room * w}
        crowded = np.array([backend in full for backend in members], dtype=np.bool_)
        if crowded.any():
            places = {backend: place for place, backend in enumerate(members)}
            for start in range(0, len(hashes), CHUNK):
                some = picked[start : start + CHUNK]
                for each in np.flatnonzero(crowded[some]):
                    digest = int(hashes[start + each])
                    some[each] = places[self._next(digest, room, crowd, ())]
        return picked

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count one more, bound or not; O(1).  A stranger is ignored."""
        if backend in self._counts:
            self._counts[backend] += 1
            if backend in self._shares:
                self._room += self._above

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count one less; O(1).  A stranger, or one more than began, is ignored."""
        if self._counts.get(backend):
            self._counts[backend] -= 1
            if backend in self._shares:
                self._room -= self._above

    def _without(self, avoid: Collection[B]) -> tuple[_Exact, _Exact]:
        """Give room and crowd of all but these; O(avoided)."""
        room, crowd = self._room, self._crowd
        for backend in {*avoid} & self._shares.keys():
            room -= self._above * self._counts[backend]
            crowd -= self._below * self._shares[backend]
        return room, crowd

    def _next(self, digest: int, room: _Exact, crowd: _Exact, avoid: Collection[B]) -> B:
        """Give the first that holds less than c·(m + 1)·w/W, which is to hold at most its ceiling.

        There is one: did all hold as much, they would hold more than m.
        """
        counts, shares = self._counts, self._shares
        return next(
            backend
            for backend in self._over.succession(digest)
            if counts[backend] * crowd < room * shares[backend] and backend not in avoid
        )

    def _reshare(self, backend: B, weight: float) -> None:
        """Bring room and crowd up to date with a weight."""
        old = self._shares.pop(backend, 0)
        if weight:
            self._shares[backend] = share = weight if isinstance(weight, int) else _exact(weight)
            self._crowd += self._below * share
        self._crowd -= self._below * old
        self._room += self._above * self._counts[backend] * ((weight > 0) - (old > 0))

    def _known_backends(self) -> Iterable[object]:
        return self._counts

    def __repr__(self) -> str:
        return f"<BoundedLoad, c={self._c!r}, over {self._over!r}>"


def _exact(value: float) -> Fraction:
    """Give the decimal that a float prints as."""
    given: object = value
    return Fraction(given if isinstance(given, Rational) else repr(float(value)))
