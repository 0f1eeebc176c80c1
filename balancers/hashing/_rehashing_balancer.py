"""Methods whose table knows every member, closed or not: a closed one's hash is hashed again."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.hashing.hashed_balancer import BITS, Chooser, HashedBalancer, mix, mix_many

__all__ = ["REHASHES", "RehashingBalancer"]

REHASHES = 20
"""Owners asked before the open members are compared: enough while one in four is open."""


class RehashingBalancer(HashedBalancer[B]):
    """A table that owns every hash, walked by re-hashing.

    A flip touches nothing, and moves the keys of the one that flips only: whoever met it moves on,
    whoever did not never noticed.  But who leaves while it is closed, and who joins closed,
    moves keys between the others: those that met it.  After 20 closed owners the open members are
    compared, each by the hash of its name with the key's (rendezvous).

    A subclass defines :meth:`_owner` and :meth:`_owners`, which must agree, closed members and all.
    """

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Give the backend of a 64-bit hash; O(1) table lookups while a fair share is open.

        O(n) when hardly anybody is.  Raises InvalidKey, NoBackendAvailable.
        """
        self.check_pick(digest, avoid)
        weights = self._weights
        for _ in range(REHASHES):
            backend = self._owner(digest)
            if weights[backend] and backend not in avoid:
                return backend
            digest = mix(digest)
        return max(
            (backend for backend, weight in weights.items() if weight and backend not in avoid),
            key=lambda backend: (self._score(digest, backend), self._names[backend]),
        )

    def succession(self, digest: int) -> Iterator[B]:
        """Give the backends of a 64-bit hash, lazily, in the order in which they take over.

        O(1) table lookups a backend, and O(n log n) once, past the first 20.  Raises InvalidKey.
        """
        if not self._open:
            return
        self.check_pick(digest, ())
        found: set[B] = set()
        for _ in range(REHASHES):
            backend = self._owner(digest)
            if self._weights[backend] and backend not in found:
                found.add(backend)
                yield backend
            digest = mix(digest)
        left = [backend for backend, weight in self._weights.items() if weight]
        left.sort(key=lambda each: (self._score(digest, each), self._names[each]), reverse=True)
        for backend in left:
            if backend not in found:
                yield backend

    @abstractmethod
    def _owner(self, digest: int) -> B:
        """Give the member, open or closed, that a hash belongs to; there is one."""

    @abstractmethod
    def _owners(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        """Prepare the same for arrays of hashes, ``count`` in all: the places of their owners."""

    def chooser(self, count: int) -> Chooser:
        owners = self._owners(count)
        members = list(self._weights)
        closed = np.fromiter(
            (not weight for weight in self._weights.values()), dtype=np.bool_, count=len(members)
        )
        if not closed.any():

            def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
                picked[:] = owners(hashes)

            return choose

        def choose_again(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            picked[:] = owners(hashes)
            left = np.flatnonzero(closed[picked])
            digests = hashes[left]
            for _ in range(REHASHES - 1):
                if not len(left):
                    return
                digests = mix_many(digests)
                picked[left] = owners(digests)
                still = closed[picked[left]]
                left, digests = left[still], digests[still]
            if len(left):
                picked[left] = self._compared(mix_many(digests), members)

        return choose_again

    def _compared(self, digests: NDArray[np.uint64], members: list[B]) -> NDArray[np.intp]:
        """Give the places that comparing the open members leads to."""
        opened = [place for place, backend in enumerate(members) if self._weights[backend]]
        opened.sort(key=lambda place: self._names[members[place]])
        best = np.zeros(len(digests), dtype=np.uint64)
        places = np.full(len(digests), opened[0], dtype=np.intp)
        for place in opened:
            scores = mix_many(digests ^ np.uint64(self._name_hash(members[place])))
            better = scores >= best
            best[better] = scores[better]
            places[better] = place
        return places

    def _score(self, digest: int, backend: B) -> int:
        return mix(digest ^ self._name_hash(backend))

    def _name_hash(self, backend: B) -> int:
        return self._hasher(self._names[backend]) & BITS
