"""The units of the table: operations that nothing in Python can beat."""

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
"""Distinct keys of 20 bytes."""


BATCH = 10_000_000
"""The number of hashes in a large batch."""


def names(n: int) -> list[str]:
    """Return ``n`` names of backends."""
    return [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:80" for i in range(n)]


def weights(n: int) -> dict[str, float]:
    """Return ``n`` backends with weights from 1 to 6."""
    return {backend: 1 + i % 6 for i, backend in enumerate(names(n))}


class _Floor:
    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 1

    def value(self) -> int:
        return self._value


def attribute() -> Run:
    """Return the unit U: a call of a method that returns an attribute."""
    return repeated(_Floor().value)


def keyed(pick: Callable[[bytes], object]) -> Run:
    """Return a run that picks for one key after the other, continuing after the previous run."""
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
    """Return the unit H: 64 bits of murmur3 of a 20-byte key, reduced to an index."""
    return keyed(lambda key: mmh3_x64_128_utupledigest(key, 0)[0] % n)


def hashes(n: int) -> NDArray[np.uint64]:
    """Return ``n`` random hashes."""
    return np.random.default_rng(7).integers(0, 1 << 64, n, dtype=np.uint64)


def gather(places: NDArray[np.intp], n: int) -> Run:
    """Return the unit of a batch: selecting from a table of n by ready indices."""
    table = np.arange(n)
    return repeated(lambda: table.take(places))
