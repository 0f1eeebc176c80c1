"""Rendezvous hashing: the highest score wins (Thaler and Ravishankar, 1998)."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from math import inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.balancer import Key
from balancers.hashing.hashed_balancer import CHUNK, Chooser, HashedBalancer, mix
from balancers.keys import Hasher, Identity, name_of

__all__ = ["Rendezvous"]

_EXPONENT = np.array(12, dtype=np.uint64)
"""Bits of a double that are no digits of its fraction, its sign among them."""
_ONE = np.array(1.0).view(np.uint64)
_BELOW_ONE = np.array(1 - 2.0**-53)


class Rendezvous(HashedBalancer[B]):
    """Every backend has a score for the key, and the highest wins.

    Joining, leaving, flipping and weighing touch nobody else's score: a backend that leaves gives
    away its own keys only, and raising a weight moves keys only towards it.  Shares are even, or
    proportional to any positive weights; the map is a function of the open set, in any order.

    The score is u, the product modulo 2⁶⁴ of two odd hashes, the key's and the name's: for random
    names uniform and independent, whatever the key.  Where the open weights differ the score is
    ln w - ln(-ln u), which orders as w / -ln u does.  Of equal scores the lesser name wins.

    >>> lb = Rendezvous({"small": 1, "large": 3})
    >>> [lb.pick(key) for key in range(1000)].count("large")
    757

    Cost: ``pick`` O(n), in two vector operations, or eight where weights differ; joining, leaving
    and a flip O(1), and after joining and leaving the next pick O(n log n).  Where weights differ,
    machines that round logarithms differently may disagree on one key in 10¹².
    Source: D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM
    Transactions on Networking 6(1), 1998; the score is Dietzfelbinger's multiply-shift hashing.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        self._factors: dict[B, np.uint64] = {}
        self._weighing: Counter[float] = Counter()  # how many are open with a weight
        self._odd = np.empty((), dtype=np.uint64)  # room for a hash (a scalar is slower)
        self._ranks: dict[B, int] = {}  # places among the names, sorted; none when out of date
        super().__init__(backends, identity=identity, hasher=hasher)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give the key's backend; O(n).  Raises MissingKey, InvalidKey, NoBackendAvailable."""
        digest = self.hash_key(key)
        if avoid or not self._open:
            return self.pick_hashed(digest, avoid)
        return self._first(digest)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Give the backend of a 64-bit hash; O(n).  Raises InvalidKey, NoBackendAvailable."""
        self.check_pick(digest, avoid)
        if not avoid:
            return self._first(digest)
        return next(backend for backend in self.succession(digest) if backend not in avoid)

    def _first(self, digest: int) -> B:
        self._odd[()] = digest | 1
        scores = self._scores(self._odd)
        return self._sorted[scores.argmax()]

    def succession(self, digest: int) -> Iterator[B]:
        """Give the backends of a 64-bit hash, lazily, in the order in which they take over.

        O(n) each.  Raises InvalidKey.
        """
        if not self._open:
            return
        self.check_pick(digest, ())
        scores = self._scores(np.array(digest | 1, dtype=np.uint64))
        lowest = -inf if scores.dtype == np.float64 else 0
        for _ in range(self._open):
            first = scores.argmax()
            scores[first] = lowest
            yield self._sorted[first]

    def chooser(self, count: int) -> Chooser:
        if not self._ranks:
            self._sort()
        places = np.empty(len(self._sorted), dtype=np.intp)
        places[[self._ranks[backend] for backend in self._weights]] = np.arange(len(places))
        rows = max(1, CHUNK // len(places))

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            for start in range(0, len(hashes), rows):
                scores = self._scores(hashes[start : start + rows, np.newaxis] | np.uint64(1))
                picked[start : start + rows] = places[scores.argmax(axis=1)]

        return choose

    def _scores(self, odd: NDArray[np.uint64]) -> NDArray[Any]:
        """Score every member, in order of name, the closed ones lowest; a column gives rows."""
        if not self._ranks:
            self._sort()
        scores = self._odds * odd
        if len(self._weighing) == 1:
            return scores
        np.right_shift(scores, _EXPONENT, out=scores)
        np.bitwise_or(scores, _ONE, out=scores)
        drawn = scores.view(np.float64)
        np.subtract(drawn, _BELOW_ONE, out=drawn)
        np.log(drawn, out=drawn)
        np.negative(drawn, out=drawn)
        np.log(drawn, out=drawn)
        np.subtract(self._logs, drawn, out=drawn)
        return drawn

    def _sort(self) -> None:
        self._sorted = sorted(self._weights, key=self._names.__getitem__)
        self._ranks = {backend: rank for rank, backend in enumerate(self._sorted)}
        self._odds = np.zeros(len(self._sorted), dtype=np.uint64)
        self._logs = np.full(len(self._sorted), -inf)
        for backend, weight in self._weights.items():
            self._weigh_in(backend, weight)

    def _weigh_in(self, backend: B, weight: float) -> None:
        rank = self._ranks[backend]
        self._odds[rank] = self._factors[backend] if weight else 0
        self._logs[rank] = log(weight) if weight else -inf

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if old is None:
            self._factors[backend] = np.uint64(mix(self._hasher(name)) | 1)
        if old:
            self._weighing[old] -= 1
            if not self._weighing[old]:
                del self._weighing[old]
        if new:
            self._weighing[new] += 1
        if old is None or new is None:
            self._ranks = {}
            if new is None:
                del self._factors[backend]
        elif self._ranks:
            self._weigh_in(backend, new)
