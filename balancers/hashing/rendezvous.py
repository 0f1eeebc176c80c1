"""Implements rendezvous hashing: the backend with the highest score for the key is picked.

Source: D. Thaler, C. Ravishankar, 1998; see :class:`Rendezvous`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from math import inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import NO_BACKENDS
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.hashing.hashed_balancer import CHUNK, Chooser, HashedBalancer, mix
from balancers.keys import Hasher, Identity, name_of

__all__ = ["Rendezvous"]

_NOT_FRACTION = np.array(12, dtype=np.uint64)
"""The number of bits of a double that are not its fraction: the sign and the exponent."""
_ONE = np.array(1.0).view(np.uint64)
"""The bits of the double 1."""
_BELOW_ONE = np.array(1 - 2.0**-53)
"""The largest double below 1."""


class Rendezvous(HashedBalancer[B]):
    """Computes a score for the key and each backend, and picks the backend with the highest score.

    A backend's score depends only on the key and on the backend's own name and weight.  So when a
    backend leaves or closes (its weight becomes 0), only its keys move.  When a backend joins, or
    when its weight is raised, keys move only to this backend.  The shares of the keys are
    proportional to the weights, which may be any positive numbers.  The map depends on the names
    and weights of the open members, and not on the order in which they were added.

    The hash of the key and the hash of the name are made odd.  Their product modulo 2⁶⁴ is called
    u.  If the names are random, the values of u are uniform and independent for every key.  If all
    open weights are equal, the score is u.  If they differ, u is scaled to the range from 0 to 1,
    and the score is ln w - ln(-ln u), where w is the weight.  This score has the same order as
    w / -ln u.  If two scores are equal, the backend whose name is first in byte order is picked.

    >>> lb = Rendezvous({"small": 1, "large": 3})
    >>> [lb.pick(key) for key in range(1000)].count("large")
    757

    Cost: ``pick`` is O(n).  It takes two vector operations, or nine if weights differ.  Joining,
    leaving, opening and closing are O(1).  After a backend has joined or left, the next pick is
    O(n log n).  If weights differ, two machines that round logarithms differently may pick
    different backends for one key in 10¹².
    Source: D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM
    Transactions on Networking 6(1), 1998.  The score is Dietzfelbinger's multiply-shift hashing.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        self._name_factors: dict[B, np.uint64] = {}
        self._open_weights: Counter[float] = Counter()  # how many open members have each weight
        self._key_factor = np.zeros((), dtype=np.uint64)  # reused (a numpy scalar is slower)
        self._ranks: dict[B, int] = {}  # indices in _sorted_members; empty when out of date
        super().__init__(backends, identity=identity, hasher=hasher)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the key's backend; O(n).  Raises MissingKey, InvalidKey, NoBackendAvailable."""
        digest = self.hash_key(key)
        if avoid is not NO_BACKENDS or not self._open:
            return self.pick_hashed(digest, avoid)
        return self._highest(digest)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash; O(n).  Raises InvalidKey, NoBackendAvailable."""
        avoid = self.check_pick(digest, avoid)
        if not avoid:
            return self._highest(digest)
        return next(backend for backend in self.succession(digest) if backend not in avoid)

    def _highest(self, digest: int) -> B:
        self._key_factor[()] = digest | 1
        scores = self._scores(self._key_factor)
        return self._sorted_members[scores.argmax()]

    def succession(self, digest: int) -> Iterator[B]:
        """Yield the open backends in the order of preference of a 64-bit hash.

        Each backend is the one that :meth:`pick_hashed` returns when all before it are avoided.
        Backends are searched lazily; O(n) per backend.  Raises InvalidKey.
        """
        if not self._open:
            return
        self.check_pick(digest, ())
        self._key_factor[()] = digest | 1
        scores = self._scores(self._key_factor)
        lowest = 0 if len(self._open_weights) == 1 else -inf
        for _ in range(self._open):
            first = scores.argmax()
            scores[first] = lowest
            yield self._sorted_members[first]

    def chooser(self, count: int) -> Chooser:
        if not self._ranks:
            self._sort_members()
        places = np.empty(len(self._sorted_members), dtype=np.intp)
        places[[self._ranks[backend] for backend in self._weights]] = np.arange(len(places))
        rows = max(1, CHUNK // len(places))

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            for start in range(0, len(hashes), rows):
                scores = self._scores(hashes[start : start + rows, np.newaxis] | np.uint64(1))
                picked[start : start + rows] = places[scores.argmax(axis=1)]

        return choose

    def _scores(self, key_factor: NDArray[np.uint64]) -> NDArray[Any]:
        """Return the scores of all members, in order of name, for one key or for several keys.

        ``key_factor`` is the odd hash of the key.  For one key it is an array without dimensions.
        For several keys it is an array of one column, and the result has one row per key.
        Closed members have the lowest score.
        """
        if not self._ranks:
            self._sort_members()
        scores = self._multipliers * key_factor
        if len(self._open_weights) == 1:
            return scores
        np.right_shift(scores, _NOT_FRACTION, out=scores)
        np.bitwise_or(scores, _ONE, out=scores)
        uniform = scores.view(np.float64)
        np.subtract(uniform, _BELOW_ONE, out=uniform)
        np.log(uniform, out=uniform)
        np.negative(uniform, out=uniform)
        np.log(uniform, out=uniform)
        np.subtract(self._log_weights, uniform, out=uniform)
        return uniform

    def _sort_members(self) -> None:
        self._sorted_members = sorted(self._weights, key=self._names.__getitem__)
        self._ranks = {backend: rank for rank, backend in enumerate(self._sorted_members)}
        self._multipliers = np.zeros(len(self._sorted_members), dtype=np.uint64)
        self._log_weights = np.full(len(self._sorted_members), -inf)
        for backend, weight in self._weights.items():
            self._set_score_terms(backend, weight)

    def _set_score_terms(self, backend: B, weight: float) -> None:
        rank = self._ranks[backend]
        self._multipliers[rank] = self._name_factors[backend] if weight else 0
        self._log_weights[rank] = log(weight) if weight else -inf

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if old is None:
            self._name_factors[backend] = np.uint64(mix(self._hasher(name)) | 1)
        if old:
            self._open_weights[old] -= 1
            if not self._open_weights[old]:
                del self._open_weights[old]
        if new:
            self._open_weights[new] += 1
        if old is None or new is None:
            self._ranks = {}
            if new is None:
                del self._name_factors[backend]
        elif self._ranks:
            self._set_score_terms(backend, new)
