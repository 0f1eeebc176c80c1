"""Defines the base class of the balancers that keep closed members in their table.

A closed member has weight 0.  If the owner of a hash is closed, the hash is hashed again.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.hashing.hashed_balancer import BITS, Chooser, HashedBalancer, mix, mix_many

__all__ = ["REHASHES", "RehashingBalancer"]

REHASHES = 20
"""The number of owners that are looked up before the open members are compared directly.

If at least one member in four is open, 20 look-ups nearly always find an open member.
"""


class RehashingBalancer(HashedBalancer[B]):
    """Picks the owner of a hash from a table of all members, open and closed.

    A member is closed while its weight is 0.  If the owner is closed or avoided, the hash is hashed
    again and the owner of the new hash is looked up.  After 20 such owners, a score is computed for
    each open member from its name and from the last hash.  The member with the highest score is
    picked (rendezvous hashing).

    Opening or closing a backend does not change the table.  When a backend closes, the keys that
    were mapped to it are hashed again, and all other keys keep their backend.

    Two other changes may move keys from one open backend to another.  When a closed backend leaves,
    the keys that were hashed again because of it may move.  When a backend joins with weight 0, the
    keys that are hashed again because of it may move.

    A subclass defines :meth:`_owner` and :meth:`_owner_search`.  The two must return the same
    owners, and must include closed members.
    """

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash.

        The cost is O(1) table look-ups, expected, if many of the n members are open.  It is O(n) if
        very few are open.  Raises InvalidKey, NoBackendAvailable.
        """
        avoid = self.check_pick(digest, avoid)
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
        """Yield the open backends in the order of preference of a 64-bit hash.

        Each backend is the one that :meth:`pick_hashed` returns when all before it are avoided.
        Backends are looked up lazily, at O(1) table look-ups per backend.  After 20 look-ups the
        open members are sorted once, which costs O(n log n).
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
        """Return the member, open or closed, that owns a hash.

        Called only while there is at least one member.
        """

    @abstractmethod
    def _owner_search(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        """Return a function that looks up the owners of an array of hashes.

        It returns an array of the same length: the index of each owner in the order of
        ``weights``.  ``count`` is the number of hashes to look up, without those that are hashed
        again.
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
        """Return the index of the open member with the highest score, for each hash."""
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
