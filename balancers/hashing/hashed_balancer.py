"""The base class of the keyed balancers in this package, and all of its extension points.

A keyed balancer maps the 64-bit hash of a key to one of its members.  From a map of one hash and
one of many hashes, :class:`HashedBalancer` makes the complete interface: ``pick``, ``pick_many``,
``replicas``, ``succession`` and ``hash_many``.

A subclass must define:

* ``pick_hashed(digest, avoid)``: the backend of one hash.  Call ``check_pick`` first.
* ``chooser(count)``: prepare to look up arrays of hashes, ``count`` hashes in all.  It returns a
  function of two arrays of equal length, ``hashes`` and ``picked``.  This function writes into
  ``picked`` the index of each hash's backend, in the order of ``weights``.  It must pick as
  ``pick_hashed`` does with nothing avoided.  It is called with at most ``CHUNK`` hashes at a time,
  and only if at least one backend can be picked.

A subclass may define:

* ``update_named_index(backend, name, old, new)``, from ``NamedMembership``: called before a backend
  joins (``old`` is None), leaves (``new`` is None) or changes its weight.  Keep an index of your
  own here, and hash names with ``self.hash_key(name)``.  An exception refuses the change.
* ``eligible()``: the number of backends that can be picked; by default the open ones.  Define it if
  an open backend may have no share, or if closed backends are picked too.
* ``succession(digest)``: every backend of a hash, in the order in which they take over.  By default
  it makes one pick per backend, each with those before it avoided.  Define it if you can walk from
  one backend to the next.  It must agree with ``pick_hashed``.
* ``fractional``: a class attribute, False by default.  Set it to True if a pool may pass fractions
  of a weight.

A subclass calls, and does not define:

* ``check_pick(digest, avoid)``: validate the arguments of ``pick_hashed``.  After it there is an
  open backend that is not avoided.
* ``refusal()``: the exception to raise when no backend can be picked.
* ``hash_key(key)``: the 64-bit hash of a key or of a name, by the ``hasher`` of the constructor.
* ``weights``: every member and its weight, in order of insertion.

The constructor passes ``backends``, ``identity`` and ``hasher`` to ``NamedMembership``.  It calls
``update_named_index`` for each backend, so create your own state before ``super().__init__``.

A complete balancer, which moves nearly all keys when a backend opens or closes:

>>> class Modulo(HashedBalancer[str]):
...     def pick_hashed(self, digest, avoid=()):
...         self.check_pick(digest, avoid)
...         order = [b for b, weight in self.weights.items() if weight]
...         order = order[digest % len(order) :] + order[: digest % len(order)]
...         return next(backend for backend in order if backend not in avoid)
...     def chooser(self, count):
...         opened = np.flatnonzero([weight > 0 for weight in self.weights.values()])
...         def choose(hashes, picked):
...             picked[:] = opened[hashes % np.uint64(len(opened))]
...         return choose
>>> lb = Modulo({"a": 1, "b": 0, "c": 1, "d": 1})
>>> lb.pick_hashed(4), lb.pick_hashed(4, avoid=["c"]), list(lb.succession(4))
('c', 'd', ['c', 'd', 'a'])
>>> lb.pick_many(np.array([3, 4, 5], dtype=np.uint64)).tolist()
[0, 2, 3]
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sized
from functools import partial
from itertools import islice
from typing import Any, cast

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from balancers._internal.checks import at_least, checked_avoid
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidKey
from balancers.hashing._successors import picked_in_turn
from balancers.keys import Murmur3, key_bytes
from balancers.named_membership import NamedMembership

__all__ = ["BITS", "CHUNK", "GOLDEN", "Chooser", "HashedBalancer", "mix", "mix_many"]

BITS = (1 << 64) - 1
"""The largest hash, and the mask of 64 bits."""
CHUNK = 1 << 15
"""Hashes per call of a chooser: arrays of this length stay in the processor's caches (measured)."""
Chooser = Callable[[NDArray[np.uint64], NDArray[np.intp]], None]
"""Writes the index of each hash's backend, in the order of ``weights``, into the second array."""

GOLDEN = 0x9E3779B97F4A7C15
"""The increment of SplitMix64: 2⁶⁴ divided by the golden ratio."""
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


class HashedBalancer(NamedMembership[B]):
    """A keyed balancer whose pick is a function of the key's 64-bit hash and of its members.

    A subclass defines :meth:`pick_hashed` and :meth:`chooser`, which must agree.  The module
    docstring of :mod:`balancers.hashing.hashed_balancer` describes every extension point.

    >>> from balancers import Maglev
    >>> lb = Maglev(["a", "b", "c"])
    >>> indices = lb.pick_many(lb.hash_many(["user:42", "user:43"]))
    >>> [list(lb.weights)[index] for index in indices] == [lb.pick("user:42"), lb.pick("user:43")]
    True
    """

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the key's backend: :meth:`pick_hashed` of its hash.

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        return self.pick_hashed(self.hash_key(key), avoid)

    @abstractmethod
    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash.  Raises InvalidKey, NoBackendAvailable."""

    def replicas(self, key: Key, k: int) -> list[B]:
        """Return the key's first ``k`` different backends, in the order in which they take over.

        Each serves the key when all before it are avoided.  If fewer can be picked, all of them are
        returned.  O(k) picks.
        Raises MissingKey, InvalidKey, InvalidSetting for k below 1.
        """
        at_least(1, k=k)
        return list(islice(self.succession(self.hash_key(key)), k))

    def succession(self, digest: int) -> Iterator[B]:
        """Iterate over the backends of a 64-bit hash, lazily, in the order in which they take over.

        Each is picked when all before it are avoided.  The iterator is no longer valid once the
        members change.  One pick per backend.  Raises InvalidKey.
        """
        return picked_in_turn(partial(self.pick_hashed, digest), self.eligible)

    def hash_many(self, keys: Iterable[Key]) -> NDArray[np.uint64]:
        """Hash keys as :meth:`pick` does: ``uint64[n]`` of n bytes, str or int, or of an array.

        O(n), in a loop: a hash takes ten times as long as a look-up, so store the hashes if you use
        them again.  For an iterator without a length, parts are joined at the end, which takes
        twice the memory of the result.  In an array of fixed-width bytes or text, numpy has
        removed the NULs at the end of the keys.
        Raises InvalidKey, TypeError.
        """
        if isinstance(keys, str | bytes):
            raise TypeError(f"keys must be an iterable of keys, not {keys!r}")
        if isinstance(keys, np.ndarray):
            array = cast("NDArray[Any]", keys)
            if array.ndim != 1:
                raise InvalidKey(f"keys must have one dimension, not shape {array.shape}")
            hashes = np.empty(len(array), dtype=np.uint64)
            for start in range(0, len(array), CHUNK):
                listed: list[Key] = array[start : start + CHUNK].tolist()
                hashes[start : start + CHUNK] = self._hash_list(listed)
            return hashes
        remaining = iter(keys)
        if isinstance(keys, Sized):
            hashes = np.empty(len(keys), dtype=np.uint64)
            for start in range(0, len(hashes), CHUNK):
                hashes[start : start + CHUNK] = self._hash_list(list(islice(remaining, CHUNK)))
            return hashes
        parts: list[NDArray[np.uint64]] = []
        while chunk := list(islice(remaining, CHUNK)):
            parts.append(self._hash_list(chunk))
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)

    def pick_many(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Pick for each of ``uint64[n]`` hashes: ``intp[n]``, indices in the order of ``weights``.

        ``list(lb.weights)[lb.pick_many(lb.hash_many(keys))[i]]`` is always ``lb.pick(keys[i])``.
        Apart from the result, the memory used does not grow with n.  For an empty array the result
        is empty, even if no backend can be picked.
        Raises NoBackendAvailable; TypeError for another dtype, InvalidKey for another shape.
        """
        if not isinstance(cast("object", hashes), np.ndarray) or hashes.dtype != np.uint64:
            raise TypeError(f"hashes must be an array of uint64, not {_described(hashes)}")
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
        """Prepare to look up ``count`` hashes, and return the function that does.

        It is called with chunks of at most ``CHUNK`` hashes.  At least one backend can be picked.
        """

    def eligible(self) -> int:
        """Return the number of backends that can be picked: the open ones, by default."""
        return self._open

    def check_pick(self, digest: int, avoid: Collection[B]) -> Collection[B]:
        """Validate the arguments of :meth:`pick_hashed`, and return ``avoid``.

        Raises InvalidKey unless ``digest`` is an int of 64 bits, TypeError unless ``avoid`` is a
        collection of backends, NoBackendAvailable unless an open backend is not avoided.
        """
        if type(digest) is not int or not 0 <= digest <= BITS:
            raise InvalidKey(f"digest must be an int of 64 bits, not {digest!r}")
        if avoid:
            checked_avoid(avoid)
        if not self._open or (avoid and self._all_avoided(avoid)):
            raise self.refusal()
        return avoid

    def _all_avoided(self, avoid: Collection[B]) -> bool:
        return len(avoid) >= self._open and all(
            backend in avoid for backend, weight in self._weights.items() if weight
        )

    def _hash_list(self, keys: list[Key]) -> NDArray[np.uint64]:
        data = map(key_bytes, keys)
        if isinstance(self._hasher, Murmur3):
            seed = self._hasher.seed
            hashes = (mmh3_x64_128_utupledigest(each, seed)[0] for each in data)
        else:
            hashes = (self._hasher(each) & BITS for each in data)
        return np.fromiter(hashes, dtype=np.uint64, count=len(keys))


def mix(digest: int) -> int:
    """Return another 64-bit hash of a hash: the finalizer of SplitMix64, a bijection; O(1).

    >>> hex(mix(1))
    '0x5692161d100b05e5'
    """
    digest = ((digest ^ (digest >> 30)) * _MIX_1) & BITS
    digest = ((digest ^ (digest >> 27)) * _MIX_2) & BITS
    return digest ^ (digest >> 31)


def mix_many(digests: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return :func:`mix` of each hash: a new array."""
    with np.errstate(over="ignore"):
        z = (digests ^ (digests >> np.uint64(30))) * np.uint64(_MIX_1)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_MIX_2)
        return z ^ (z >> np.uint64(31))


def _described(hashes: object) -> str:
    if isinstance(hashes, np.ndarray):
        return f"one of {cast('NDArray[Any]', hashes).dtype}"
    return repr(hashes)
