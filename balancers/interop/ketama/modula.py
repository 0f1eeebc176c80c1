"""Modulo over the live servers, in the slots that each client has."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.errors import RingTooLarge
from balancers.hashing.hashed_balancer import Chooser, HashedBalancer
from balancers.interop.ketama.continuum import MOST, WORD, checked_weight
from balancers.interop.ketama.hashes import LIBMEMCACHED, named
from balancers.interop.ketama.libmemcached import PointName
from balancers.interop.ketama.twemproxy import Alias, key_hash
from balancers.keys import Identity, name_of

__all__ = ["LibmemcachedModula", "TwemproxyModula"]


class _Modula(HashedBalancer[B]):
    """A list of slots, made anew by the first pick after a change."""

    _slots: list[B] | None = None
    _total = 0  # of the weights

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Give the server of a hash, O(1); ``avoid`` goes on to the next slot.

        Raises InvalidKey, NoBackendAvailable.
        """
        self.check_pick(digest, avoid)
        slots = self._current()
        first = (digest & WORD) % len(slots)
        for place in range(first, first + len(slots)):
            backend = slots[place % len(slots)]
            if backend not in avoid:
                return backend
        raise self.refusal()

    def _current(self) -> list[B]:
        if self._slots is None:
            self._slots = self._laid_out([each for each, weight in self._weights.items() if weight])
        return self._slots

    @abstractmethod
    def _laid_out(self, live: list[B]) -> list[B]:
        """Give the slots of the live servers."""

    def chooser(self, count: int) -> Chooser:
        place = {backend: at for at, backend in enumerate(self._weights)}
        places = np.array([place[backend] for backend in self._current()], dtype=np.intp)

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            picked[:] = places[(hashes & np.uint64(WORD)) % np.uint64(len(places))]

        return choose

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        total = self._total + checked_weight(backend, new or 0) - int(old or 0)
        if total > MOST:
            raise RingTooLarge(
                f"with weight {new!r} for {backend!r} there are {total} slots, more than {MOST}"
            )
        self._total = total
        self._slots = None


class LibmemcachedModula(_Modula[B]):
    """``modula`` of libmemcached 1.0.16, its default: any positive weight is the same.

    >>> LibmemcachedModula(["10.0.0.1:11211", "10.0.0.2:11211"]).pick("user:42")
    '10.0.0.1:11211'
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        hash: str = "default",  # noqa: A002 - the client's own word
        identity: Identity[B] = name_of,
    ) -> None:
        super().__init__(backends, identity=PointName(identity), hasher=named(LIBMEMCACHED, hash))

    def _laid_out(self, live: list[B]) -> list[B]:
        return live


class TwemproxyModula(_Modula[B]):
    """``distribution: modula`` of twemproxy 0.5.0; the settings are those of its ketama.

    Each server has as many slots as its weight, the shortest names first, then by their bytes.

    >>> pool = TwemproxyModula({"10.0.0.1:11211": 2, "10.0.0.2:11211": 1})
    >>> pool.pick("user:42")
    '10.0.0.1:11211'
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        names: Mapping[B, str] | None = None,
        hash: str = "fnv1a_64",  # noqa: A002 - the configuration's own word
        hash_tag: str = "",
        identity: Identity[B] = name_of,
    ) -> None:
        super().__init__(
            backends, identity=Alias(names or {}, identity), hasher=key_hash(hash, hash_tag)
        )

    def _laid_out(self, live: list[B]) -> list[B]:
        ordered = sorted(live, key=lambda each: (len(self._names[each]), self._names[each]))
        return [backend for backend in ordered for _ in range(int(self._weights[backend]))]
