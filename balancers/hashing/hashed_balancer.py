"""Defines the base class of the keyed balancers in this package, and describes how to extend it.

A keyed balancer maps the 64-bit hash of a key to one of its members.  A subclass defines two
methods: the first picks the backend of one hash, and the second prepares to pick for many hashes.
With these, :class:`HashedBalancer` provides ``pick``, ``pick_many``, ``plan``, ``replicas``,
``succession`` and ``hash_many``.

A member is open while its weight is positive, and closed while its weight is 0.

A subclass must define:

* ``pick_hashed(digest, avoid)``: returns the backend of one hash.  It must call ``check_pick``
  first.
* ``chooser(count)``: returns a function that picks for arrays of hashes.  ``count`` is the total
  number of hashes to pick for.  The function takes two arrays of equal length,
  ``hashes`` and ``picked``.  For each hash, it writes the index of the backend in the order of
  ``weights`` into ``picked``.  It must pick the same backends as ``pick_hashed`` without ``avoid``.
  It is called with at most ``CHUNK`` hashes at a time.  ``chooser`` is called only if at least one
  backend can be picked.

A subclass may define:

* ``update_named_index(backend, name, old, new)``, from ``NamedMembership``: called before a backend
  joins (``old`` is None), leaves (``new`` is None) or changes its weight.  Define it to keep an
  index of your own.  Hash names with ``self.hash_key(name)``.  If the method raises an exception,
  the change is not made.
* ``eligible()``: returns the number of backends that can be picked.  By default this is the number
  of open backends.  Define it if some open backends are never picked, or if closed backends are
  picked too.
* ``succession(digest)``: yields all backends in the order of preference of a hash.  Each backend is
  the one that ``pick_hashed`` returns when all before it are avoided.  By default it calls
  ``pick_hashed`` once per backend.  Define it if there is a faster way to find the next backend.
  If you define it, ``plan`` leaves avoided backends out of it, so the pick with ``avoid`` must
  then be the first of these backends that is not avoided.
* ``fractional``: a class attribute, False by default.  Set it to True if a pool may pass fractions
  of a weight.

A subclass may call these methods and this property, and does not define them:

* ``check_pick(digest, avoid)``: validates the arguments of ``pick_hashed``.  If it does not raise
  an exception, there is an open backend that is not avoided.  It returns the avoided backends as a
  collection in which ``in`` is O(1).
* ``refusal()``: returns the exception to raise when no backend can be picked.
* ``hash_key(key)``: returns the 64-bit hash of a key or of a name.  It uses the ``hasher`` that was
  passed to the constructor.
* ``weights``: the weight of every member, in order of insertion.

The constructor passes ``backends``, ``identity`` and ``hasher`` to ``NamedMembership``.  It calls
``update_named_index`` for each backend.  So a subclass must create its own state before it calls
``super().__init__``.

This example is a complete balancer.  It moves nearly all keys when a backend opens or closes:

>>> class Modulo(HashedBalancer[str]):
...     def pick_hashed(self, digest, avoid=()):
...         avoid = self.check_pick(digest, avoid)
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
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import cast

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid, shown
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidKey
from balancers.hashing._key_hashes import described, hashes_of
from balancers.hashing._successors import picked_in_turn, picked_until_refused
from balancers.named_membership import NamedMembership

__all__ = [
    "BITS",
    "CHUNK",
    "GOLDEN",
    "Chooser",
    "HashedBalancer",
    "mix",
    "mix_many",
    "sequence_many",
]

BITS = (1 << 64) - 1
"""The largest 64-bit hash: all 64 bits are 1, so it is also a mask for 64 bits."""
CHUNK = 1 << 15
"""The maximum number of hashes per call of a :data:`Chooser`.

Arrays of this length stay in the caches of the processor (measured).
"""
Chooser = Callable[[NDArray[np.uint64], NDArray[np.intp]], None]
"""A function of two arrays of equal length: the hashes, and the array for the result.

For each hash, it writes the index of the backend in the order of ``weights`` into the second array.
"""

GOLDEN = 0x9E3779B97F4A7C15
"""The increment of the generator SplitMix64: 2⁶⁴ divided by the golden ratio."""
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


class HashedBalancer(NamedMembership[B]):
    """Picks the backend of a key by the key's 64-bit hash, for one key or for arrays of hashes.

    This is a base class.  A subclass defines :meth:`pick_hashed` for one hash, and :meth:`chooser`
    for arrays of hashes.  The two must pick the same backends.  The module docstring of
    :mod:`balancers.hashing.hashed_balancer` describes everything that a subclass can define.

    >>> from balancers import Maglev
    >>> lb = Maglev(["a", "b", "c"])
    >>> indices = lb.pick_many(lb.hash_many(["user:42", "user:43"]))
    >>> [list(lb.weights)[index] for index in indices] == [lb.pick("user:42"), lb.pick("user:43")]
    True
    """

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the backend that :meth:`pick_hashed` returns for the hash of the key.

        ``now`` is ignored.
        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        return self.pick_hashed(self.hash_key(key), avoid)

    @abstractmethod
    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash.  Raises InvalidKey, NoBackendAvailable."""

    def replicas(self, key: Key, k: int) -> list[B]:
        """Return the first ``k`` different backends in the key's order of preference.

        Each backend is the one that :meth:`pick` returns when all before it are avoided.  If fewer
        than ``k`` backends can be picked, all of these are returned.  The cost is O(k) picks.
        Raises MissingKey, InvalidKey, InvalidSetting for k below 1.
        """
        at_least(1, k=k)
        return list(islice(self.succession(self.hash_key(key)), min(k, len(self._weights))))

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return the first ``n`` different backends in the key's order of preference.

        Each backend is the one that :meth:`pick` returns when all before it are avoided.  If fewer
        backends can be picked, all of them are returned.  Nothing changes.  The cost is that of
        :meth:`succession`.
        Raises InvalidSetting unless ``n`` is an int of 1 or more, MissingKey, InvalidKey,
        NoBackendAvailable.

        >>> from balancers import Rendezvous
        >>> lb = Rendezvous(["a", "b", "c"])
        >>> lb.plan(2, "user:42"), lb.plan(2, "user:42", avoid=["b"])
        (['c', 'b'], ['c', 'a'])
        """
        if type(n) is not int or n < 1:
            at_least(1, n=n)
        digest = self.hash_key(key)
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        if not avoid:
            ranked = list(islice(self.succession(digest), min(n, len(self._weights))))
        elif type(self).succession is HashedBalancer.succession:
            ranked = picked_until_refused(partial(self.pick_hashed, digest), n, avoid)
        else:
            in_turn = self.succession(digest)
            others = (each for each in in_turn if each not in avoid)
            ranked = list(islice(others, min(n, len(self._weights))))
        return ranked or [self.pick_hashed(digest, avoid)]

    def succession(self, digest: int) -> Iterator[B]:
        """Return an iterator over the backends in the order of preference of a 64-bit hash.

        Each backend is the one that :meth:`pick_hashed` returns when all before it are avoided.
        Backends are picked lazily, one pick per backend.  Do not use the iterator any longer after
        the members have changed.  Raises InvalidKey.
        """
        return picked_in_turn(partial(self.pick_hashed, digest), self.eligible)

    def hash_many(self, keys: Iterable[Key]) -> NDArray[np.uint64]:
        """Return the hashes that :meth:`pick` uses for n keys, as an array ``uint64[n]``; O(n).

        ``keys`` is an iterable of bytes, str or int, or a numpy array of one dimension.  The keys
        are hashed one by one.  With most methods, to hash a key takes longer than to look up its
        backend.  So store the hashes if you need them again.

        If ``keys`` has no length, for example a generator, the call needs twice the memory of the
        result.  If ``keys`` is a numpy array of fixed-width bytes or text, numpy removes NULs at
        the end of a key.
        Raises InvalidKey, TypeError.
        """
        return hashes_of(keys, self._hasher, CHUNK)

    def pick_many(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the index of each hash's backend in the order of ``weights``.

        ``hashes`` is an array ``uint64[n]``, and the result is an array ``intp[n]``.
        ``list(lb.weights)[lb.pick_many(lb.hash_many(keys))[i]]`` is always ``lb.pick(keys[i])``.
        Except for the result, the memory that is used does not depend on n.  If ``hashes`` is
        empty, the result is empty, even if no backend can be picked.
        Raises NoBackendAvailable; TypeError for another dtype, InvalidKey for another shape.
        """
        if not isinstance(cast("object", hashes), np.ndarray) or hashes.dtype != np.uint64:
            raise TypeError(f"hashes must be an array of uint64, not {described(hashes)}")
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
        """Return a function that picks the backends of arrays of hashes.

        The function will be called with at most ``CHUNK`` hashes at a time, and with ``count``
        hashes in total.  ``chooser`` is called only if at least one backend can be picked.
        """

    def eligible(self) -> int:
        """Return the number of backends that can be picked; by default, the number of open ones."""
        return self._open

    def check_pick(self, digest: int, avoid: Collection[B]) -> Collection[B]:
        """Validate the arguments of :meth:`pick_hashed`, and return ``avoid``; O(avoided).

        In the returned collection, ``in`` is O(1).

        Raises InvalidKey if ``digest`` is not an int from 0 to 2⁶⁴ - 1, TypeError if ``avoid`` is
        not a collection of backends, NoBackendAvailable if all open backends are avoided or none is
        open.
        """
        if type(digest) is not int or not 0 <= digest <= BITS:
            raise InvalidKey(f"digest must be an int of 64 bits, not {shown(digest)}")
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        if not self._open or (avoid and self._all_avoided(avoid)):
            raise self.refusal()
        return avoid

    def _all_avoided(self, avoid: Collection[B]) -> bool:
        return len(avoid) >= self._open and all(
            backend in avoid for backend, weight in self._weights.items() if weight
        )


def mix(digest: int) -> int:
    """Return a 64-bit hash of a 64-bit hash; O(1).

    This is the last step of SplitMix64, which mixes all bits.  Different hashes have different
    results.

    >>> hex(mix(1))
    '0x5692161d100b05e5'
    """
    digest = ((digest ^ (digest >> 30)) * _MIX_1) & BITS
    digest = ((digest ^ (digest >> 27)) * _MIX_2) & BITS
    return digest ^ (digest >> 31)


def mix_many(digests: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return :func:`mix` of each hash, as a new array."""
    with np.errstate(over="ignore"):
        z = (digests ^ (digests >> np.uint64(30))) * np.uint64(_MIX_1)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_MIX_2)
        return z ^ (z >> np.uint64(31))


def sequence_many(
    base: NDArray[np.uint64] | np.uint64, index: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Return the number at each index of the SplitMix64 sequence that starts from each base."""
    with np.errstate(over="ignore"):
        return mix_many(base + (index + np.uint64(1)) * np.uint64(GOLDEN))
