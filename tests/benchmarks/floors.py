"""What nothing in Python can beat: the units of the table."""

from collections.abc import Callable

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from tests.benchmarks.measure import Run, repeated

__all__ = [
    "BATCH",
    "KEYS",
    "attribute",
    "gather",
    "hashes",
    "index_of_key",
    "keyed",
    "names",
    "weights",
]

KEYS = [b"user:%015d" % number for number in range(20_000)]
"""Distinct, of 20 bytes."""


BATCH = 10_000_000
"""Hashes of a large batch."""


def names(n: int) -> list[str]:
    """Name so many backends."""
    return [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:80" for i in range(n)]


def weights(n: int) -> dict[str, float]:
    """Weigh them 1 to 6."""
    return {backend: 1 + i % 6 for i, backend in enumerate(names(n))}


class _Floor:
    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 1

    def value(self) -> int:
        return self._value


def attribute() -> Run:
    """U: a method that returns an attribute."""
    return repeated(_Floor().value)


def keyed(pick: Callable[[bytes], object]) -> Run:
    """Call it with one key after the other, from where the last run stopped."""
    begin = 0

    def run(times: int) -> None:
        nonlocal begin
        while times:
            keys = KEYS[begin : begin + times]
            for key in keys:
                pick(key)
            times -= len(keys)
            begin = (begin + len(keys)) % len(KEYS)

    return run


def index_of_key(n: int) -> Run:
    """H: 64 bits of murmur3 of a 20-byte key, turned into an index."""
    return keyed(lambda key: mmh3_x64_128_utupledigest(key, 0)[0] % n)


def hashes(n: int) -> NDArray[np.uint64]:
    """Give so many hashes."""
    return np.random.default_rng(7).integers(0, 1 << 64, n, dtype=np.uint64)


def gather(places: NDArray[np.intp], n: int) -> Run:
    """Take as many from a table of n, by indices that are ready: the floor of a batch."""
    table = np.arange(n)
    return repeated(lambda: table.take(places))
