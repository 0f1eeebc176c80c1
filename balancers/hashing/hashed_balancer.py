"""What every keyed balancer of this folder offers, for one hash or a hundred million."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sized
from itertools import islice
from typing import Any, cast

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from balancers._internal.checks import at_least, checked_avoid
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidKey
from balancers.keys import Murmur3, key_bytes
from balancers.named_membership import NamedMembership

__all__ = ["BITS", "CHUNK", "GOLDEN", "Chooser", "HashedBalancer", "mix", "mix_many"]

BITS = (1 << 64) - 1
CHUNK = 1 << 15
"""Hashes looked up at once: what is in between stays in the caches (measured)."""
Chooser = Callable[[NDArray[np.uint64], NDArray[np.intp]], None]
"""Write the places of the members, in order, that some hashes belong to."""

GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


class HashedBalancer(NamedMembership[B]):
    """A keyed balancer whose pick is a function of the key's 64-bit hash and of its members.

    A subclass defines :meth:`pick_hashed` and :meth:`chooser`, which must agree.

    >>> from balancers import Maglev
    >>> lb = Maglev(["a", "b", "c"])
    >>> places = lb.pick_many(lb.hash_many(["user:42", "user:43"]))
    >>> [list(lb.weights)[place] for place in places] == [lb.pick("user:42"), lb.pick("user:43")]
    True
    """

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give the key's backend, as :meth:`pick_hashed` of its hash.

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        return self.pick_hashed(self.hash_key(key), avoid)

    @abstractmethod
    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Give the backend of a 64-bit hash; raises InvalidKey, NoBackendAvailable."""

    def replicas(self, key: Key, k: int) -> list[B]:
        """Give the key's first ``k`` different backends, in the order in which they take over.

        Each is who serves when all before it are avoided; all there are when fewer.  O(k) picks.
        Raises MissingKey, InvalidKey, InvalidSetting for k below 1.
        """
        at_least(1, k=k)
        return list(islice(self.succession(self.hash_key(key)), k))

    def succession(self, digest: int) -> Iterator[B]:
        """Give the backends of a 64-bit hash, lazily, in the order in which they take over.

        Each is who is picked when all before it are avoided.  Void once members change.  A pick a
        backend.  Raises InvalidKey.
        """
        found: dict[B, None] = {}
        while len(found) < self.eligible():
            backend = self.pick_hashed(digest, found.keys())
            found[backend] = None
            yield backend

    def hash_many(self, keys: Iterable[Key]) -> NDArray[np.uint64]:
        """Hash keys as :meth:`pick` does: ``uint64[n]`` of n bytes, str or int, or of an array.

        O(n), in a loop: a hash takes ten times as long as a lookup, so keep them.  Of an iterator
        without a length parts are joined in the end, which takes the result's memory twice.  An
        array of fixed-width bytes or text has lost the NULs at the end of its keys.
        Raises InvalidKey, TypeError.
        """
        if isinstance(keys, str | bytes):
            raise TypeError(f"keys must be an iterable of keys, not {keys!r}")
        if isinstance(keys, np.ndarray):
            array = cast("NDArray[Any]", keys)
            if array.ndim != 1:
                raise InvalidKey(f"keys must have one dimension, not shape {array.shape}")
            known = np.empty(len(array), dtype=np.uint64)
            for start in range(0, len(array), CHUNK):
                listed: list[Key] = array[start : start + CHUNK].tolist()
                known[start : start + CHUNK] = self._hashes(listed)
            return known
        left = iter(keys)
        if isinstance(keys, Sized):
            known = np.empty(len(keys), dtype=np.uint64)
            for start in range(0, len(known), CHUNK):
                known[start : start + CHUNK] = self._hashes(list(islice(left, CHUNK)))
            return known
        parts: list[NDArray[np.uint64]] = []
        while chunk := list(islice(left, CHUNK)):
            parts.append(self._hashes(chunk))
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)

    def pick_many(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Pick for each of ``uint64[n]`` hashes: ``intp[n]``, places in the order of ``weights``.

        ``list(lb.weights)[lb.pick_many(lb.hash_many(keys))[i]]`` is ``lb.pick(keys[i])``, always.
        Beside the result, memory does not grow with n.  No hashes are picked for by nobody.
        Raises NoBackendAvailable; TypeError for another dtype, InvalidKey for another shape.
        """
        if not isinstance(cast("object", hashes), np.ndarray) or hashes.dtype != np.uint64:
            raise TypeError(f"hashes must be an array of uint64, not {_told(hashes)}")
        if hashes.ndim != 1:
            raise InvalidKey(f"hashes must have one dimension, not shape {hashes.shape}")
        picked = np.empty(len(hashes), dtype=np.intp)
        if len(hashes):
            if not self.eligible():
                raise self.refusal()
            choose = self.chooser(len(hashes))
            for start in range(0, len(hashes), CHUNK):
                choose(hashes[start : start + CHUNK], picked[start : start + CHUNK])
        return picked

    @abstractmethod
    def chooser(self, count: int) -> Chooser:
        """Prepare to look up ``count`` hashes, in chunks of up to ``CHUNK``; somebody is open."""

    def eligible(self) -> int:
        """Say how many may be picked: the open ones, unless a program panics."""
        return self._open

    def check_pick(self, digest: int, avoid: Collection[B]) -> Collection[B]:
        """Give ``avoid`` back once it, the hash and the members are fit for a pick."""
        if type(digest) is not int or not 0 <= digest <= BITS:
            raise InvalidKey(f"a hash is an int of 64 bits, not {digest!r}")
        if avoid:
            checked_avoid(avoid)
        if not self._open or (avoid and self._all_avoided(avoid)):
            raise self.refusal()
        return avoid

    def _all_avoided(self, avoid: Collection[B]) -> bool:
        return len(avoid) >= self._open and all(
            backend in avoid for backend, weight in self._weights.items() if weight
        )

    def _hashes(self, keys: list[Key]) -> NDArray[np.uint64]:
        data = map(key_bytes, keys)
        if isinstance(self._hasher, Murmur3):
            seed = self._hasher.seed
            known = (mmh3_x64_128_utupledigest(each, seed)[0] for each in data)
        else:
            known = (self._hasher(each) & BITS for each in data)
        return np.fromiter(known, dtype=np.uint64, count=len(keys))


def mix(digest: int) -> int:
    """Give another 64-bit hash of a hash: the finalizer of SplitMix64, a bijection; O(1).

    >>> hex(mix(1))
    '0x5692161d100b05e5'
    """
    digest = ((digest ^ (digest >> 30)) * _MIX_1) & BITS
    digest = ((digest ^ (digest >> 27)) * _MIX_2) & BITS
    return digest ^ (digest >> 31)


def mix_many(digests: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Give what :meth:`mix` gives, of each: a new array."""
    with np.errstate(over="ignore"):
        z = (digests ^ (digests >> np.uint64(30))) * np.uint64(_MIX_1)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_MIX_2)
        return z ^ (z >> np.uint64(31))


def _told(hashes: object) -> str:
    if isinstance(hashes, np.ndarray):
        return f"one of {cast('NDArray[Any]', hashes).dtype}"
    return repr(hashes)
