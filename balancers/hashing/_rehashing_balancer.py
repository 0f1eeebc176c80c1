"""The base class of balancers whose table includes closed members: their hashes are rehashed."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.hashing.hashed_balancer import BITS, Chooser, HashedBalancer, mix, mix_many

__all__ = ["REHASHES", "RehashingBalancer"]

REHASHES = 20
"""Owners looked up before the open members are compared: enough while one in four is open."""


class RehashingBalancer(HashedBalancer[B]):
    """A table in which every hash has an owner; the hash of a closed owner is hashed again.

    A flip changes nothing in the table.  Keys that mapped to the closed backend are rehashed; all
    others keep their backend.  But when a closed backend leaves, or a backend joins closed, keys
    that were rehashed because of it, or are from now on, move between the other backends.  After 20
    closed owners the open members are compared, each by the hash of its name and the key's hash
    (rendezvous).

    A subclass defines :meth:`_owner` and :meth:`_owner_search`, which must agree.  Both include
    closed members.
    """

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash; O(1) table look-ups while a fair share is open.

        O(n) when hardly any backend is open.  Raises InvalidKey, NoBackendAvailable.
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
        """Yield the backends of a 64-bit hash, lazily, in the order in which they take over.

        O(1) table look-ups per backend, and O(n log n) once, after the first 20 look-ups.
        Raises InvalidKey.
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
        ranked = [backend for backend, weight in self._weights.items() if weight]
        ranked.sort(key=lambda each: (self._score(digest, each), self._names[each]), reverse=True)
        for backend in ranked:
            if backend not in found:
                yield backend

    @abstractmethod
    def _owner(self, digest: int) -> B:
        """Return the member, open or closed, that owns a hash.  There is at least one member."""

    @abstractmethod
    def _owner_search(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        """Prepare to look up arrays of hashes, ``count`` in all.

        The function that is returned returns the index of each owner, in the order of ``weights``.
        """

    def chooser(self, count: int) -> Chooser:
        owners = self._owner_search(count)
        members = list(self._weights)
        closed = np.fromiter(
            (not weight for weight in self._weights.values()), dtype=np.bool_, count=len(members)
        )
        if not closed.any():

            def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
                picked[:] = owners(hashes)

            return choose

        def choose_open(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
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
                picked[left] = self._highest_scores(mix_many(digests), members)

        return choose_open

    def _highest_scores(self, digests: NDArray[np.uint64], members: list[B]) -> NDArray[np.intp]:
        """Return the index of the open member with the highest score for each hash."""
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
