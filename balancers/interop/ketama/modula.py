"""Reproduces the modulo distribution of libmemcached and of twemproxy.

The hash of a key, modulo the number of slots, selects a slot.  Each slot belongs to a live server.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.hashing.hashed_balancer import Chooser, HashedBalancer
from balancers.interop.ketama.continuum import MAX_POINTS, WORD
from balancers.interop.ketama.hashes import LIBMEMCACHED, hash_named
from balancers.interop.ketama.libmemcached import PointName
from balancers.interop.ketama.twemproxy import ServerName, key_hash
from balancers.interop.ring_points import check_ring_size
from balancers.interop.whole_weights import LastWeights, whole_weight
from balancers.keys import Hasher, Identity, name_of

__all__ = ["LibmemcachedModula", "TwemproxyModula"]


class _Modula(HashedBalancer[B]):
    """Picks servers by a list of slots.

    The hash of a key, modulo the length of the list, selects a slot.  The first pick after a change
    builds the list.
    """

    _slots: list[B] | None = None

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None,
        *,
        identity: Identity[B],
        hasher: Hasher,
    ) -> None:
        self._last_weights: LastWeights[B] = LastWeights()
        super().__init__(backends, identity=identity, hasher=hasher)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the server for a hash; O(1).

        If the server is in ``avoid``, the servers of the next slots are tried.
        Raises InvalidKey, NoBackendAvailable.
        """
        avoid = self.check_pick(digest, avoid)
        slots = self._current_slots()
        first = (digest & WORD) % len(slots)
        for place in range(first, first + len(slots)):
            backend = slots[place % len(slots)]
            if backend not in avoid:
                return backend
        raise self.refusal()

    def _current_slots(self) -> list[B]:
        if self._slots is None:
            self._slots = self._slots_of([each for each, weight in self._weights.items() if weight])
        return self._slots

    @abstractmethod
    def _slots_of(self, live: list[B]) -> list[B]:
        """Return the server of each slot.  Only live servers have slots."""

    def chooser(self, count: int) -> Chooser:
        place = {backend: at for at, backend in enumerate(self._weights)}
        places = np.array([place[backend] for backend in self._current_slots()], dtype=np.intp)

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            picked[:] = places[(hashes & np.uint64(WORD)) % np.uint64(len(places))]

        return choose

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        weight = None if new is None else whole_weight(backend, new, WORD)
        if weight:
            total = self._last_weights.total_with(backend, weight)
            check_ring_size(backend, weight, total, MAX_POINTS, unit="slots")
        self._last_weights.set(backend, weight)
        self._slots = None


class LibmemcachedModula(_Modula[B]):
    """Picks servers by ``modula``, the default distribution of libmemcached 1.0.16.

    Each server with a positive weight has one slot.  A higher weight has no further effect.

    >>> LibmemcachedModula(["10.0.0.1:11211", "10.0.0.2:11211"]).pick("user:42")
    '10.0.0.1:11211'
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        hash: str = "default",  # noqa: A002 - as the client names it
        identity: Identity[B] = name_of,
    ) -> None:
        super().__init__(
            backends, identity=PointName(identity), hasher=hash_named(LIBMEMCACHED, hash)
        )

    def _slots_of(self, live: list[B]) -> list[B]:
        return live


class TwemproxyModula(_Modula[B]):
    """Picks servers by ``distribution: modula`` of twemproxy 0.5.0.

    The settings are those of :class:`TwemproxyKetama`.  Each server has one slot per unit of
    weight.  The servers are sorted by the length of their names.  Names of the same length are
    sorted by their bytes.

    >>> pool = TwemproxyModula({"10.0.0.1:11211": 2, "10.0.0.2:11211": 1})
    >>> pool.pick("user:42")
    '10.0.0.1:11211'
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        names: Mapping[B, str] | None = None,
        hash: str = "fnv1a_64",  # noqa: A002 - as the configuration names it
        hash_tag: str = "",
        identity: Identity[B] = name_of,
    ) -> None:
        super().__init__(
            backends, identity=ServerName(names or {}, identity), hasher=key_hash(hash, hash_tag)
        )

    def _slots_of(self, live: list[B]) -> list[B]:
        ordered = sorted(live, key=lambda each: (len(self._names[each]), self._names[each]))
        return [backend for backend in ordered for _ in range(int(self._weights[backend]))]
