"""Hashes many keys, in parts that fit the caches of the processor."""

from collections.abc import Iterable, Sized
from itertools import islice
from typing import Any, cast

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers.balancer import Key
from balancers.errors import InvalidKey
from balancers.keys import Hasher, Murmur3, key_bytes

__all__ = ["described", "hashes_of"]

_BITS = (1 << 64) - 1


def hashes_of(keys: Iterable[Key], hasher: Hasher, chunk: int) -> NDArray[np.uint64]:
    """Return the 64-bit hashes of n keys as an array ``uint64[n]``, ``chunk`` keys at a time; O(n).

    Raises InvalidKey, TypeError.
    """
    if isinstance(keys, str | bytes):
        raise TypeError(f"keys must be an iterable of keys, not {shown(keys)}")
    if isinstance(keys, np.ndarray):
        array = cast("NDArray[Any]", keys)
        if array.ndim != 1:
            raise InvalidKey(f"keys must have one dimension, not shape {array.shape}")
        hashes = np.empty(len(array), dtype=np.uint64)
        for start in range(0, len(array), chunk):
            listed: list[Key] = array[start : start + chunk].tolist()
            hashes[start : start + chunk] = _hash_list(listed, hasher)
        return hashes
    remaining = iter(keys)
    if isinstance(keys, Sized):
        hashes = np.empty(len(keys), dtype=np.uint64)
        for start in range(0, len(hashes), chunk):
            hashes[start : start + chunk] = _hash_list(list(islice(remaining, chunk)), hasher)
        return hashes
    parts: list[NDArray[np.uint64]] = []
    while part := list(islice(remaining, chunk)):
        parts.append(_hash_list(part, hasher))
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)


def _hash_list(keys: list[Key], hasher: Hasher) -> NDArray[np.uint64]:
    data = map(key_bytes, keys)
    if isinstance(hasher, Murmur3):
        seed = hasher.seed
        hashes = (mmh3_x64_128_utupledigest(each, seed)[0] for each in data)
    else:
        hashes = (hasher(each) & _BITS for each in data)
    return np.fromiter(hashes, dtype=np.uint64, count=len(keys))


def described(hashes: object) -> str:
    """Return the text of a wrong argument for an error: the type of an array, or the value."""
    if isinstance(hashes, np.ndarray):
        return f"one of {cast('NDArray[Any]', hashes).dtype}"
    return repr(hashes)
